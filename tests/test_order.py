"""The order of a task, against a model written straight from the rules in `transports.order`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.records import Batch, Source
from streamwatch.transports.order import CONTROL, LABELS, Merge

HOUR = 3_600_000
A, B, C = Source("p", 0), Source("p", 1), Source("labels", 0)
KINDS = {"labels": LABELS, "control": CONTROL}

Log = dict[Source, list[int]]  # timestamps by partition; offset = position
Row = tuple[Source, int]


def model(log: Log, merge: Merge) -> list[Row]:
    """All records of ended partitions in the order of the rules, one at a time."""
    order: list[Row] = []
    at = dict.fromkeys(log, 0)
    key = dict.fromkeys(log, -1)
    while any(at[source] < len(log[source]) for source in log):
        heads = []
        for rank, source in enumerate(merge.sources):
            if at[source] < len(log[source]):
                time, before = log[source][at[source]], key[source]
                heads.append((time if time < before - HOUR else max(before, time), rank, source))
        head, _, source = min(heads)
        order.append((source, at[source]))
        key[source] = head
        at[source] += 1
    return order


def add(merge: Merge, source: Source, start: int, times: list[int], arrived: float = 0.0) -> None:
    n = len(times)
    offsets = np.arange(start, start + n)
    merge.add(
        source,
        offsets,
        np.array(times, dtype=np.int64),
        [b"k"] * n,
        [f"{source.topic}/{source.partition}/{offset}".encode() for offset in offsets],
        [()] * n,
        arrived,
    )


def rows(batch: Batch | None) -> list[Row]:
    """The batch's records; that its columns belong together is checked on the way."""
    if batch is None:
        return []
    found = [
        (batch.sources[index], int(offset)) for index, offset in zip(batch.source, batch.offset, strict=True)
    ]
    assert list(batch.value) == [f"{s.topic}/{s.partition}/{o}".encode() for s, o in found]
    assert len(batch.key) == len(batch.headers) == len(batch.timestamp_ms) == len(found)
    return found


def ended(log: Log) -> dict[Source, float]:
    return dict.fromkeys(log, math.inf)


# Few distinct times, so that ties are common; a few far ahead and far behind.
times = st.lists(
    st.one_of(st.integers(0, 8), st.integers(0, 8).map(lambda n: n * HOUR // 2), st.just(-1)), max_size=14
)
logs = st.fixed_dictionaries({A: times, B: times, C: times, Source("control", 0): times})


@settings(max_examples=60, deadline=None)
@given(logs, st.data())
def test_the_order_is_the_rules_however_records_are_cut_into_adds_and_takes(
    log: Log, data: st.DataObject
) -> None:
    merge = Merge(0, log, KINDS)
    expected = model(log, merge)
    left = dict(log)
    got: list[Row] = []
    while len(got) < len(expected):
        source = data.draw(st.sampled_from([s for s in log if left[s]] or [A]))
        n = data.draw(st.integers(1, 6))
        add(merge, source, len(log[source]) - len(left[source]), left[source][:n])
        left[source] = left[source][n:]
        finished = {s: math.inf for s in log if not left[s]}
        limit = data.draw(st.integers(1, 9))
        batch = merge.take(limit, finished)
        assert len(rows(batch)) <= limit
        got += rows(batch)
        if not any(left.values()) and batch is None:
            break
    assert got == expected


@dataclass
class Waiting:
    """One record as the second model sees it: with the moment of its arrival."""

    time: int
    arrived: int


def step(log: dict[Source, list[Waiting]], at: dict[Source, int], key: dict[Source, int], merge: Merge,
         passed: dict[Source, float]) -> Row | None:  # fmt: skip
    """The next record among those given, or None if it may not go."""
    heads = []
    for rank, source in enumerate(merge.sources):
        if at[source] < len(log[source]):
            time, before = log[source][at[source]].time, key[source]
            heads.append((time if time < before - HOUR else max(before, time), rank, source))
    if not heads:
        return None
    head, _, source = min(heads)
    arrived = log[source][at[source]].arrived
    headless = [s for s in merge.sources if at[s] >= len(log[s])]
    if any(passed.get(s, -math.inf) < arrived for s in headless):
        return None
    row = (source, at[source])
    key[source] = head
    at[source] += 1
    return row


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_only_what_arrived_before_the_answer_goes_past_a_headless_partition(data: st.DataObject) -> None:
    sources = [A, B, C]
    merge = Merge(0, sources, KINDS)
    log: dict[Source, list[Waiting]] = {source: [] for source in sources}
    at, key = dict.fromkeys(sources, 0), dict.fromkeys(sources, -1)
    for now in range(data.draw(st.integers(1, 12))):
        source = data.draw(st.sampled_from(sources))
        times = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
        add(merge, source, len(log[source]), times, arrived=now)
        log[source] += [Waiting(time, now) for time in times]
        passed = data.draw(st.dictionaries(st.sampled_from(sources), st.integers(-1, now).map(float)))
        limit = data.draw(st.integers(1, 6))
        expected: list[Row] = []
        while len(expected) < limit and (row := step(log, at, key, merge, passed)):
            expected.append(row)
        assert rows(merge.take(limit, passed)) == expected
        assert [merge.buffered(s) for s in sources] == [len(log[s]) - at[s] for s in sources]


def test_the_smallest_time_among_the_heads_goes_first() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [10, 30])
    add(merge, B, 0, [20, 40])
    assert rows(merge.take(9, ended({A: [], B: []}))) == [(A, 0), (B, 0), (A, 1), (B, 1)]


def test_at_equal_times_control_goes_before_predictions_before_labels_then_topic_and_partition() -> None:
    sources = [Source("z", 0), Source("labels", 0), Source("a", 1), Source("a", 0), Source("control", 0)]
    merge = Merge(0, sources, KINDS)
    for source in sources:
        add(merge, source, 0, [7])
    took = [source for source, _ in rows(merge.take(9, dict.fromkeys(sources, math.inf)))]
    assert took == [Source("control", 0), Source("a", 0), Source("a", 1), Source("z", 0), Source("labels", 0)]


def test_a_partition_whose_times_go_back_keeps_its_own_order() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [10, 5, 20])
    add(merge, B, 0, [7, 12])
    assert rows(merge.take(9, ended({A: [], B: []}))) == [(B, 0), (A, 0), (A, 1), (B, 1), (A, 2)]


def test_a_partition_of_which_nothing_is_known_holds_everything_back() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [1])
    assert merge.headless() == [B]
    assert merge.take(9) is None
    assert rows(merge.take(9, {B: math.inf})) == [(A, 0)]


def test_nothing_goes_beyond_the_last_record_of_a_partition_that_is_not_passed() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [1, 2, 3, 4])
    add(merge, B, 0, [2])
    assert rows(merge.take(9)) == [(A, 0), (A, 1), (B, 0)]
    assert merge.take(9) is None


def test_after_a_night_without_events_the_order_is_that_of_the_live_run() -> None:
    """The first event of the morning, hours ahead of the other partition's last of the evening, waits for it."""
    evening, morning = 23 * HOUR, 31 * HOUR
    replay = Merge(0, [A, B])
    add(replay, A, 0, [evening + 1, morning + 3])
    add(replay, B, 0, [evening + 5, morning])
    live = [(A, 0), (B, 0), (B, 1), (A, 1)]  # as they came, each passing the other partition at its end
    assert rows(replay.take(9, ended({A: [], B: []}))) == live


def test_a_clock_that_was_ahead_does_not_delay_what_comes_after_it() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [10, 99 * HOUR])
    assert rows(merge.take(9, {B: 0.0})) == [(A, 0), (A, 1)]
    add(merge, A, 2, [11, 13])
    add(merge, B, 0, [12, 14])
    assert rows(merge.take(9)) == [(A, 2), (B, 0), (A, 3)]


def test_what_a_replay_would_put_elsewhere_is_counted_as_late_also_at_an_equal_key() -> None:
    merge = Merge(0, [A, B])
    add(merge, B, 0, [10], arrived=1.0)
    assert len(rows(merge.take(9, {A: 1.0}))) == 1
    add(merge, B, 1, [10])
    assert merge.late == 0
    add(merge, A, 0, [10, 11])  # A goes before B at equal keys
    assert (merge.late, merge.overtaken) == (1, 0)
    batch = merge.take(9, ended({A: [], B: []}))
    assert batch is not None
    assert batch.late > 0
    late = merge.late
    add(merge, B, 2, [10])
    assert (merge.late, merge.overtaken) == (late + 1, 1)


def test_what_is_left_of_late_records_when_a_batch_ends_is_late_in_the_next_one() -> None:
    merge = Merge(0, [A, B])
    add(merge, B, 0, [20], arrived=1.0)
    assert len(rows(merge.take(9, {A: 1.0}))) == 1
    add(merge, A, 0, [10, 11, 12, 30, 31])
    late = []
    while (batch := merge.take(2, ended({A: [], B: []}))) is not None:
        late.append(batch.late)
    assert late[0] < late[1] == late[2]


def test_what_arrives_with_a_key_below_one_already_taken_is_counted_and_goes_next() -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [10, 20], arrived=1.0)
    assert len(rows(merge.take(9, {B: 1.0}))) == 2
    add(merge, B, 0, [15, 19, 20, 21], arrived=2.0)
    assert merge.overtaken == 2
    add(merge, A, 2, [18, 30], arrived=2.0)
    assert merge.overtaken == 2, "a partition does not overtake itself"
    assert rows(merge.take(2)) == [(B, 0), (B, 1)]


def test_next_offset_is_that_of_the_first_record_not_taken() -> None:
    merge = Merge(0, [A])
    assert merge.next_offset(A) is None
    add(merge, A, 5, [1, 2, 3])
    assert merge.next_offset(A) == 5
    merge.take(2)
    assert merge.next_offset(A) == 7
    merge.take(2)
    assert merge.next_offset(A) == 8
    add(merge, A, 12, [4])
    assert merge.next_offset(A) == 12, "offsets may have gaps"


@pytest.mark.parametrize("everything", [True, False])
def test_what_is_dropped_and_added_again_comes_in_the_same_order(everything: bool) -> None:
    merge = Merge(0, [A, B])
    add(merge, A, 0, [10, 50, 40, 60])
    add(merge, B, 0, [5, 55])
    assert rows(merge.take(2)) == [(B, 0), (A, 0)]
    if everything:
        merge.clear()
    else:
        merge.drop(A)
    assert merge.next_offset(A) == 1
    assert merge.buffered(A) == 0
    assert merge.buffered(B) == (0 if everything else 1)
    add(merge, A, 1, [50, 40, 60])
    if everything:
        add(merge, B, 1, [55])
    assert rows(merge.take(9, ended({A: [], B: []}))) == [(A, 1), (A, 2), (B, 1), (A, 3)]


def test_a_block_of_a_sole_partition_is_handed_on_as_it_is() -> None:
    merge = Merge(3, [A])
    offsets, values = np.arange(4), [b"p/0/0", b"p/0/1", b"p/0/2", b"p/0/3"]
    merge.add(A, offsets, offsets, [None] * 4, values, [()] * 4)
    batch = merge.take(9)
    assert batch is not None
    assert batch.task == 3
    assert np.shares_memory(batch.offset, offsets)


def test_next_arrived_is_that_of_the_record_that_would_go_next() -> None:
    merge = Merge(0, [A, B])
    assert Merge(0, [A]).next_arrived is None
    add(merge, A, 0, [20], arrived=1.0)
    assert merge.next_arrived == 1.0
    add(merge, B, 0, [10], arrived=2.0)
    assert merge.next_arrived == 2.0
