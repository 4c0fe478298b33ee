"""Records from a list, output into plain attributes: for tests of monitors, and of restarts.

    >>> from streamwatch.transports.memory import ABORT, MemoryTransport, Record
    >>> transport = MemoryTransport([Record("predictions", {"model": "fraud", "score": 0.9}), ABORT])

A crash stands inside the list, so that a test of a restart is one literal: run until `Crashed`, run again on the
same object, and it goes on from its last commit as a new process would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from streamwatch.config import Tasks
from streamwatch.errors import StreamwatchError, TaskLost
from streamwatch.records import Batch, Commit, Header, Message, Source
from streamwatch.transports.base import Closed, Happening, Progress
from streamwatch.transports.kept import Kept
from streamwatch.transports.order import Merge
from streamwatch.transports.tasks import split


class Crashed(StreamwatchError):
    """The process would be gone here. No PlatformError, so no loop goes on after it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an input. A dict is written as JSON (NaN as Python's json writes it), a text as UTF-8, None is
    a tombstone.

    timestamp_ms   the record's own time; -1 = none, then the event's time is checked against nothing
    offset         default: one after the one before it in its partition
    """

    topic: str
    value: Mapping[str, Any] | bytes | str | None
    key: bytes | str | None = None
    timestamp_ms: int = -1
    partition: int = 0
    headers: Sequence[tuple[str, bytes | str | None]] = ()
    offset: int | None = None

    @property
    def source(self) -> Source:
        return Source(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Crash:
    """Fails once when it is reached: when all records that go before the next one in the list have been given.

    poll            that poll raises
    before commit   the next commit raises, and nothing of it is visible
    after commit    the next commit raises, and all of it is visible

    With a PlatformError as `error` the loop goes on: the task is closed and opened again from its last commit.
    """

    where: Literal["poll", "before commit", "after commit"]
    error: type[StreamwatchError] = Crashed


ABORT = Crash("poll")
CRASH_BEFORE_COMMIT = Crash("before commit")
CRASH_AFTER_COMMIT = Crash("after commit")


class MemoryTransport(Kept):
    """Gives each record once per run, in the order of the task, in batches of at most `batch_size`. `kinds`: those of
    the config (`order.kinds`), where its records are not all predictions; `tasks`: as in the config.

    What became visible: `alerts` and `dead_letters` as parsed JSON, the messages themselves, `states` and `marks` by
    task, `offsets`, and `commits`, their number. After `close` or a crash the next poll opens the tasks again from
    these.
    """

    def __init__(
        self,
        items: Sequence[Record | Crash],
        batch_size: int = 500,
        kinds: Mapping[str, int] | None = None,
        tasks: Tasks = "one",
    ) -> None:
        super().__init__()
        self.alert_messages: list[Message] = []
        self.dead_letter_messages: list[Message] = []
        self.commits = 0
        self._items = tuple(items)
        self._batch_size = batch_size
        self._kinds = kinds
        self._cut = tasks
        self._tasks: tuple[int, ...] = ()  # those that are open
        self._spent: set[int] = set()  # crashes happen once, also over reopening
        self._closed: str | None = None
        self._armed: list[int] = []  # crashes in a commit, reached and not yet happened
        self._batch: Batch | None = None
        self._crashes: list[tuple[int, int]] = []  # (row before which, index of the item), those to come
        self._row = 0

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(message.value or b"null") for message in self.alert_messages]

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(message.value or b"null") for message in self.dead_letter_messages]

    def poll(self, timeout_s: float = 0.0) -> Sequence[Happening]:
        if self._batch is None:
            return self._open()
        if self._crashes and self._crashes[0][0] <= self._row:
            self._reach()
            return ()
        stop = min([self._row + self._batch_size, len(self._batch), *(row for row, _ in self._crashes[:1])])
        given = self._batch.rows(self._row, stop)
        self._row = stop
        return split(self._cut, given) if len(given) else []

    def commit(self, commit: Commit) -> None:
        if self._batch is None or commit.task not in self._tasks:
            raise TaskLost(f"task {commit.task} is not open")
        crash = self._armed[0] if self._armed else None
        if crash is None or self._crash(crash).where == "after commit":
            self.alert_messages += commit.alerts
            self.dead_letter_messages += commit.dead_letters
            self.commits += 1
            self.keep(commit)
        if crash is not None:
            self._fail(crash)

    def progress(self) -> Progress:
        lag = dict.fromkeys(self._sources(), 0)
        if self._batch is not None:
            left = self._batch.rows(self._row, len(self._batch))
            for index, count in zip(*np.unique(left.source, return_counts=True), strict=True):
                lag[left.sources[index]] = int(count)
        return Progress(lag)

    @property
    def finished(self) -> bool:
        return self._batch is not None and self._row == len(self._batch) and not self._crashes

    @property
    def crashes_to_come(self) -> int:
        """How many of the list's crashes have not happened: 0 at the end of a test that means them all."""
        return sum(isinstance(item, Crash) for item in self._items) - len(self._spent)

    def close(self) -> None:
        self._batch = None
        self._armed = []

    def _sources(self) -> list[Source]:
        return sorted({item.source for item in self._items if isinstance(item, Record)})

    def _open(self) -> Sequence[Happening]:
        columns: dict[Source, list[tuple[int, Record]]] = {source: [] for source in self._sources()}
        following: list[
            tuple[int, Source | None, int]
        ] = []  # per crash: (item, source and offset of the next record)
        waiting: list[int] = []
        next_offset = dict.fromkeys(columns, 0)
        for index, item in enumerate(self._items):
            if isinstance(item, Crash):
                waiting.append(index)
                continue
            offset = next_offset[item.source] if item.offset is None else item.offset
            if offset < next_offset[item.source]:
                raise ValueError(f"item {index}: offsets of {item.source} must rise, got {offset}")
            next_offset[item.source] = offset + 1
            columns[item.source].append((offset, item))
            following += [(crash, item.source, offset) for crash in waiting]
            waiting = []
        following += [(crash, None, 0) for crash in waiting]
        self._batch, first = self._merged(columns)
        at = {
            (self._batch.sources[source], offset): row
            for row, (source, offset) in enumerate(
                zip(self._batch.source.tolist(), self._batch.offset.tolist(), strict=True)
            )
        }
        last = len(self._batch)
        self._crashes = sorted(
            (last if source is None else at.get((source, offset), 0), index)
            for index, source, offset in following
            if index not in self._spent
        )
        self._row = 0
        opened = self.opened(self._cut, first)
        self._tasks = tuple(one.task for one in opened)
        closed = [] if self._closed is None else [Closed(task, self._closed) for task in self._tasks]
        self._closed = None
        return [*closed, *opened]

    def _merged(self, columns: Mapping[Source, list[tuple[int, Record]]]) -> tuple[Batch, dict[Source, int]]:
        """All that is not committed, in order, and per partition the next offset."""
        merge = Merge(0, columns, self._kinds)
        first: dict[Source, int] = {}
        n = 0
        for source, rows in columns.items():
            first[source] = self.offsets.get(source, rows[0][0])
            left = [(offset, record) for offset, record in rows if offset >= first[source]]
            n += len(left)
            merge.add(
                source,
                np.array([offset for offset, _ in left], dtype=np.int64),
                np.array([record.timestamp_ms for _, record in left], dtype=np.int64),
                [_bytes(record.key) for _, record in left],
                [value_bytes(record.value) for _, record in left],
                [_headers(record.headers) for _, record in left],
            )
        batch = merge.take(n, dict.fromkeys(columns, np.inf))
        if batch is None:
            none = np.zeros(0, dtype=np.int64)
            batch = Batch(0, merge.sources, none.astype(np.int32), none, none, (), (), ())
        return batch, first

    def _reach(self) -> None:
        _, index = self._crashes.pop(0)
        if self._crash(index).where == "poll":
            self._fail(index)
        self._armed.append(index)

    def _crash(self, index: int) -> Crash:
        item = self._items[index]
        assert isinstance(item, Crash)
        return item

    def _fail(self, index: int) -> None:
        crash = self._crash(index)
        self._spent.add(index)
        self.close()
        if crash.error is not Crashed:
            self._closed = f"{crash.error.__name__} in {crash.where}"
        raise crash.error(f"{crash.where}: a crash that the records ask for")


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def value_bytes(value: Mapping[str, Any] | bytes | str | None) -> bytes | None:
    if isinstance(value, Mapping):  # msgspec would write NaN as null, and hide what a test is about
        return json.dumps(value, ensure_ascii=False).encode()
    return _bytes(value)


def _headers(headers: Sequence[tuple[str, bytes | str | None]]) -> tuple[Header, ...]:
    return tuple((name, _bytes(value)) for name, value in headers)
