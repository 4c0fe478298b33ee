"""Contender: the service itself, as `streamwatch run` starts it, with its log, metrics, health and watchdog.

Exactly once: alerts, state and offsets go as one transaction. Only a stopwatch is put around its transport, which ends
the service by SIGTERM when every event has been processed; the commit of its ending is the last.

    python -m tests.bench.loop_streamwatch SERVERS TOPIC NAME COUNT CASE

CASE `start`: it only starts, from the state that is there; what is measured is that.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from streamwatch.cli import service
from streamwatch.records import Batch, Commit
from streamwatch.transports.base import Happening, Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from tests.bench.events import CASES, Case
from tests.bench.stopwatch import Measured, Stopwatch, tell

SIGNALS = {
    "score": "score", "error": "error", "latency": "latency_ms", "amount": "feature:amount", "f00": "feature:f00"
}  # fmt: skip


def config(servers: str, topic: str, name: str, case: Case = CASES["plain"]) -> dict[str, Any]:
    """As a user writes it; what the hand-written loops watch, everything else as it comes."""
    return {
        "service": name,
        "kafka": {"bootstrap_servers": servers},
        "inputs": [{"topics": [topic]}],
        "start": "earliest",
        "http": {"port": 0},
        "commit_every": case.commit_every,
        "max_stream_keys": 50_000,
        "monitors": [
            {"name": monitor, "signal": SIGNALS[monitor], "detector": "adwin"}
            | ({"per": case.per} if case.per else {})
            for monitor in case.monitors
        ],
    }


class Timed(KafkaTransport):
    """The stopwatch begins when the task is ours, before the first fetch; or when `skip` events are handed out."""

    watch = Stopwatch()
    count = 0
    skip = 0
    handed = 0
    ended = False
    alerts = 0
    next_offsets = 0
    state_bytes = 0
    slowest_alert_s = 0.0

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        if Timed.skip and Timed.handed >= Timed.skip:
            Timed.watch.begin()
        if Timed.handed >= Timed.count:
            if not Timed.ended:
                Timed.ended = True  # a second signal would end it uncommitted
                os.kill(os.getpid(), signal.SIGTERM)
            return ()
        happenings = super().poll(timeout_s)
        for happening in happenings:
            if isinstance(happening, Opened) and not Timed.skip:
                Timed.watch.begin()
            elif isinstance(happening, Batch):
                if Timed.handed < Timed.skip <= Timed.handed + len(happening):
                    Timed.skip = Timed.handed + len(
                        happening
                    )  # the batch that is now processed counts for nothing
                Timed.handed += len(happening)
        return happenings

    def commit(self, commit: Commit) -> None:
        began = time.monotonic()
        super().commit(commit)
        Timed.watch.lap()
        Timed.state_bytes += sum(len(value) for value in commit.state.values() if value is not None)
        if commit.alerts:
            Timed.slowest_alert_s = max(Timed.slowest_alert_s, time.monotonic() - began)
        Timed.alerts += len(commit.alerts)
        Timed.next_offsets = sum(commit.offsets.values())


class Starting(KafkaTransport):
    """The stopwatch ends when the task is ours, its state restored."""

    watch = Stopwatch()
    opened = False

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        if Starting.opened:
            Starting.watch.lap()
            os.kill(os.getpid(), signal.SIGTERM)
            return ()
        Starting.watch.begin()
        happenings = [one for one in super().poll(timeout_s) if isinstance(one, Opened)]
        Starting.opened = bool(happenings)
        return happenings


def main(servers: str, topic: str, name: str, count: int, case: str) -> Measured:
    transport = Starting if case == "start" else Timed
    Timed.count = count
    Timed.skip = count // 3 if case in ("few", "keys") else 0
    setattr(service, "KafkaTransport", transport)  # noqa: B010 - the command offers no way to give another
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "streamwatch.yaml")
        path.write_text(yaml.safe_dump(config(servers, topic, name, CASES.get(case, CASES["keys"]))))
        code = service.serve([path], None, "json", "info")
    if transport is Starting:
        return Starting.watch.measured(1, 0)
    if code or Timed.next_offsets != count:
        raise SystemExit(f"it ended with {code}, committed up to {Timed.next_offsets} of {count}")
    measured = Timed.watch.measured(count - Timed.skip, Timed.alerts)
    return replace(measured, state_bytes=Timed.state_bytes, slowest_alert_s=Timed.slowest_alert_s)


if __name__ == "__main__":
    tell(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))
