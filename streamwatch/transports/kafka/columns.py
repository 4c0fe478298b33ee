"""Records of one partition by column, and how they are read out of a batch of message format 2.

Only the plain good case is read here. What is not exactly as the format says is refused with an error, and the caller
asks kafka-python: nothing is guessed, and its errors are the only ones.

Record = length, attributes, timestamp delta, offset delta, key, value, headers; all numbers but the attributes are
zigzag varints, a length below 0 is None. (https://kafka.apache.org/documentation/#record)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamwatch.records import Header
from streamwatch.transports.queue import Ints


class NotPlainError(Exception):
    """It is not what `Rows.unpack` reads."""


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


@dataclass(slots=True, eq=False)
class Rows:
    """Columns while they grow."""

    offsets: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Sequence[Header]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def cut(self, length: int) -> None:
        """Only the first `length` records."""
        for column in (self.offsets, self.times, self.keys, self.values, self.headers):
            del column[length:]

    def since(self, offset: int) -> Columns:
        """Without the records before the first that is not below `offset`."""
        first = next((row for row, at in enumerate(self.offsets) if at >= offset), len(self))
        return Columns(
            _ints(self.offsets[first:]),
            _ints(self.times[first:]),
            self.keys[first:],
            self.values[first:],
            self.headers[first:],
        )

    def unpack(self, data: bytes, pos: int, end: int, count: int, offset: int, time_ms: int) -> None:
        """Append the `count` records in `data[pos:end]`; `offset` and `time_ms` are what their deltas add to.

        NotPlainError, IndexError or ValueError; then some of the records are appended, and maybe one in parts.
        One loop without calls: a call a record for each of its five numbers costs as much as all the rest.
        """
        add_offset, add_time, add_headers = self.offsets.append, self.times.append, self.headers.append
        add_key, add_value = self.keys.append, self.values.append
        for _ in range(count):
            size = data[pos]
            if size < 128:
                pos += 1
            elif data[pos + 1] < 128:
                size = (size & 127) | (data[pos + 1] << 7)
                pos += 2
            else:
                size, pos = _varint(data, pos)
                size <<= 1
            start = pos
            if data[pos] >= 128:
                raise NotPlainError
            pos += 1
            n = data[pos]
            if n < 128:
                pos += 1
                add_time(time_ms + ((n >> 1) ^ -(n & 1)))
            elif data[pos + 1] < 128:
                n = (n & 127) | (data[pos + 1] << 7)
                pos += 2
                add_time(time_ms + ((n >> 1) ^ -(n & 1)))
            else:
                n, pos = _varint(data, pos)
                add_time(time_ms + n)
            n = data[pos]
            if n < 128:
                pos += 1
                add_offset(offset + ((n >> 1) ^ -(n & 1)))
            elif data[pos + 1] < 128:
                n = (n & 127) | (data[pos + 1] << 7)
                pos += 2
                add_offset(offset + ((n >> 1) ^ -(n & 1)))
            else:
                n, pos = _varint(data, pos)
                add_offset(offset + n)
            n = data[pos]
            if n < 128:
                pos += 1
                n = (n >> 1) ^ -(n & 1)
            else:
                n, pos = _varint(data, pos)
            if n < 0:
                add_key(None)
            else:
                add_key(data[pos : pos + n])
                pos += n
            n = data[pos]
            if n < 128:
                pos += 1
                n = (n >> 1) ^ -(n & 1)
            elif data[pos + 1] < 128:
                n = (n & 127) | (data[pos + 1] << 7)
                pos += 2
                n = (n >> 1) ^ -(n & 1)
            else:
                n, pos = _varint(data, pos)
            if n < 0:
                add_value(None)
            else:
                add_value(data[pos : pos + n])
                pos += n
            if data[pos]:
                found, pos = _headers(data, pos)
                add_headers(found)
            else:
                pos += 1
                add_headers(())
            if (pos - start) << 1 != size:
                raise NotPlainError
        if pos != end:
            raise NotPlainError


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
