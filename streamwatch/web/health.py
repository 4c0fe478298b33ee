"""Is it alive, is it ready, and if not, why: read from what the loop last did.

Alive: the loop has ended a turn within the watchdog's limit. Ready, by four rules, each with its own reason:

1. the transport says that it is joined, restored and reading (or a healthy standby)
2. the last poll or commit did not fail
3. the last fetch that succeeded is younger than `FETCH_S`: after a password was changed under a running
   client, kafka-python's poll gives nothing for ever, without an exception
4. the loop has ended a turn within half of the watchdog's limit: so not ready comes before the end
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamwatch.engine import Engine
from streamwatch.errors import PlatformError
from streamwatch.observer import Silent
from streamwatch.transports.base import Progress

FETCH_S = 15.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the loop last did; times are of the monotonic clock. `progress` None: no turn has ended yet."""

    beat_at: float
    progress: Progress | None = None
    error: str = ""
    stopping: bool = False


def not_ready(pulse: Pulse, now: float, limit_s: float) -> list[str]:
    """The reasons why it is not ready; empty when it is.

    >>> not_ready(Pulse(beat_at=0.0, progress=Progress(fetched_at=0.0)), now=14.0, limit_s=60.0)
    []
    >>> not_ready(Pulse(beat_at=0.0, progress=Progress(fetched_at=0.0)), now=15.5, limit_s=60.0)
    ['nothing could be fetched for 16 s (limit 15 s)']
    """
    reasons = []
    progress = pulse.progress
    if pulse.stopping:
        reasons.append("stopping")
    if progress is None:
        reasons.append("starting: nothing polled yet")
    else:
        if not progress.ready:
            reasons.append(progress.detail or "not assigned")
        if progress.fetched_at is not None and now - progress.fetched_at > FETCH_S:
            reasons.append(
                f"nothing could be fetched for {now - progress.fetched_at:.0f} s (limit {FETCH_S:.0f} s)"
            )
    if pulse.error:
        reasons.append(pulse.error)
    if now - pulse.beat_at > limit_s / 2:
        reasons.append(
            f"no progress for {now - pulse.beat_at:.0f} s (the watchdog ends it at {limit_s:.0f} s)"
        )
    return reasons


class Health(Silent):
    """An observer that keeps the pulse, readable from any thread."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._error = ""
        self._pulse = Pulse(clock())

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        self._error = f"{type(error).__name__}: {error}"

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        if healthy:
            self._error = ""
        with self._lock:
            self._pulse = replace(self._pulse, beat_at=self._clock(), progress=progress, error=self._error)

    def stopping(self) -> None:
        with self._lock:
            self._pulse = replace(self._pulse, stopping=True)

    @property
    def silent_s(self) -> float:
        """Seconds since the loop last ended a turn."""
        return self._clock() - self._pulse.beat_at

    @property
    def alive(self) -> bool:
        return self.silent_s <= self.limit_s

    def not_ready(self) -> list[str]:
        return not_ready(self._pulse, self._clock(), self.limit_s)
