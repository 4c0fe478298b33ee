"""What was fetched, read straight into columns: kafka-python's own class makes an object of each record.

Measured (235-byte events, lz4, one core of a busy machine): 4.6 us a record through kafka-python 3.0.12's
`Fetcher.PartitionRecords`, 0.6 here (`python -m tests.bench.throughput` has the whole).

What is relied on, all of it private:

1. `Fetcher._parse_fetched_data` makes one `self.PartitionRecords` of what was fetched of a partition (a chunk), and
   finds it through the instance, so `columnar` sets it for one consumer and no other.
2. `Fetcher._append` calls `take` while the chunk is true, hands out what it gives, and moves the position to its
   `next_fetch_offset` and `leader_epoch`. So positions, pauses, seeks and rebalances stay kafka-python's.
3. The names in `EXPECTED`. If any is another, the stock class reads, and `columnar` says so.

A chunk is one item to a poll: `max_poll_records` counts chunks. What is not plain (an old message format, a codec
without its library, a checksum or structure that is wrong) is left to the stock class from that batch to the end of
the chunk, so results and errors are its own. It differs in two things: after an error the chunk is given up and
fetched again (the stock class never ends the next poll), and a control batch emptied by compaction is passed (the
stock class fails).
"""

from __future__ import annotations

import inspect
import itertools
import struct
from typing import Any, NamedTuple

import kafka
from kafka import codec
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from streamwatch.transports.kafka.columns import Columns, NotPlainError, Packed, Read, columns

RELEASES = "3.0."
EXPECTED = {
    "arguments": {
        "self", "fetch_offset", "tp", "records", "key_deserializer", "value_deserializer", "check_crcs",
        "isolation_level", "aborted_transactions", "metric_aggregator", "on_drain",
    },
    "attributes": {
        "fetch_offset", "topic_partition", "leader_epoch", "next_fetch_offset", "bytes_read", "records_read",
        "isolation_level", "aborted_producer_ids", "aborted_transactions", "metric_aggregator", "check_crcs",
        "record_iterator", "on_drain", "_next_inline_exception",
    },
    "methods": {
        "__init__", "__bool__", "_maybe_skip_record", "drain", "_maybe_raise_next_inline_exception", "take",
        "_unpack_records", "_deserialize", "_consume_aborted_transactions_up_to", "_is_batch_aborted",
        "_contains_abort_marker",
    },
}  # fmt: skip

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">i")
_LOG_OVERHEAD = 12  # offset and length
_CHECKED_FROM = 21  # the attributes: what is before them the broker may change
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_DECODE = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


def columnar(consumer: Any) -> str | None:
    """Let `consumer`'s polls give Columns instead of ConsumerRecords, and its fetches be whole; None, or why not."""
    if (reason := unexpected(Fetcher.PartitionRecords, kafka.__version__)) is None:
        consumer._fetcher.PartitionRecords = Chunk
        whole_fetches(consumer._fetcher)
    return reason


def whole_fetches(fetcher: Any) -> None:
    """Send no fetch while an answer waits to be taken, which is what kafka-python means to do.

    It looks on one thread and sends on another: an answer that comes between the two leaves out its partitions, and
    the fetch of the quiet ones alone then waits at the broker for `fetch_max_wait_ms`, with nobody else fetched.
    (Measured: one quiet partition beside four with 1,000 events a second, p99 of an alert 142 ms, with this 62.)
    """
    create = fetcher._create_fetch_requests
    fetcher._create_fetch_requests = lambda: {} if fetcher._completed_fetches else create()


def unexpected(stock: Any, release: str) -> str | None:
    """What of `stock` is not what this module was written for."""
    if not release.startswith(RELEASES):
        return f"kafka-python is {release}, and not {RELEASES}x"
    made = stock(0, None, MemoryRecords(b""))
    found = {
        "arguments": set(inspect.signature(stock.__init__).parameters),
        "attributes": set(vars(made)),
        "methods": {name for name, value in vars(stock).items() if inspect.isfunction(value)},
    }
    for kind, names in EXPECTED.items():
        if other := sorted(names ^ found[kind]):
            return f"{kind} of kafka-python's PartitionRecords were added or removed: {', '.join(other)}"
    return None


class _Header(NamedTuple):
    """`last`: the offset delta of the last record that there ever was."""

    base: int
    length: int
    epoch: int
    magic: int
    crc: int
    flags: int
    last: int
    first_ms: int
    max_ms: int
    producer: int
    producer_epoch: int
    sequence: int
    records: int


class _Batch(NamedTuple):
    """`packed` None: it is a control batch."""

    start: int
    header: _Header
    whole: memoryview
    packed: Packed | None


class Chunk(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no type information
    """What one fetch brought of one partition. `take` gives at most one Columns, of all that can be read."""

    def __init__(
        self,
        fetch_offset: int,
        tp: Any,
        records: Any,
        key_deserializer: Any = None,
        value_deserializer: Any = None,
        **more: Any,
    ) -> None:
        super().__init__(fetch_offset, tp, records, key_deserializer, value_deserializer, **more)
        self._data = records._buffer
        self._plain = key_deserializer is None and value_deserializer is None

    def take(self, n: int | None = None) -> list[Columns]:
        if not self._plain:
            return self._take_stock(n)
        found, rest = self._read()
        if rest is None:
            self.drain()
        else:
            self._leave_from(rest)
        if len(found):
            return [found]
        return [] if rest is None else self._take_stock(n)

    def _take_stock(self, n: int | None) -> list[Columns]:
        try:
            records = super().take(n)
        except BaseException:
            self.drain()
            raise
        return [columns(records)] if records else []

    def _leave_from(self, start: int) -> None:
        self._plain = False
        records = MemoryRecords(memoryview(self._data)[start:])
        self.record_iterator = itertools.dropwhile(
            self._maybe_skip_record, self._unpack_records(self.topic_partition, records, None, None)
        )

    def _read(self) -> tuple[Columns, int | None]:
        """What can be read here; and where the first batch stands that is not plain, None when there is none."""
        batches, rest = self._whole_batches()
        read = Read([batch.packed for batch in batches if batch.packed is not None])
        wanted: list[bool] = []
        for batch in batches:
            try:
                if batch.packed is not None and len(wanted) == read.batches:
                    raise NotPlainError
                meant = self._pass(batch)
            except Exception:  # noqa: BLE001  # the stock class reads it again, and its error is raised
                rest = batch.start
                break
            if batch.packed is not None:
                wanted.append(meant)
                self.records_read += batch.packed.count if meant else 0
                self.bytes_read += len(batch.packed.data) if meant else 0
        return read.columns(wanted, self.fetch_offset), rest

    def _whole_batches(self) -> tuple[list[_Batch], int | None]:
        """The first batches, as long as they are plain; and where the next one stands. Nothing else changes."""
        data = bytes(self._data)
        batches: list[_Batch] = []
        start = 0
        while len(data) - start >= _LOG_OVERHEAD:
            (length,) = _LENGTH.unpack_from(data, start + 8)
            end = start + _LOG_OVERHEAD + length
            if end > len(data):
                break  # the broker cuts the last one off
            try:
                batches.append(self._batch(data, start, end))
            except Exception:  # noqa: BLE001  # the stock class reads it, and its error is raised
                return batches, start
            start = end
        return batches, None

    def _batch(self, data: bytes, start: int, end: int) -> _Batch:
        if end - start < _HEADER.size:
            raise NotPlainError
        header = _Header(*_HEADER.unpack_from(data, start))
        whole = memoryview(data)[start:end]
        if header.magic != 2 or (self.check_crcs and calc_crc32c(whole[_CHECKED_FROM:]) != header.crc):
            raise NotPlainError
        if header.flags & _CONTROL:
            return _Batch(start, header, whole, None)
        records = data[start + _HEADER.size : end]
        if header.flags & _CODEC:
            records = bytes(getattr(codec, f"{_DECODE[header.flags & _CODEC]}_decode")(records))
        log_ms = header.max_ms if header.flags & _APPEND_TIME else None
        return _Batch(
            start, header, whole, Packed(records, header.records, header.base, header.first_ms, log_ms)
        )

    def _pass(self, batch: _Batch) -> bool:
        """Whether its records are meant to be seen. When it raises, nothing has changed that the stock class does not
        change again in the same way."""
        header = batch.header
        committed = self.isolation_level == IsolationLevel.READ_COMMITTED and header.producer > -1
        if committed:
            self._consume_aborted_transactions_up_to(header.base + header.last)
        meant = True
        if header.flags & _CONTROL:
            if committed and header.records and self._contains_abort_marker(DefaultRecordBatch(batch.whole)):
                self.aborted_producer_ids.discard(header.producer)
        elif committed and header.flags & _TRANSACTIONAL and header.producer in self.aborted_producer_ids:
            meant = False
        self.leader_epoch = header.epoch
        self.next_fetch_offset = header.base + header.last + 1
        return meant
