"""Chunks of fetched bytes, built batch by batch, and what a reader makes of one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.util import calc_crc32c

from streamwatch.transports.kafka.columns import Columns

PART = TopicPartition("t", 0)


@dataclass(frozen=True)
class Record:
    delta: int  # of the offset
    timestamp_ms: int = 1_000
    key: bytes | None = None
    value: bytes | None = b"v"
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True)
class Of:
    """A batch. `last`: the offset delta of the last record there ever was; `damage`: None, "crc", "body", "count",
    "codec"."""

    records: Sequence[Record] = ()
    base: int = 0
    last: int | None = None
    codec: int = 0
    producer: int = -1
    transactional: bool = False
    control: str | None = None  # "abort" or "commit"
    append_time: bool = False
    epoch: int = 0
    damage: str | None = None
    magic: int = 2

    @property
    def end(self) -> int:
        last = max((r.delta for r in self.records), default=0) if self.last is None else self.last
        return self.base + last + 1

    def bytes(self) -> bytes:
        return self._legacy() if self.magic < 2 else self._default()

    def _default(self) -> bytes:
        producer = (self.producer, 0, 0) if self.producer >= 0 else (-1, -1, -1)
        made = DefaultRecordBatchBuilder(2, self.codec, self.transactional, *producer, 1 << 24)
        records = self.records
        if self.control:
            records = [Record(0, 5, struct.pack(">hh", 0, ("abort", "commit").index(self.control)), bytes(6))]
        for r in records:
            made.append(r.delta, r.timestamp_ms, r.key, r.value, list(r.headers))
        data = bytearray(made.build())
        (flags,) = struct.unpack_from(">h", data, 21)
        flags |= 0x08 * self.append_time | 0x20 * bool(self.control) | 0x05 * (self.damage == "codec")
        struct.pack_into(">q", data, 0, self.base)
        struct.pack_into(">i", data, 12, self.epoch)
        struct.pack_into(">hi", data, 21, flags, self.end - 1 - self.base)
        if self.damage == "body":
            data[61] ^= 0x54  # the length of the first record, or the codec's magic
        if self.damage == "count":
            struct.pack_into(">i", data, 57, len(self.records) - 1)
        struct.pack_into(">I", data, 17, calc_crc32c(memoryview(data)[21:]))
        if self.damage == "crc":
            data[17] ^= 1
        return bytes(data)

    def _legacy(self) -> bytes:
        made = LegacyRecordBatchBuilder(self.magic, self.codec if self.codec == 1 else 0, 1 << 24)
        for r in self.records:
            made.append(self.base + r.delta, r.timestamp_ms, r.key, r.value)
        data = bytearray(made.build())
        if self.damage and len(data):
            data[-1] ^= 1
        return bytes(data)


@dataclass
class Aborted:
    producer_id: int
    first_offset: int


@dataclass
class Outcome:
    """What a reader gave of one chunk, until it was empty or failed."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    error: tuple[type, str] | None = None
    position: int = -1
    epoch: int = -1
    records_read: int = 0
    drained: int = 0

    def add(self, given: Any) -> None:
        if isinstance(given, Columns):
            columns = given.offsets.tolist(), given.timestamps_ms.tolist()
            rows = zip(*columns, given.keys, given.values, given.headers, strict=True)
            self.rows += [(*row, list(headers)) for *row, headers in rows]
        else:
            time_ms = -1 if given.timestamp is None else given.timestamp
            self.rows.append((given.offset, time_ms, given.key, given.value, given.headers))


def read(
    reader: Any,
    data: bytes,
    fetch_offset: int = 0,
    aborted: Sequence[Aborted] = (),
    committed: bool = True,
    check_crcs: bool = True,
) -> Outcome:
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    out = Outcome()

    def drained(_: Any) -> None:
        out.drained += 1

    part = reader(
        fetch_offset, PART, MemoryRecords(data),
        check_crcs=check_crcs, isolation_level=level, aborted_transactions=list(aborted), on_drain=drained,
    )  # fmt: skip
    for _ in range(100):
        if not part:
            break
        try:
            for given in part.take(1_000_000):
                out.add(given)
        except Exception as error:
            out.error = type(error), str(error)
            break
    else:
        raise AssertionError("it neither ends nor fails")
    out.position, out.epoch, out.records_read = part.next_fetch_offset, part.leader_epoch, part.records_read
    return out
