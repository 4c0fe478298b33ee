"""Buckets of time: which value belongs where, when a bucket closes, and that calls and restarts change nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError

from streamwatch.buckets import Buckets
from streamwatch.errors import StateDamaged
from streamwatch.every import Every
from streamwatch.series import Kind

Rows = list[tuple[float, float]]  # time, value


def every(**more: Any) -> Every:
    return Every.model_validate({"length": "10s", "late": "0s", **more})


def taken(buckets: Buckets, rows: Rows, cuts: Iterable[int] = ()) -> tuple[list[int], list[tuple[Any, ...]]]:
    """Which values came too late, and the buckets as (position, time, value); parts of one go the short way."""
    late: list[int] = []
    closed: list[tuple[Any, ...]] = []
    edges = [0, *sorted(cuts), len(rows)]
    for start, stop in pairwise(edges):
        if stop - start == 1:
            one = buckets.take_one(rows[start][1], rows[start][0])
            late += [start] * one[0]
            closed += [(start, time_s, value) for value, time_s in one[1]]
            continue
        found = buckets.take(
            np.array([v for _, v in rows[start:stop]]), np.array([t for t, _ in rows[start:stop]])
        )
        late += [] if found.late is None else (start + np.flatnonzero(found.late)).tolist()
        places = (start + found.positions).tolist()
        closed += zip(places, found.times_s.tolist(), found.values.tolist(), strict=True)
    return late, closed


RULES = {
    "a bucket closes with the first value of a later one, and is known by its beginning": (
        {}, [(100, 1), (109.9, 2), (110, 5)], [], [(2, 100, 1.5)],
    ),
    "it is aligned to the epoch, not to its first value": (
        {}, [(107, 1), (113, 2), (121, 3)], [], [(1, 100, 1), (2, 110, 2)],
    ),
    "its end belongs to the next": ({}, [(100, 1), (110, 2), (120, 3)], [], [(1, 100, 1), (2, 110, 2)]),
    "a gap is a gap": ({}, [(100, 1), (200, 2), (1e9, 3)], [], [(1, 100, 1), (2, 200, 2)]),
    "a gap is a gap in a count, too": (
        {"stat": "count"}, [(90, 0), (100, 1), (101, 1), (200, 2), (300, 3)], [], [(3, 100, 2), (4, 200, 1)],
    ),
    "out of order within a bucket is no matter": ({}, [(109, 1), (100, 3), (110, 0)], [], [(2, 100, 2)]),
    "what comes after its bucket is closed is too late": (
        {}, [(109, 1), (110, 2), (109, 9), (120, 0)], [2], [(1, 100, 1), (3, 110, 2)],
    ),
    "`late` keeps it open for so long after its end": (
        {"late": "5s"}, [(109, 1), (114.9, 2), (109, 3), (115, 4), (109, 9), (125, 0)], [4],
        [(3, 100, 2), (5, 110, 3)],
    ),
    "one value may close several": (
        {"late": "20s"}, [(100, 1), (110, 2), (120, 3), (119, 6), (150, 0)], [],
        [(4, 100, 1), (4, 110, 4), (4, 120, 3)],
    ),
    "the first bucket of a count is not whole, nor is what lies before it": (
        {"stat": "count", "late": "10s"}, [(105, 1), (99, 1), (112, 1), (113, 1), (130, 1)], [], [(4, 110, 2)],
    ),
    "a share is a mean": ({"stat": "share"}, [(100, 1), (101, 0), (110, 1)], [], [(2, 100, 0.5)]),
    "too early by far closes what others still bring": (
        {}, [(100, 1), (399, 1), (101, 1), (400, 1)], [2], [(1, 100, 1), (3, 390, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_rules(rule: str, one_by_one: bool) -> None:
    more, rows, late, closed = RULES[rule]
    cuts = range(1, len(rows)) if one_by_one else ()
    assert taken(Buckets(every(**more), "real"), rows, cuts) == (late, closed)


def walk(n: int, seed: int, kind: Kind) -> Rows:
    """Values at times that go on unevenly, out of order by some seconds, with gaps of years."""
    draw = random.Random(seed)
    rows: Rows = []
    now_s = 1.7e9
    for _ in range(n):
        now_s += draw.expovariate(2.0) + (draw.random() < 0.01) * draw.choice([60.0, 3600.0, 1e8])
        value = {"binary": float(draw.random() < 0.3), "unit": draw.random(), "real": draw.gauss(1e6, 1e-3)}
        rows.append((now_s - draw.choice([0.0, 0.0, 0.0, 1.0, 7.0, 30.0]), value.get(kind, 0.0)))
    return rows


def by_hand(of: Every, rows: Rows) -> tuple[set[int], dict[float, tuple[int, list[float]]]]:
    """The same told otherwise: which values are too late, and of each bucket the closing value and what is in it."""
    late: set[int] = set()
    held: dict[float, list[float]] = {}
    closed: dict[float, tuple[int, list[float]]] = {}
    peak_s = -math.inf
    for at, (time_s, value) in enumerate(rows):
        peak_s = max(peak_s, time_s)
        for start_s in sorted(held):
            if start_s + of.length + of.late <= peak_s:
                closed[start_s] = at, held.pop(start_s)
        start_s = time_s - time_s % of.length
        if start_s + of.length + of.late <= peak_s:
            late.add(at)
        else:
            held.setdefault(start_s, []).append(value)
    return late, closed


@pytest.mark.parametrize("kind", ["binary", "unit", "real"])
def test_the_values_of_each_bucket_are_those_of_its_time(kind: Kind) -> None:
    """Against a plain reckoning, with times on whole quarters so that no sum of times is rounded."""
    rows = [(round(time_s * 4) / 4, value) for time_s, value in walk(3000, 1, kind)]
    of = every(late="4s")
    late, closed = taken(Buckets(of, kind), rows)
    late_by_hand, closed_by_hand = by_hand(of, rows)
    assert set(late) == late_by_hand
    assert len(late) > 100
    assert [(at, start_s) for at, start_s, _ in closed] == [
        (at, start_s) for start_s, (at, _) in sorted(closed_by_hand.items())
    ]
    means = [math.fsum(values) / len(values) for _, (_, values) in sorted(closed_by_hand.items())]
    assert [value for *_, value in closed] == pytest.approx(means, rel=1e-14)


@pytest.mark.parametrize("stat", ["mean", "count"])
@pytest.mark.parametrize("kind", ["binary", "unit", "real"])
def test_calls_and_restarts_change_nothing_to_the_last_bit(kind: Kind, stat: str) -> None:
    rows = walk(2000, 2, kind)
    of = every(late="4s", stat=stat)
    whole = Buckets(of, of.kind(kind))
    expected = taken(whole, rows)
    for seed in range(4):
        draw = random.Random(seed)
        often = draw.choice([0.01, 0.3, 1.0])
        edges = [0, *(at for at in range(1, len(rows)) if draw.random() < often), len(rows)]
        buckets = Buckets(of, of.kind(kind))
        late: list[int] = []
        closed: list[tuple[Any, ...]] = []
        for start, stop in pairwise(edges):
            a, b = taken(buckets, rows[start:stop])
            late += [start + at for at in a]
            closed += [(start + at, *more) for at, *more in b]
            if draw.random() < 0.1:
                plain = msgspec.msgpack.decode(msgspec.msgpack.encode(buckets.dump()))
                buckets = Buckets.load(of, of.kind(kind), plain)
        assert (late, closed) == expected
        assert buckets.dump() == whole.dump()


def test_the_mean_of_equal_values_is_that_value() -> None:
    """Else a constant has a scale of 1e-17, by which PageHinkley would measure."""
    rows = [(100 + at / 100, 0.1) for at in range(3000)]
    _, closed = taken(Buckets(every(), "real"), rows)
    assert {value for *_, value in closed} == {0.1}


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_greatest_numbers_have_a_mean(one_by_one: bool) -> None:
    rows = [(100.0, 1.7e308), (101.0, 1.7e308), (102.0, -1.7e308), (110.0, 0.0)]
    _, closed = taken(Buckets(every(), "real"), rows, range(1, 4) if one_by_one else ())
    assert closed == [(3, 100.0, pytest.approx(1e100 / 3))]


def test_a_mean_of_shares_is_a_share() -> None:
    ones = [(100 + at / 1000, 1.0 - 2**-53) for at in range(3000)]
    _, closed = taken(Buckets(every(), "unit"), [*ones, (200.0, 0.0)])
    assert 0.0 <= closed[0][2] <= 1.0


@pytest.mark.parametrize("stat", ["mean", "count"])
def test_after_a_restart_only_what_comes_then_is_read_and_what_is_closed_stays_so(stat: str) -> None:
    buckets = Buckets(every(stat=stat), "real")
    taken(buckets, [(90.0, 8.0), (100.0, 8.0), (105.0, 8.0)])
    buckets.restart()
    late, closed = taken(buckets, [(99.0, 1.0), (106.0, 1.0), (110.0, 1.0), (120.0, 1.0)])
    assert late == [0]
    assert closed == ([(2, 100, 1), (3, 110, 1)] if stat == "mean" else [(3, 110, 1)])


def test_a_shorter_or_longer_wait_goes_on_from_the_state() -> None:
    """No bucket is read twice, none is lost."""
    before = Buckets(every(late="20s"), "real")
    taken(before, [(100.0, 1.0), (110.0, 1.0), (120.0, 1.0)])
    shorter = Buckets.load(every(late="0s"), "real", before.dump())
    assert taken(shorter, [(121.0, 1.0)], [0]) == ([], [(0, 100, 1), (0, 110, 1)])
    for short_way in (False, True):
        shorter = Buckets.load(every(late="0s"), "real", before.dump())
        assert shorter.quiet_s == (0.0, 0.0), "the next value closes two"
        rows = [(119.0, 1.0)] if short_way else [(119.0, 1.0), (118.0, 1.0)]
        late, closed = taken(shorter, rows)
        assert shorter.quiet_s == (120.001, 129.999)
        assert (late, closed) == ([0, 1][: len(rows)], [(0, 100, 1), (0, 110, 1)])
    longer = Buckets.load(every(late="50s"), "real", shorter.dump())
    late, closed = taken(longer, [(111.0, 9.0), (122.0, 1.0), (300.0, 1.0)])
    assert (late, closed) == ([0], [(2, 120, 1)])


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"peak_s": "x"},
        {"closed": 1.5},
        {"numbers": [1]},
        {"numbers": [1], "open": [[0, 1.0, 0.0]]},
        {"numbers": [1], "open": [[1, float("nan"), 0.0]]},
        {"numbers": list(range(1000)), "open": [[1, 1.0, 0.0]] * 1000},
    ],
)
def test_damaged_state_is_said(wrong: Any) -> None:
    good = {"peak_s": 1.0, "closed": 0, "from": None, "numbers": [], "open": []}
    Buckets.load(every(), "real", good)
    with pytest.raises(StateDamaged):
        Buckets.load(every(), "real", {**good, **wrong} if wrong else wrong)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("1m", {"length": "1m", "stat": "mean", "late": "10s"}),
        ({"length": "90s", "stat": "count", "late": "0s"}, {"length": "90s", "stat": "count", "late": "0s"}),
    ],
)
def test_the_forms(given: Any, plain: dict[str, str]) -> None:
    read = Every.model_validate(given)
    assert read.model_dump(mode="json") == plain
    assert Every.model_validate(plain) == read


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("1", "expected a duration like 30s"),
        (60, "a duration needs its unit"),
        ("500ms", "expected 1s or more, got 500ms"),
        ({"length": "1s", "late": "1h"}, "late may be at most 100 times the length, 100s, got 1h"),
        ({"length": "1m", "stat": "median"}, "'mean', 'share' or 'count'"),
        ({"stat": "mean"}, "length"),
        (["1m"], "expected a duration"),
    ],
)
def test_what_is_wrong_is_said(given: Any, says: str) -> None:
    with pytest.raises(ValidationError) as error:
        Every.model_validate(given)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("binary", {"mean": "unit", "share": "unit", "count": "real"}),
        ("unit", {"mean": "unit", "share": None, "count": "real"}),
        ("real", {"mean": "real", "share": None, "count": "real"}),
        ("codes", {"mean": None, "share": None, "count": "real"}),
    ],
)
def test_the_kind_of_what_a_detector_reads(kind: Kind, kinds: dict[str, Kind | None]) -> None:
    for stat, expected in kinds.items():
        if expected is not None:
            assert every(stat=stat).kind(kind) == expected
        else:
            with pytest.raises(ValueError, match=f"there is no {stat} of"):
                every(stat=stat).kind(kind)
