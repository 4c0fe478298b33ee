"""Records of one partition by column, and how they are read out of batches of message format 2.

Only the plain good case is read here. What is not exactly as the format says is refused, and the caller asks
kafka-python: nothing is guessed, and its errors are the only ones.

Record = length, attributes, timestamp delta, offset delta, key, value, headers; all numbers but the attributes are
zigzag varints, a length below 0 is None. (https://kafka.apache.org/documentation/#record)

Where a record begins only the one before it says: that is a loop, of 0.12 us a record. All else is read of all records
at once: 0.2 us a record, of which half is the slicing of values. (A loop over the fields took 0.75 us.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streamwatch.records import Deferred, Header
from streamwatch.transports.queue import Ints

_PAD: Final = bytes(16)  # a number that the end cuts off is read into it, and then found to be out of place


class NotPlainError(Exception):
    """It is not what is read here."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """n records in the order of their offsets; nothing of it is written to again."""

    offsets: Ints
    timestamps_ms: Ints
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Sequence[Header]]

    def __len__(self) -> int:
        return len(self.values)

    def first(self, count: int) -> Columns:
        if count >= len(self):
            return self
        return Columns(
            self.offsets[:count],
            self.timestamps_ms[:count],
            self.keys[:count],
            self.values[:count],
            self.headers[:count],
        )


def columns(records: Sequence[Any]) -> Columns:
    """Of kafka-python's ConsumerRecords. Message format 0 has no times: -1, as an unknown time is elsewhere."""
    return Columns(
        _ints([record.offset for record in records]),
        _ints([-1 if record.timestamp is None else record.timestamp for record in records]),
        [record.key for record in records],
        [record.value for record in records],
        [record.headers for record in records],
    )


def _ints(numbers: list[int]) -> Ints:
    """Sums of two numbers that a producer chose: too large ones wrap round, as they do in the broker's check."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        return np.array([(n + 2**63) % 2**64 - 2**63 for n in numbers], np.int64)


def pieces(fetched: Iterable[Any]) -> list[Columns]:
    """What a poll gave of one partition: Columns as they are, ConsumerRecords (then all of it) as one."""
    given = list(fetched)
    if all(isinstance(piece, Columns) for piece in given):
        return given
    return [columns(given)]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """The records of one batch, unpacked from their codec: `count` of them in `data`. `offset` and `time_ms` are what
    their deltas add to; `log_ms`: the time of the log, which then is that of each."""

    data: bytes
    count: int
    offset: int
    time_ms: int
    log_ms: int | None = None


class Read:
    """What the records of some batches are. `batches`: so many of the first are as the format says."""

    def __init__(self, given: Sequence[Packed]) -> None:
        self._data = b"".join([*[batch.data for batch in given], _PAD])
        starts, self.batches = _starts(self._data, given)
        self._bytes = np.frombuffer(self._data, dtype=np.uint8)
        self._wrong = np.zeros(len(starts), dtype=np.bool_)
        size, at = self._numbers(np.array(starts, dtype=np.int64))
        stop = at + size
        self._wrong |= self._bytes.take(at, mode="clip") > 127
        times_ms, at = self._numbers(at + 1)
        offsets, at = self._numbers(at)
        key_size, self._key = self._numbers(at)
        self._key_stop = self._key + key_size
        value_size, self._value = self._numbers(np.maximum(self._key, self._key_stop))
        self._value_stop = self._value + value_size
        at = np.maximum(self._value, self._value_stop)
        self._headers: dict[int, Sequence[Header]] = {}
        for row in np.flatnonzero(self._bytes.take(at, mode="clip")).tolist():
            at[row] = self._read_headers(row, int(at[row]))
        self._wrong |= at + 1 != stop
        batches = given[: self.batches]
        self.counts = np.array([batch.count for batch in batches], dtype=np.int64)
        self._offsets = offsets + np.repeat(_ints([batch.offset for batch in batches]), self.counts)
        self._times_ms = times_ms + np.repeat(_ints([batch.time_ms for batch in batches]), self.counts)
        if self._wrong.any():
            wrong = int(np.argmax(self._wrong))
            self.batches = int(np.searchsorted(np.cumsum(self.counts), wrong, side="right"))
            self.counts = self.counts[: self.batches]
        self._log_ms = [batch.log_ms for batch in batches[: self.batches]]

    def columns(self, wanted: Sequence[bool], since: int) -> Columns:
        """The records of the batches that are wanted (of the first ones; the rest is not), from the first whose offset
        is not below `since`."""
        of_batch = np.repeat(np.arange(len(wanted)), self.counts[: len(wanted)])
        rows = np.flatnonzero(np.array(wanted, dtype=np.bool_)[of_batch])
        late = self._offsets[rows] >= since
        rows = rows[int(np.argmax(late)) :] if late.any() else rows[:0]
        times_ms = self._times_ms[rows]
        for batch, log_ms in enumerate(self._log_ms[: len(wanted)]):
            if log_ms is not None:
                times_ms[of_batch[rows] == batch] = log_ms
        n, data = len(rows), self._data
        key, key_stop = self._key[rows], self._key_stop[rows]
        headers = self._headers
        return Columns(
            self._offsets[rows],
            times_ms,
            Deferred(n, lambda: _sliced(data, key, key_stop)),
            _sliced(data, self._value[rows], self._value_stop[rows]),
            Deferred(n, lambda: [headers.get(row, ()) for row in rows.tolist()] if headers else [()] * n),
        )

    def _numbers(self, at: Ints) -> tuple[Ints, Ints]:
        """The zigzag varints that begin there, and where each ends; one of more than 9 bytes is wrong."""
        byte = self._bytes.take(at, mode="clip")
        found = (byte & 127).astype(np.int64)
        after = at + 1
        more = np.flatnonzero(byte > 127)
        for shift in range(7, 63, 7):
            if not len(more):
                break
            byte = self._bytes.take(after[more], mode="clip")
            found[more] |= (byte & 127).astype(np.int64) << shift
            after[more] += 1
            more = more[byte > 127]
        self._wrong[more] = True
        return (found >> 1) ^ -(found & 1), after

    def _read_headers(self, row: int, pos: int) -> int:
        """Where the last byte of a record's headers stands."""
        try:
            self._headers[row], pos = _headers(self._data, pos)
        except (NotPlainError, IndexError, ValueError):
            self._wrong[row] = True
        return pos - 1


def _starts(data: bytes, batches: Sequence[Packed]) -> tuple[list[int], int]:
    """Where each record begins, and in how many of the batches the last one ends where its batch does."""
    starts: list[int] = []
    add = starts.append
    pos = end = 0
    for number, batch in enumerate(batches):
        end += len(batch.data)
        before = len(starts)
        try:
            for _ in range(batch.count):
                add(pos)
                size = data[pos]
                if size < 128:
                    pos += 1 + (size >> 1)
                elif data[pos + 1] < 128:
                    pos += 2 + (((size & 127) | (data[pos + 1] << 7)) >> 1)
                else:
                    size, pos = _varint(data, pos)
                    pos += max(size, 0)
        except (IndexError, NotPlainError):
            pos = -1
        if pos != end or batch.count < 0:
            del starts[before:]
            return starts, number
    return starts, len(batches)


def _sliced(data: bytes, start: Ints, stop: Ints) -> list[bytes | None]:
    pairs = zip(start.tolist(), stop.tolist(), strict=True)
    if (stop < start).any():
        return [data[at:to] if to >= at else None for at, to in pairs]
    return [data[at:to] for at, to in pairs]


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    n = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        n |= (byte & 127) << shift
        if byte < 128:
            return (n >> 1) ^ -(n & 1), pos
        shift += 7
        if shift >= 64:
            raise NotPlainError


def _headers(data: bytes, pos: int) -> tuple[list[Header], int]:
    count, pos = _varint(data, pos)
    if count < 0:
        raise NotPlainError
    found: list[Header] = []
    for _ in range(count):
        n, pos = _varint(data, pos)
        if n < 0:
            raise NotPlainError
        name = data[pos : pos + n].decode()
        pos += n
        n, pos = _varint(data, pos)
        if n < 0:
            found.append((name, None))
        else:
            found.append((name, data[pos : pos + n]))
            pos += n
    return found, pos
