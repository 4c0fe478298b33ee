"""One worker of the fault suite: the real loop on the real transport, which can be told to break at a given place.

    python -m tests.kafka.worker SERVERS SERVICE SLOT JOURNAL [--tasks per_partition] [--without RULE ...]

It appends what happens to the journal, a file that all workers share, one JSON object a line. It reads orders from
its standard input, `ACT PLACE AFTER_S PID WHICH`, carried out when the owner's next transaction comes to that place, so
that a fault hits between two calls that are 5 ms apart:

    ACT      kill: itself, by kill -9. stop: itself, by SIGSTOP. broker: the broker, which is PID, by kill -9. none
    PLACE    write (before the transaction begins), offsets (its records are written), commit (its offsets are sent),
             committing (while the commit is under way, AFTER_S after its call), committed (it has returned)
    WHICH    any: the next transaction. alerts: the next one that holds an alert

It ends when its standard input ends, so that none is left behind; SIGTERM is the clean end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamwatch import runner
from streamwatch.config import Config
from streamwatch.engine import Engine, Restored
from streamwatch.errors import OperatorError, PlatformError
from streamwatch.observer import Silent
from streamwatch.records import Batch, Source
from streamwatch.runner import run
from streamwatch.transports.base import Closed, Happening, Opened, Progress
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.clients import TASK
from streamwatch.transports.kafka.producer import Outgoing, TaskProducer
from streamwatch.transports.kafka.transport import KafkaTransport
from tests.kafka.stream import suite_config
from tests.kafka.violations import RULES, violating

# Workers other than the first give a record up after 1.5 s, not 120: a test's broker is not away for longer than it
# takes to start, and records that expire in a transaction are to be among what happens.
EXPIRING = {"delivery_timeout_ms": 1_500, "request_timeout_ms": 1_000}
# With the few stream keys of the suite no alert would go without its state: every second worker sends them all so.
LITTLE_STATE_BYTES = -1


def offsets_text(offsets: Mapping[Source, int]) -> dict[str, int]:
    return {f"{source.topic}/{source.partition}": offset for source, offset in offsets.items()}


class Journal(Silent):
    """What this worker did, as lines of the shared file. Lines are short: appending one is atomic."""

    def __init__(self, path: Path, slot: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._slot = slot
        self._overtaken = 0

    def say(self, event: str, **more: Any) -> None:
        line = {"at_s": round(time.time(), 3), "slot": self._slot, "pid": os.getpid(), "event": event, **more}
        os.write(self._file, json.dumps(line).encode()[:4000] + b"\n")

    def opened(self, opened: Opened) -> None:
        self.say("opened", task=opened.task, offsets=offsets_text(opened.offsets))

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        self.say("restored", task=task, keys=restored.keys, seconds=round(seconds, 3))

    def closed(self, closed: Closed) -> None:
        self.say("closed", task=closed.task, reason=closed.reason)

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        self.say("failed", task=task, error=type(error).__name__, text=str(error)[:500])

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        if progress.overtaken > self._overtaken:
            self._overtaken = progress.overtaken
            self.say("overtaken", count=progress.overtaken)


class Orders:
    """What is to be done at the next transaction. One at a time; a new one replaces the one before."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._order: list[str] = []

    def listen(self) -> None:
        """Until standard input ends, which ends the process."""
        for line in sys.stdin:
            self._order = line.split()
        os._exit(1)

    def reach(self, place: str, records: int, alerts: int) -> None:
        order = self._order
        if order[1:2] != [place] or (order[4] == "alerts" and not alerts):
            return
        self._order = []
        act, _, after_s, pid, _ = order
        self._journal.say("act", act=act, place=place, records=records)
        if place == "committing":
            threading.Timer(float(after_s), self._do, (act, int(pid))).start()
        else:
            self._do(act, int(pid))

    def _do(self, act: str, broker: int) -> None:
        if act == "broker":
            os.kill(broker, signal.SIGKILL)
            return
        os.kill(os.getpid(), signal.SIGKILL if act == "kill" else signal.SIGSTOP)
        time.sleep(0.05)  # a stop takes hold of all threads a moment after the call


class Ordered(TaskProducer):
    """The product's producer, with places at which orders are carried out."""

    def __init__(self, make: Callable[[], Any], name: str, journal: Journal, orders: Orders) -> None:
        super().__init__(make, name)
        self._journal = journal
        self._orders = orders
        self._records = self._alerts = 0
        self._offsets: Mapping[Source, int] = {}

    def write(self, records: Sequence[Outgoing]) -> None:
        self._records = len(records)
        self._alerts = sum(record.topic.endswith("-alerts") for record in records)
        self._reach("write")
        super().write(records)

    def send_offsets(self, offsets: Mapping[Source, int], group: Any) -> None:
        self._offsets = offsets
        self._reach("offsets")
        super().send_offsets(offsets, group)

    def commit(self) -> None:
        self._reach("commit")
        self._reach("committing")
        super().commit()
        self._reach("committed")
        task = int(self.name.rpartition("-")[2])
        self._journal.say("committed", task=task, offsets=offsets_text(self._offsets), records=self._records)

    def _reach(self, place: str) -> None:
        self._orders.reach(place, self._records, self._alerts)


class Listening(KafkaTransport):
    """The product's transport; the journal has the commands that it hands out."""

    def __init__(self, config: Config, journal: Journal, make_producer: Callable[..., TaskProducer]) -> None:
        super().__init__(config, make_producer=make_producer)
        self._control = config.control_topic
        self._journal = journal

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        happenings = super().poll(timeout_s)
        for batch in happenings:
            control = Source(self._control, batch.task) if isinstance(batch, Batch) else None
            if isinstance(batch, Batch) and control in batch.sources:
                rows = batch.source == batch.sources.index(control)
                if rows.any():
                    first, last = batch.offset[rows].min(), batch.offset[rows].max()
                    self._journal.say("heard", task=batch.task, first=int(first), last=int(last))
        return happenings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("servers")
    parser.add_argument("service")
    parser.add_argument("slot", type=int)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--tasks", default="one", choices=["one", "per_partition"])
    parser.add_argument("--without", nargs="+", default=(), choices=sorted(RULES))
    given = parser.parse_args()
    journal = Journal(given.journal, given.slot)
    orders = Orders(journal)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=orders.listen, daemon=True).start()

    config = suite_config(given.servers, given.service, given.tasks)
    producer = violating(given.without, Ordered)

    def make_producer(make: Callable[[], Any], name: str) -> TaskProducer:
        def hasty() -> Any:
            return connect.producer(config.kafka, name, f"streamwatch-{given.service}", **TASK, **EXPIRING)

        return producer(hasty if given.slot else make, name, journal, orders)

    journal.say("started")
    try:
        total = run(
            Listening(config, journal, make_producer),
            config,
            stop=stop,
            observe=journal,
            little_state_bytes=runner.LITTLE_STATE_BYTES if given.slot % 2 else LITTLE_STATE_BYTES,
        )
    except OperatorError as error:
        journal.say("refused", error=type(error).__name__, text=str(error)[:500])
        sys.exit(error.exit_code)
    journal.say("ended", committed=total.committed)


if __name__ == "__main__":
    main()
