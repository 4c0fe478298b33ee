"""The product's loop on the product's Kafka transport, in this process, up to a number of records."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.observer import Silent, Work
from streamwatch.runner import Total, run
from streamwatch.transports.base import Progress
from streamwatch.transports.kafka.transport import KafkaTransport


class _Until(Silent):
    def __init__(self, records: int, within_s: float) -> None:
        self.stop = threading.Event()
        self.overtaken = 0
        self._left = records
        self._deadline = time.monotonic() + within_s

    def committed(self, work: Work, seconds: float) -> None:
        self._left -= work.records
        if self._left <= 0:
            self.stop.set()

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        self.overtaken = progress.overtaken
        if time.monotonic() > self._deadline:
            self.stop.set()


def run_until(config: Config, records: int, within_s: float = 60.0, batch_records: int = 5_000) -> Total:
    """Until so many records are committed. AssertionError if that takes too long, or if one was overtaken."""
    until = _Until(records, within_s)
    transport = KafkaTransport(config, batch_records=batch_records)
    total = run(transport, config, stop=until.stop, observe=until)
    assert total.records >= records, f"not within {within_s:g} s: {records} records; {total}"
    assert until.overtaken == 0
    return total
