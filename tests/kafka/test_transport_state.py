"""The records of the state topic: what is written is what is read, and nothing else is."""

from __future__ import annotations

import os
import random

import pytest

from streamwatch.errors import StateDamaged, StateError, StateForeign
from streamwatch.transports.kafka.state_topic import MARK_KEY, PART_BYTES, Fold, KeyValue, Mark, encode


def mark(engine: bytes = b"e", service: str = "s") -> Mark:
    return Mark(service=service, mode="one", tasks=1, task=0, offsets=(("t", 0, 7),), engine=engine)


def folded(records: list[KeyValue], first: int = 0) -> Fold:
    fold = Fold("s-state", 0)
    for offset, (key, value) in enumerate(records, first):
        fold.take(offset, key, value)
    return fold


def test_state_and_mark_come_back_and_the_mark_is_last() -> None:
    records, counts = encode({"a#1": b"one", "b": b"", "gone": None}, mark(b"engine"), {"gone": 1})
    assert records[-1][0] == MARK_KEY
    fold = folded(records)
    assert fold.state() == ({"a#1": b"one", "b": b""}, b"engine", {"a#1": 1, "b": 1})
    assert fold.mark is not None
    assert fold.mark.positions == {("t", 0): 7}
    assert counts == {"a#1": 1, "b": 1, "gone": 0}


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_a_value_of_any_size_comes_back_in_records_that_the_broker_takes(size: int) -> None:
    value = os.urandom(size)
    records, counts = encode({"k": value}, mark(), {})
    assert max(len(v or b"") for _, v in records) < PART_BYTES + 100
    state, _, parts = folded(records).state()
    assert state == {"k": value}
    assert parts == counts == {"k": max(1, -(-size // PART_BYTES))}


def test_surplus_parts_are_deleted_when_a_value_shrinks_or_goes() -> None:
    """Also on a compacted topic, where the old parts would otherwise stay for ever."""
    log, parts = encode({"k": bytes(3 * PART_BYTES)}, mark(), {})
    for value in (bytes(2 * PART_BYTES), b"small", None):
        records, counts = encode({"k": value}, mark(), parts)
        log, parts = log + records, {**parts, **counts}
        assert folded(log).state()[0] == ({} if value is None else {"k": value})
        last = dict(log)  # what compaction leaves
        alive = sorted(key for key, kept in last.items() if kept is not None and key != MARK_KEY)
        assert alive == [f"k#{n}".encode() for n in range(counts["k"])]


def test_an_engine_mark_of_any_size_comes_back() -> None:
    log: list[KeyValue] = []
    parts: dict[str, int] = {}
    for engine in (b"small", os.urandom(2 * PART_BYTES), b"small again", b""):
        records, counts = encode({}, mark(engine), parts)
        log, parts = log + records, {**parts, **counts}
        assert folded(log).state()[:2] == ({}, engine)


def test_records_after_the_last_mark_are_not_a_whole_transaction() -> None:
    first, _ = encode({"a": b"1", "b": b"1"}, mark(b"first"), {})
    second, _ = encode({"a": b"2", "b": None}, mark(b"second"), {"a": 1, "b": 1})
    assert folded(first + second[:-1]).state()[:2] == ({"a": b"1", "b": b"1"}, b"first")
    assert folded(first + second).state()[:2] == ({"a": b"2"}, b"second")
    assert folded([]).state() == ({}, b"", {})


def test_a_mark_of_another_kind_of_state_says_where_it_lies() -> None:
    fold = folded(encode({}, mark(), {})[0], first=41)
    assert fold.mark_offset == 41


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"x"),
        (b"x#0", b""),
        (b"x#0", b'{"a": 1}'),
        (b"orders-17", b"SW"),
        (MARK_KEY, b"{}"),
        (b"\xff#0", None),
    ],
)
def test_a_foreign_record_is_named_by_its_coordinates(key: bytes | None, value: bytes | None) -> None:
    good, _ = encode({"k": b"v"}, mark(), {})
    if key == b"\xff#0":
        value = good[0][1]
    with pytest.raises(StateForeign, match=r"s-state-0 offset 2 was not written by streamwatch"):
        folded([*good, (key, value), *good]).state()


def test_a_newer_format_is_refused() -> None:
    (key, value), last = encode({"k": b"v"}, mark(), {})[0]
    assert value is not None
    with pytest.raises(StateForeign, match="s-state-0 offset 0: state of format 2"):
        folded([(key, value[:2] + b"\x02" + value[3:]), last]).state()


def test_no_flipped_byte_and_no_truncation_gets_through() -> None:
    """Every position of every record of a small transaction; a seeded sample of a large one."""
    records, _ = encode({"k": b"value", "l": bytes(PART_BYTES + 10)}, mark(b"engine"), {})
    good = folded(records).state()
    rng = random.Random(1)
    for index, (key, value) in enumerate(records):
        assert value is not None
        places = range(len(value)) if len(value) < 1000 else [*range(40), *rng.sample(range(len(value)), 40)]
        for place in places:
            flipped = value[:place] + bytes([value[place] ^ (1 << rng.randrange(8))]) + value[place + 1 :]
            for bad in (flipped, value[:place]):
                with pytest.raises(StateError, match=r"s-state-0 offset \d"):
                    folded([*records[:index], (key, bad), *records[index + 1 :]]).state()
    assert folded(records).state() == good


def test_a_missing_part_is_damage() -> None:
    records, _ = encode({"k": bytes(3 * PART_BYTES)}, mark(), {})
    with pytest.raises(StateDamaged, match=r"part 1 of 'k' is missing"):
        folded([record for record in records if record[0] != b"k#1"]).state()
