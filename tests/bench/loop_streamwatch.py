"""Contender: the service itself, as `streamwatch run` starts it, with its log, metrics, health and watchdog.

Exactly once: alerts, state and offsets go as one transaction. Only a stopwatch is put around its transport, which ends
the service by SIGTERM when every event has been processed; the commit of its ending is the last.

    python -m tests.bench.loop_streamwatch SERVERS TOPIC NAME COUNT
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from streamwatch.cli import service
from streamwatch.records import Batch, Commit
from streamwatch.transports.base import Happening, Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from tests.bench.stopwatch import Measured, Stopwatch, tell


def config(servers: str, topic: str, name: str) -> dict[str, Any]:
    """As a user writes it; what the hand-written loops watch, everything else as it comes."""
    return {
        "service": name,
        "kafka": {"bootstrap_servers": servers},
        "inputs": [{"topics": [topic]}],
        "start": "earliest",
        "http": {"port": 0},
        "monitors": [
            {"name": "score", "signal": "score", "detector": "adwin"},
            {"name": "error", "signal": "error", "detector": "adwin"},
            {"name": "latency", "signal": "latency_ms", "detector": "adwin"},
            {"name": "amount", "signal": "feature:amount", "detector": "adwin"},
        ],
    }


class Timed(KafkaTransport):
    """The stopwatch begins when the task is ours, before the first fetch."""

    watch = Stopwatch()
    count = 0
    handed = 0
    ended = False
    alerts = 0
    next_offsets = 0

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        if Timed.handed >= Timed.count:
            if not Timed.ended:
                Timed.ended = True  # a second signal would end it uncommitted
                os.kill(os.getpid(), signal.SIGTERM)
            return ()
        happenings = super().poll(timeout_s)
        for happening in happenings:
            if isinstance(happening, Opened):
                Timed.watch.begin()
            elif isinstance(happening, Batch):
                Timed.handed += len(happening)
        return happenings

    def commit(self, commit: Commit) -> None:
        super().commit(commit)
        Timed.watch.lap()
        Timed.alerts += len(commit.alerts)
        Timed.next_offsets = sum(commit.offsets.values())


def main(servers: str, topic: str, name: str, count: int) -> Measured:
    Timed.count = count
    setattr(service, "KafkaTransport", Timed)  # noqa: B010 - the command offers no way to give another
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "streamwatch.yaml")
        path.write_text(yaml.safe_dump(config(servers, topic, name)))
        code = service.serve([path], None, "json", "info")
    if code or Timed.next_offsets != count:
        raise SystemExit(f"it ended with {code}, committed up to {Timed.next_offsets} of {count}")
    return Timed.watch.measured(count, Timed.alerts)


if __name__ == "__main__":
    tell(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
