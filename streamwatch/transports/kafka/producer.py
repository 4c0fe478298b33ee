"""One task's transactional producer, every call under a deadline.

kafka-python's commit_transaction and send_offsets_to_transaction have no timeout: with a broker killed in the middle
they hung for more than 60 s in 4 of 5 tries (`connect.Client` mends the cause that was found). So each call runs on a
thread that can be left behind. After any failure the producer is thrown away without an abort (that can hang or lie
like the rest): the next `init_transactions` of the same transactional id ends the open transaction. Offsets of an
aborted transaction would leak into the next one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from streamwatch.errors import TaskLost, TransactionTimeout
from streamwatch.records import Header, Source

T = TypeVar("T")

CALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record of a transaction. `partition` None: by the hash of the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None


class Worker:
    """A daemon thread that runs calls one after the other; who waits too long leaves it behind."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, call: Callable[[], T]) -> Future[T]:
        if not self._thread.is_alive():
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((call, future))
        return future

    def stop(self) -> None:
        """It ends after the call that it is in, if that ever returns."""
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # it is raised where the result is awaited
                future.set_exception(error)
            del item, call, future  # a thread that waits must not keep the last transaction's records alive


class TaskProducer:
    """The transaction of one task, in its three steps: `write`, `send_offsets`, `commit`.

    `make` builds kafka-python's producer for this task's transactional id. Not used again after an exception.
    """

    def __init__(self, make: Callable[[], Any], name: str, call_s: float = CALL_S) -> None:
        self._make = make
        self._worker = Worker(f"transactions of {name}")
        self.name = name
        self.call_s = call_s
        self._producer: Any = None
        self._lock = threading.Lock()
        self._discarded = False

    def open(self) -> Future[None]:
        """Connect and fence: whoever else has this transactional id can commit no more, and what it had open is
        ended. Returns at once; the caller waits for the future, and gives it up after a while of its own."""

        def call() -> None:
            producer = self._make()
            with self._lock:
                if (
                    self._discarded
                ):  # given up while it connected: it must not fence the one that came after it
                    _end(producer)
                    return
                self._producer = producer
            producer.init_transactions()

        return self._worker.start(call)

    def write(self, records: Sequence[Outgoing]) -> None:
        """Begin a transaction and bring all records to the broker.

        kafka-python commits although a record of the transaction expired, was too large or had no topic, so every
        record's own answer is checked here.
        """

        def call() -> None:
            self._producer.begin_transaction()
            futures = [
                self._producer.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=[(name, value or b"") for name, value in record.headers],
                    partition=record.partition,
                )
                for record in records
            ]
            self._producer.flush(timeout=self.call_s)
            for record, future in zip(records, futures, strict=True):
                if future.failed():
                    raise future.exception
                if not future.succeeded():
                    raise TransactionTimeout(
                        f"a record for {record.topic} was not acknowledged in {self.call_s:g} s"
                    )

        self._within("sending the records of a transaction", call)

    def send_offsets(self, offsets: Mapping[Source, int], group: Any) -> None:
        """`group`: the group's metadata as it was right after the last poll. The broker fences by its generation and
        member id, but takes -1 and an empty id without any fencing: those are refused here."""
        if group is None or group.generation_id < 0 or not group.member_id:
            raise TaskLost("the membership in the consumer group was lost before the commit")
        values = {
            TopicPartition(*source): OffsetAndMetadata(offset, "", -1) for source, offset in offsets.items()
        }
        self._within("sending the offsets", lambda: self._producer.send_offsets_to_transaction(values, group))

    def commit(self) -> None:
        self._within("the commit", lambda: self._producer.commit_transaction())

    def discard(self) -> None:
        """Throw it away without waiting and without an abort."""
        with self._lock:
            self._discarded = True
            producer, self._producer = self._producer, None
        self._worker.stop()
        if producer is not None:
            threading.Thread(target=_end, args=(producer,), name=f"end of {self.name}", daemon=True).start()

    def _within(self, what: str, call: Callable[[], None]) -> None:
        future = self._worker.start(call)
        try:
            future.result(self.call_s)
        except FutureTimeout:
            if future.done():  # the call itself raised a TimeoutError
                raise
            raise TransactionTimeout(
                f"{what} did not return within {self.call_s:g} s; its outcome is unknown"
            ) from None


def _end(producer: Any) -> None:
    # close(0) flushes first, and gives up where that cannot be done at once: then its thread would live on.
    with contextlib.suppress(Exception):
        producer.close(timeout=0)
    sender = getattr(producer, "_sender", None)
    if sender is not None and sender.is_alive():
        with contextlib.suppress(Exception):
            sender.force_close()
