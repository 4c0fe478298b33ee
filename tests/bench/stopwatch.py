"""What a contender measures of itself, and how it tells it: one line of JSON on stdout."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Measured:
    """`seconds` from the first record to the end of the last commit; `cpu_s` of all threads in that time.
    `state_bytes` of state in all commits; `slowest_alert_s`: the longest commit with an alert in it."""

    events: int
    alerts: int
    seconds: float
    cpu_s: float
    state_bytes: int = 0
    slowest_alert_s: float = 0.0


class Stopwatch:
    """`begin` counts once, when the first record is there; `lap` is the end until a later one."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._ended = (0.0, 0.0)

    def begin(self) -> None:
        self._began = self._began or _now()

    def lap(self) -> None:
        self._ended = _now()

    def measured(self, events: int, alerts: int) -> Measured:
        assert self._began, "no record came"
        (began, began_cpu), (ended, ended_cpu) = self._began, self._ended
        return Measured(events, alerts, ended - began, ended_cpu - began_cpu)


def tell(measured: Measured) -> None:
    print(json.dumps(asdict(measured)), flush=True)


def heard(stdout: str) -> Measured:
    return Measured(**json.loads(stdout.splitlines()[-1]))


def _now() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), used.ru_utime + used.ru_stime
