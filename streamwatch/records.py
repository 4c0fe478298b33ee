"""Records as a transport gives them, by column, and messages as a transport takes them.

Nothing here knows what a record means: that is `decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
import numpy.typing as npt

Header = tuple[str, bytes | None]
T = TypeVar("T")


class Source(NamedTuple):
    """One partition of an input topic. A bare file of events is one partition: topic = its name."""

    topic: str
    partition: int


class Deferred(Sequence[T], Generic[T]):
    """n entries that are made when somebody reads one of them: most services read neither keys nor headers."""

    __slots__ = ("_entries", "_make", "_n")

    def __init__(self, n: int, make: Callable[[], Sequence[T]]) -> None:
        self._n = n
        self._make: Callable[[], Sequence[T]] | None = make
        self._entries: Sequence[T] = ()

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Deferred[T]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Deferred(len(range(*at.indices(self._n))), lambda: self._made()[at])
        return self._made()[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def _made(self) -> Sequence[T]:
        if self._make is not None:
            self._entries, self._make = self._make(), None
        return self._entries


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one poll gives for one task: n records in the order of the task (see `transports.order`).

    source        (n,) int32, index into `sources`
    offset        (n,) int64
    timestamp_ms  (n,) int64, the record's own time, milliseconds since the epoch
    key, value    n bytes or None each; headers n sequences of (name, bytes or None)
    late          how many records of the task have come too late for their place in the order, or may have, since a
                  beginning that is the transport's: while it stays the same, the order is that of a replay

    Results never depend on how records fall into batches.
    """

    task: int
    sources: tuple[Source, ...]
    source: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    timestamp_ms: npt.NDArray[np.int64]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    headers: Sequence[Sequence[Header]]
    late: int = 0

    def __len__(self) -> int:
        return len(self.value)

    def rows(self, start: int, stop: int) -> Batch:
        """The records [start, stop) as a batch of its own."""
        if start == 0 and stop >= len(self):
            return self
        return Batch(
            self.task,
            self.sources,
            self.source[start:stop],
            self.offset[start:stop],
            self.timestamp_ms[start:stop],
            self.key[start:stop],
            self.value[start:stop],
            self.headers[start:stop],
            self.late,
        )

    def next_offsets(self) -> dict[Source, int]:
        """For each source that has records here: the offset after its last one."""
        last: dict[Source, int] = {}
        for index in np.unique(self.source):
            last[self.sources[index]] = int(self.offset[self.source == index].max()) + 1
        return last


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be written. `key` decides the partition where the transport has several."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one transaction holds; a transport makes all of it visible, or none of it.

    offsets       per input partition: the next offset to process, of the state
    state         changed state by key; None deletes the key
    mark          the engine's own task-wide state, opaque here, written last
    said_to       where it is beyond `offsets`: alerts and dead letters of the records before it are written, with this
                  commit or earlier ones, and the state is not yet. Whoever goes on from here processes these records
                  again, and says nothing of them again
    """

    task: int
    offsets: Mapping[Source, int]
    alerts: Sequence[Message] = ()
    dead_letters: Sequence[Message] = ()
    state: Mapping[str, bytes | None] = field(default_factory=dict)
    mark: bytes = b""
    said_to: Mapping[Source, int] = field(default_factory=dict)
