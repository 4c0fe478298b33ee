"""Reading into columns gives what kafka-python's own class gives: on chunks built by hand, at random, by a broker."""

from __future__ import annotations

import inspect
import random
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, codec
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record import MemoryRecords

from streamwatch.transports.kafka import reader
from streamwatch.transports.kafka.columns import Packed, Read, pieces
from streamwatch.transports.kafka.reader import Chunk, columnar, unexpected, whole_fetches
from tests.conftest import SharedBroker
from tests.kafka.chunks import PART, Aborted, Of, Outcome, Record, read
from tests.kafka.drive import driven, service
from tests.kafka.test_transport import membership_of
from tests.topics import create_topic, high_watermarks, produce

STOCK = Fetcher.PartitionRecords
INSTALLED = {0: None, 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
CODECS = [n for n, name in INSTALLED.items() if name is None or getattr(codec, f"has_{name}")()]


def same(data: bytes, *args: Any, **more: Any) -> Outcome:
    """What `Chunk` gives, which is what the stock class gives."""
    ours, stock = read(Chunk, data, *args, **more), read(STOCK, data, *args, **more)
    assert ours.rows == stock.rows
    assert ours.error == stock.error
    assert ours.epoch == stock.epoch
    assert ours.records_read == stock.records_read
    if stock.error is None:
        assert ours.position == stock.position
        assert ours.drained == stock.drained == 1
    elif stock.rows:  # the stock class does not see yet that the end of the batch before was compacted away
        assert ours.position >= stock.position
    return ours


def joined(*batches: Of) -> bytes:
    return b"".join(batch.bytes() for batch in batches)


THREE = tuple(Record(n, 1_000 + n, b"k%d" % n, b"v%d" % n) for n in range(3))
PLAIN = Of(THREE, base=10)
LENGTHS = (0, 1, 63, 64, 127, 128, 8_191, 8_192, 20_000)


# Chunks built by hand


def test_an_empty_chunk_gives_nothing() -> None:
    assert same(b"", 7).position == 7


@pytest.mark.parametrize("number", CODECS)
def test_every_codec_that_is_installed_is_read(number: int) -> None:
    batch = Of(tuple(Record(n, value=b"compressible " * 20) for n in range(50)), codec=number)
    assert len(same(batch.bytes()).rows) == 50


@pytest.mark.parametrize("length", LENGTHS)
def test_fields_of_all_lengths(length: int) -> None:
    text = bytes(length)
    records = (
        Record(0, key=text),
        Record(1, value=text),
        Record(2, headers=(("h" * min(length, 300), text), ("none", None), ("é", b""))),
        Record(3, key=None, value=None),
        Record(4, key=b"", value=b""),
    )
    assert len(same(Of(records).bytes()).rows) == 5


@pytest.mark.parametrize("delta", [1, 63, 64, 8_191, 8_192, 2_000_000, 2**31 - 1])
def test_offsets_and_times_far_from_the_first(delta: int) -> None:
    records = (Record(0, 5_000), Record(delta, 5_000 + delta), Record(delta, 5_000 - delta))
    assert len(same(Of(records, base=2**40).bytes()).rows) == 3


def test_the_time_of_the_log_is_the_batches() -> None:
    rows = same(replace(PLAIN, append_time=True).bytes()).rows
    assert {row[1] for row in rows} == {1_002}


def test_a_fetch_from_the_middle_of_a_batch_begins_there() -> None:
    assert [row[0] for row in same(PLAIN.bytes(), 11).rows] == [11, 12]
    assert same(PLAIN.bytes(), 13).position == 13


def test_what_is_compacted_away_is_passed() -> None:
    """Else the same batch would be fetched again and again."""
    empty, tail = Of(base=0, last=9), replace(PLAIN, last=20)
    assert same(joined(empty, tail)).position == 31
    assert same(empty.bytes()).position == 10


def test_the_batch_that_is_cut_off_is_left() -> None:
    data = joined(PLAIN, replace(PLAIN, base=13))
    for cut in (1, 40, 80, 90):
        assert same(data[:-cut]).position == 13


def test_aborted_transactions_of_interleaved_producers_are_skipped() -> None:
    data = joined(
        Of(THREE, 0, producer=1, transactional=True),
        Of(THREE, 3, producer=2, transactional=True),
        Of(THREE, 6),
        Of(THREE, 9, producer=2),
        Of((), 12, producer=1, transactional=True, control="abort"),
        Of(THREE, 13, producer=1, transactional=True),
        Of((), 16, producer=2, transactional=True, control="commit"),
        Of((), 17, producer=1, transactional=True, control="commit"),
    )
    out = same(data, 0, [Aborted(1, 0)])
    assert [row[0] for row in out.rows] == [*range(3, 12), *range(13, 16)]
    assert out.position == 18
    assert len(same(data, 0, [Aborted(1, 0)], committed=False).rows) == 15


def test_a_transaction_may_begin_in_the_middle_of_a_batch_and_a_commit_ends_no_abort() -> None:
    data = joined(
        Of(THREE, 0, producer=1, transactional=True),
        Of((), 3, producer=1, transactional=True, control="commit"),
        Of(THREE, 4, producer=1, transactional=True),
    )
    assert same(data, 0, [Aborted(1, 2)]).rows == []
    assert len(same(data, 0, [Aborted(1, 5)]).rows) == 3


def test_a_position_passes_what_was_aborted_to_the_last() -> None:
    data = joined(
        Of(THREE, 0, producer=1, transactional=True),
        Of((), 3, producer=1, transactional=True, control="abort"),
    )
    out = same(data, 0, [Aborted(1, 0)])
    assert (out.rows, out.position) == ([], 4)


def test_the_leaders_epoch_is_that_of_the_last_batch() -> None:
    assert same(joined(replace(PLAIN, epoch=3), replace(PLAIN, base=13, epoch=8))).epoch == 8


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_read_by_the_stock_class(magic: int) -> None:
    old = Of(THREE, 20, magic=magic)
    assert len(same(joined(PLAIN, old, replace(PLAIN, base=30))).rows) == 9
    assert len(same(old.bytes()).rows) == 3


@pytest.mark.parametrize("damage", ["crc", "body", "count"])
def test_a_damaged_batch_is_the_stock_class_s_error_after_what_is_before_it(damage: str) -> None:
    out = same(joined(PLAIN, Of(THREE, 13, damage=damage), replace(PLAIN, base=16)))
    assert out.error
    assert out.error[0] is CorruptRecordError
    assert len(out.rows) >= 3


def test_checksums_are_not_looked_at_when_the_client_is_told_so() -> None:
    wrong = Of(THREE, damage="crc").bytes()
    assert "crc" in str(same(wrong).error)
    assert len(same(wrong, check_crcs=False).rows) == 3


def test_times_beyond_64_bits_wrap_round() -> None:
    """A producer chooses both numbers that are added."""
    record = bytes([7 << 1, 0, 6 << 1, 0, 1, 1, 0])  # without key, value and headers, 6 ms after the first
    record = bytes([(len(record) - 1) << 1]) + record[1:]
    read = Read([Packed(record, 1, 0, 2**63 - 1)])
    assert read.columns([True], 0).timestamps_ms.tolist() == [-(2**63) + 5]


def test_a_codec_without_its_library_is_the_stock_class_s_error(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Of(tuple(Record(n, value=b"compressible " * 20) for n in range(50)), codec=3).bytes()
    monkeypatch.setattr(codec, "lz4", None)
    monkeypatch.setattr(codec, "lz4_decode", None)
    out = same(batch)
    assert out.error == (
        UnsupportedCodecError,
        str(UnsupportedCodecError("Libraries for lz4 compression codec not found")),
    )
    assert same(Of(THREE, damage="codec").bytes()).error


@pytest.mark.parametrize("length", [-1, 0, 10, 30])
def test_a_length_that_cannot_be_is_the_stock_class_s_error(length: int) -> None:
    bad = bytearray(PLAIN.bytes())
    bad[8:12] = length.to_bytes(4, "big", signed=True)
    assert same(joined(PLAIN) + bytes(bad)).error


def test_after_an_error_the_chunk_is_given_up() -> None:
    """The stock class stays true and gives nothing: the next poll would never end."""
    part = Chunk(10, PART, MemoryRecords(Of(THREE, 10, damage="crc").bytes()))
    with pytest.raises(CorruptRecordError):
        part.take(1)
    assert not part
    assert part.next_fetch_offset == 10


def test_a_marker_that_was_compacted_away_is_passed() -> None:
    """The stock class fails with a RuntimeError."""
    marker = bytearray(Of((), 0, producer=1, transactional=True, last=4).bytes())
    flags = int.from_bytes(marker[21:23], "big") | 0x20
    marker[21:23] = flags.to_bytes(2, "big")
    out = read(Chunk, bytes(marker), check_crcs=False)
    assert (out.error, out.position) == (None, 5)
    assert read(STOCK, bytes(marker), check_crcs=False).error


# At random

fields = st.one_of(st.none(), st.binary(max_size=200), st.sampled_from([bytes(n) for n in LENGTHS]))
times = st.one_of(st.integers(0, 2_000), st.integers(-(2**50), 2**50))
headers = st.lists(st.tuples(st.text(max_size=9), st.one_of(st.none(), st.binary(max_size=9))), max_size=2)


@st.composite
def chunks(draw: Any) -> tuple[list[Of], int]:
    """Batches with rising offsets, and how many bytes are cut off the last."""
    base, made = draw(st.integers(0, 5)), []
    for _ in range(draw(st.integers(1, 6))):
        gaps = draw(st.lists(st.integers(1, 3), max_size=5))
        deltas = [sum(gaps[: n + 1]) - 1 for n in range(len(gaps))]
        records = tuple(
            Record(delta, draw(times), draw(fields), draw(fields), tuple(draw(headers))) for delta in deltas
        )
        producer = draw(st.sampled_from([-1, 1, 2]))
        control = draw(st.sampled_from([None, None, "abort", "commit"])) if producer > 0 else None
        damage = draw(st.sampled_from([None] * 20 + ["crc", "body", "count", "codec"]))
        magic = draw(st.sampled_from([2] * 10 + [0, 1])) if records and not control else 2
        batch = Of(
            records, base, (deltas[-1] if deltas else 0) + draw(st.integers(0, 2)),
            draw(st.sampled_from(CODECS)) if records and not control else 0, producer,
            producer > 0 and draw(st.booleans()), control, draw(st.booleans()), draw(st.integers(0, 3)),
            damage if records and not control else None, magic,
        )  # fmt: skip
        made.append(batch)
        base = batch.end + draw(st.integers(0, 2))
    return made, draw(st.sampled_from([0, 0, 1, 30, 70]))


@settings(max_examples=120, deadline=None)
@given(
    chunks(),
    st.integers(0, 30),
    st.lists(st.builds(Aborted, st.sampled_from([1, 2]), st.integers(0, 40)), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_any_chunk_gives_what_the_stock_class_gives(
    chunk: tuple[list[Of], int], offset: int, aborted: list[Aborted], committed: bool, check_crcs: bool
) -> None:
    batches, cut = chunk
    data = joined(*batches)
    same(data[: max(0, len(data) - cut)], offset, aborted, committed, check_crcs)


# When kafka-python is another


def test_another_release_is_not_read_by_this_module() -> None:
    assert unexpected(STOCK, "3.0.12") is None
    assert unexpected(STOCK, "3.1.0") == "kafka-python is 3.1.0, and not 3.0.x"


def test_another_shape_is_not_read_by_this_module() -> None:
    class More(STOCK):  # type: ignore[misc]
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.held = None

    assert "arguments" in str(unexpected(More, "3.0.13"))
    More.__init__.__signature__ = inspect.signature(STOCK.__init__)  # type: ignore[attr-defined]
    assert "held" in str(unexpected(More, "3.0.13"))


def test_records_of_the_stock_class_become_columns() -> None:
    part = STOCK(0, PART, MemoryRecords(PLAIN.bytes()))
    (piece,) = pieces(part.take(10))
    assert (piece.offsets.tolist(), piece.values) == ([10, 11, 12], [b"v0", b"v1", b"v2"])


# On a broker


def write(servers: str, topic: str, seed: int) -> None:
    """Plain and transactional producers of every codec, two partitions, transactions open at the same time."""
    rng = random.Random(seed)
    names = [INSTALLED[number] for number in CODECS]

    def producer(**more: Any) -> Any:
        return KafkaProducer(
            bootstrap_servers=servers, compression_type=rng.choice(names), retry_backoff_ms=5,
            batch_size=rng.choice([200, 2_000, 50_000]), linger_ms=2, **more,
        )  # fmt: skip

    plain = [producer() for _ in range(2)]
    bound = [producer(transactional_id=f"{topic}-{n}") for n in range(3)]
    for one in bound:
        one.init_transactions()
    opened: set[int] = set()

    def send(one: Any) -> None:
        for _ in range(rng.randint(1, 30)):
            one.send(
                topic, partition=rng.randrange(2), timestamp_ms=rng.choice([None, rng.randrange(1, 10**12)]),
                **rng.choice(
                    [{"key": b"k"}, {"key": b"k", "value": b""}, {"value": b"v" * rng.randrange(300)}]
                    + [{"key": bytes(100), "value": rng.randbytes(rng.randrange(300))}] * 2
                ),
                headers=[("h", b"x" * rng.randrange(90))] * rng.choice([0, 0, 1, 2]),
            )  # fmt: skip
        one.flush(timeout=30)

    for _ in range(40):
        n = rng.randrange(len(bound))
        if rng.random() < 0.3:
            send(rng.choice(plain))
        elif n not in opened:
            bound[n].begin_transaction()
            opened.add(n)
            send(bound[n])
        elif rng.random() < 0.4:
            send(bound[n])
        else:
            opened.discard(n)
            bound[n].commit_transaction() if rng.random() < 0.5 else bound[n].abort_transaction()
    for n in opened:
        bound[n].abort_transaction()
    for one in (*plain, *bound):
        one.close(timeout=5)


def consumer(servers: str, parts: Sequence[Any], fetch: int, isolation: str) -> Any:
    made = KafkaConsumer(
        bootstrap_servers=servers, bootstrap_timeout_ms=10_000, group_id=None, isolation_level=isolation,
        enable_auto_commit=False, auto_offset_reset="none", max_partition_fetch_bytes=fetch,
        max_poll_records=1_000_000, fetch_max_wait_ms=50,
    )  # fmt: skip
    made.assign(list(parts))
    return made


def all_of(client: Any, ends: dict[Any, int], starts: dict[Any, int], seed: int) -> tuple[Any, ...]:
    """Read to the ends, partitions paused and resumed by the way: rows and positions."""
    rng = random.Random(seed)
    found = {part: Outcome() for part in ends}
    for part in ends:
        client.seek(part, starts[part])
    while any(client.position(part) < end for part, end in ends.items()):
        for part, given_ in client.poll(timeout_ms=200).items():
            for piece in given_:
                found[part].add(piece)
        paused = rng.choice([[], [], *([part] for part in ends)])
        client.resume(*ends)
        if paused and any(client.position(p) < ends[p] for p in ends if p not in paused):
            client.pause(*paused)
    return {part: out.rows for part, out in found.items()}, {p: client.position(p) for p in ends}


@pytest.fixture(params=[("CreateTime", 1), ("LogAppendTime", 2), ("CreateTime", 3)], ids=str)
def written(broker: SharedBroker, request: pytest.FixtureRequest) -> tuple[str, dict[Any, int], int]:
    kind, seed = request.param
    topic = f"t-reader-{uuid.uuid4().hex[:10]}"
    create_topic(broker.bootstrap_servers, topic, 2, message_timestamp_type=kind)
    write(broker.bootstrap_servers, topic, seed)
    return broker.bootstrap_servers, high_watermarks(broker.bootstrap_servers, topic), seed


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_a_topic_reads_as_by_the_stock_consumer(
    written: tuple[str, dict[Any, int], int], isolation: str
) -> None:
    """From the start and from the middle, in small fetches and large; and each chunk by itself."""
    servers, ends, seed = written
    rng = random.Random(seed)
    for fetch in (700, 5_000, 1_000_000):
        ours, stock = (consumer(servers, list(ends), fetch, isolation) for _ in range(2))
        seen: list[tuple[Any, ...]] = []
        try:
            assert columnar(ours) is None

            def noted(offset: int, tp: Any, records: Any, seen: Any = seen, **more: Any) -> Any:
                seen.append((bytes(records._buffer), offset, list(more["aborted_transactions"] or ())))
                return Chunk(offset, tp, records, **more)

            ours._fetcher.PartitionRecords = noted
            for starts in (dict.fromkeys(ends, 0), {part: rng.randrange(end) for part, end in ends.items()}):
                got = all_of(ours, ends, starts, seed)
                assert got == all_of(stock, ends, starts, seed)
                assert any(got[0].values())
            assert len(seen) >= 4
            for data, offset, aborted in seen:
                same(data, offset, aborted, isolation == "read_committed")
        finally:
            ours.close()
            stock.close()


@pytest.mark.parametrize("known", [True, False])
def test_the_service_reads_with_either_class_and_says_which(
    broker: SharedBroker, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:
        monkeypatch.setattr(reader, "RELEASES", "2.9.")
    servers, name = broker.bootstrap_servers, f"t-reader-{uuid.uuid4().hex[:10]}"
    with structlog.testing.capture_logs() as said, driven(service(servers, name)) as worker:
        produce(servers, f"{name}-in", [b"%d" % n for n in range(100)])
        assert worker.read(100).values == [b"%d" % n for n in range(100)]
        used = membership_of(worker)._consumer._fetcher.PartitionRecords
    assert used is (Chunk if known else STOCK)
    assert [line["detail"] for line in said] == (
        [] if known else ["kafka-python is 3.0.12, and not 2.9.x: a record costs four times as much to read"]
    )


class TwoThreads:
    """Of kafka-python's fetcher: the answers that wait to be taken, and what asks for more."""

    def __init__(self) -> None:
        self._completed_fetches: list[str] = []

    def _create_fetch_requests(self) -> dict[int, str]:
        return {1: "whatever is not in an answer that waits"}


def test_no_fetch_goes_out_while_an_answer_waits_to_be_taken() -> None:
    """Else one for the quiet partitions alone would hold up the busy ones."""
    fetcher = TwoThreads()
    whole_fetches(fetcher)
    assert fetcher._create_fetch_requests()
    fetcher._completed_fetches.append("came just now")
    assert fetcher._create_fetch_requests() == {}
    fetcher._completed_fetches.clear()
    assert fetcher._create_fetch_requests()
