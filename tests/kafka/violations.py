"""The rules of exactly-once, each switched off at a seam of the product: to see that the fault suite would notice.

3             a transaction is committed without asking whether its records arrived
4             after a failed transaction the producer is aborted and used again
7             offsets are sent with the bare group id: neither generation nor member is fenced
8-fence       the new owner restores before it fences the old one
8-watermark   state is read up to the last stable offset, not to the high watermark
8-mark        state behind the last mark counts too

And what makes a command act once, at its record:

place         commands act at the beginning of the batch that they come in
control-state what was commanded is not in the state of the commit
control-mark  the mark does not say which commands were obeyed (the next owner refuses to start)
clock         which silences are over is judged by the clock, not by stream time
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from kafka.errors import KafkaError

from streamwatch.control import Control
from streamwatch.engine import Engine, Output
from streamwatch.records import Batch, Source
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.producer import Outgoing, TaskProducer
from streamwatch.transports.kafka.state_topic import Fold, Mark
from streamwatch.transports.kafka.task import Task


class Succeeded:
    """The answer to a send, for those who do not care."""

    def failed(self) -> bool:
        return False

    def succeeded(self) -> bool:
        return True


class Unasked:
    """kafka-python's producer; whether a record arrived is neither awaited nor asked."""

    def __init__(self, producer: Any) -> None:
        self._asked = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._asked, name)

    def send(self, *args: Any, **named: Any) -> Succeeded:
        with suppress(KafkaError):
            self._asked.send(*args, **named)
        return Succeeded()

    def flush(self, timeout: float | None = None) -> None:
        pass


def unchecked(kind: type[TaskProducer]) -> type[TaskProducer]:
    class Unchecked(kind):  # type: ignore[misc, valid-type]
        def __init__(self, make: Callable[[], Any], *more: Any) -> None:
            super().__init__(lambda: Unasked(make()), *more)

    return Unchecked


def reused(kind: type[TaskProducer]) -> type[TaskProducer]:
    class Reused(kind):  # type: ignore[misc, valid-type]
        kept: ClassVar[dict[str, Any]] = {}

        def open(self) -> Future[None]:
            producer = self.kept.pop(self.name, None)
            if producer is None:
                return super().open()

            def call() -> None:
                if producer._transaction_manager._test_has_ongoing_transaction():
                    producer.abort_transaction()
                self._producer = producer

            return self._worker.start(call)

        def discard(self) -> None:
            with self._lock:
                self._discarded = True
                producer, self._producer = self._producer, None
            self._worker.stop()
            if producer is not None:
                self.kept[self.name] = producer

    return Reused


def unfenced_group(kind: type[TaskProducer]) -> type[TaskProducer]:
    class Grouped(kind):  # type: ignore[misc, valid-type]
        def send_offsets(self, offsets: Mapping[Source, int], group: Any) -> None:
            class Anybody:
                generation_id, member_id = 0, "anybody"

            name = group.group_id
            send = self._producer.send_offsets_to_transaction
            self._producer.send_offsets_to_transaction = lambda values, _: send(values, name)
            try:
                super().send_offsets(offsets, Anybody())
            finally:
                self._producer.send_offsets_to_transaction = send

    return Grouped


def fenced_late(kind: type[TaskProducer]) -> type[TaskProducer]:
    class Late(kind):  # type: ignore[misc, valid-type]
        _fenced = False

        def open(self) -> Future[None]:
            def call() -> None:
                self._producer = self._make()

            return self._worker.start(call)

        def write(self, records: Sequence[Outgoing]) -> None:
            if not self._fenced:
                self._fenced = True
                self._within("init_transactions", lambda: self._producer.init_transactions())
            super().write(records)

    return Late


def to_the_stable_end(kind: type[TaskProducer]) -> type[TaskProducer]:
    Ends.high_watermark = Ends.stable_end  # type: ignore[method-assign]
    return kind


def beyond_the_mark(kind: type[TaskProducer]) -> type[TaskProducer]:
    whole = Fold.state

    def state(fold: Fold) -> Any:
        for key, entry in fold._open.items():
            if entry is None:
                fold._held.pop(key, None)
            else:
                fold._held[key] = entry
        return whole(fold)

    Fold.state = state  # type: ignore[method-assign]
    return kind


def commands_first(kind: type[TaskProducer]) -> type[TaskProducer]:
    process = Engine.process

    def early(engine: Engine, batch: Batch) -> Output:
        topics = [source.topic for source in batch.sources]
        rows = sorted(
            range(len(batch)), key=lambda row: topics[batch.source[row]] != engine.config.control_topic
        )
        ordered = {name: getattr(batch, name)[rows] for name in ("source", "offset", "timestamp_ms")} | {
            name: [getattr(batch, name)[row] for row in rows] for name in ("key", "value", "headers")
        }
        return process(engine, replace(batch, **ordered))

    Engine.process = early  # type: ignore[method-assign]
    return kind


def without_control_state(kind: type[TaskProducer]) -> type[TaskProducer]:
    Control.changes = lambda control: {}  # type: ignore[method-assign]
    return kind


def control_unmarked(kind: type[TaskProducer]) -> type[TaskProducer]:
    mark = Task._mark

    def unmarked(
        task: Task, offsets: Mapping[Source, int], engine: bytes, said_to: Mapping[Source, int]
    ) -> Mark:
        control = task._config.control_topic
        marked = {source: at for source, at in offsets.items() if source.topic != control}
        return mark(task, marked, engine, said_to)

    Task._mark = unmarked  # type: ignore[method-assign]
    return kind


def by_the_clock(kind: type[TaskProducer]) -> type[TaskProducer]:
    obey = Control.obey
    Control.obey = lambda control, command, _: obey(control, command, time.time())  # type: ignore[method-assign]
    return kind


def saying_again(kind: type[TaskProducer]) -> type[TaskProducer]:
    Mark.said = property(lambda mark: {})  # type: ignore[assignment,method-assign]
    return kind


RULES: dict[str, Callable[[type[TaskProducer]], type[TaskProducer]]] = {
    "3": unchecked,
    "4": reused,
    "7": unfenced_group,
    "8-fence": fenced_late,
    "8-watermark": to_the_stable_end,
    "8-mark": beyond_the_mark,
    "place": commands_first,
    "control-state": without_control_state,
    "control-mark": control_unmarked,
    "clock": by_the_clock,
    "said": saying_again,
}


def violating(rules: Iterable[str], kind: type[Any]) -> type[Any]:
    """The producer of a worker that does without these rules. Some change the process, from 8-watermark on."""
    for rule in rules:
        kind = RULES[rule](kind)
    return kind
