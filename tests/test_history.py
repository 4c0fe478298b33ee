"""The history of a detector: small, exact to the last bit however it is filled, and right about steps."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.detectors.history import BLOCK, EACH, NEWEST, History
from streamwatch.errors import StateDamaged
from streamwatch.series import Floats


def filled(values: Floats, times_s: Floats | None = None) -> History:
    history = History()
    history.extend(
        values.tolist(), np.arange(len(values)) * 1.0 if times_s is None else times_s, 0, len(values)
    )
    return history


@given(st.integers(0, 2**32), st.lists(st.integers(0, 700), max_size=12))
@settings(max_examples=60, deadline=None)
def test_it_is_the_same_to_the_last_bit_however_it_is_filled(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(1e6, 1e-3, 700) * 10.0 ** rng.integers(-3, 3, 700)
    times_s = np.sort(rng.uniform(0, 1e9, 700))
    whole, parts, single = filled(values, times_s), History(), History()
    numbers = values.tolist()
    edges = [0, *sorted(cuts), 700]
    for at, edge in enumerate(edges[1:]):
        parts.extend(numbers, times_s, edges[at], edge)
    for value, time_s in zip(numbers, times_s.tolist(), strict=True):
        single.add(value, time_s)
    assert parts.dump() == whole.dump() == single.dump()


@pytest.mark.parametrize("n", [0, 1, 15, 16, 31, 32, 33, 47, 48, 1000, 100_003])
def test_it_counts_every_value_and_knows_when_each_block_began(n: int) -> None:
    values = np.random.default_rng(n).integers(0, 2, n).astype(np.float64)
    history = filled(values)
    dump = history.dump()
    assert history.level.n == n
    if n:
        assert history.level.mean == values.mean()
    edges = [0, *np.cumsum(dump["n"]).tolist()]
    assert dump["starts_s"] == edges[:-1]
    assert dump["sums"] == [values[a:b].sum() for a, b in pairwise(edges)]
    assert dump["values"] == values[edges[-1] :].tolist()
    assert dump["times_s"] == list(range(edges[-1], n))
    assert min(n, BLOCK) <= len(dump["values"]) < NEWEST


def test_ten_million_values_take_less_than_eighty_blocks() -> None:
    history = History()
    values = np.zeros(1_000_000)
    numbers, times_s = values.tolist(), values
    for _ in range(10):
        history.extend(numbers, times_s, 0, len(numbers))
    dump = history.dump()
    assert len(dump["n"]) < 80
    assert len(msgspec.msgpack.encode(dump)) < 2500


def test_old_blocks_are_at_most_half_as_long_as_what_came_after_them() -> None:
    """So the onset is known to about a quarter of its age."""
    sizes = filled(np.zeros(200_000)).dump()["n"]
    for at in range(len(sizes) - 1):
        assert sizes[at] <= max(BLOCK, sum(sizes[at + 1 :]) / 2 + NEWEST)


def test_a_step_within_the_newest_values_is_found_to_the_value() -> None:
    values = np.r_[np.zeros(1000), 1.0, 1.0, 1.0]
    split = filled(values).split("both")
    assert split is not None
    assert (split.direction, split.before.mean, split.before.n) == ("up", 0.0, 1000)
    assert (split.after.mean, split.after.n, split.onset_time_s) == (1.0, 3, 1000.0)
    assert split.onset_uncertain_s == 1.0


def test_a_step_far_from_zero_and_tiny_against_its_level_is_found() -> None:
    rng = np.random.default_rng(0)
    values = 1.7e9 + np.r_[rng.normal(0, 1, 800), rng.normal(-2, 1, 320)]
    split = filled(values).split("both")
    assert split is not None
    assert split.direction == "down"
    assert split.before.mean - 1.7e9 == pytest.approx(0, abs=0.2)
    assert split.after.mean - 1.7e9 == pytest.approx(-2, abs=0.3)
    assert abs(split.onset_time_s - 800) <= split.onset_uncertain_s <= 80


def test_only_splits_in_the_watched_direction_count() -> None:
    values = np.r_[np.zeros(64), np.ones(64), np.full(64, -0.4)]
    history = filled(values)
    up, down = history.split("up"), history.split("down")
    assert up is not None
    assert down is not None
    assert down == history.split("both")
    assert (down.direction, down.before.n) == ("down", 128)
    assert up.direction == "up"
    assert up.after.mean > up.before.mean
    assert filled(np.arange(100.0)).split("down") is None
    assert filled(np.full(100, 3.0)).split("both") is None
    assert filled(np.ones(1)).split("both") is None
    assert History().split("both") is None


@pytest.mark.parametrize("n", [20, 40, 500, 5000])
def test_after_a_cut_only_what_came_since_the_onset_is_left(n: int) -> None:
    values = np.r_[np.zeros(777), np.ones(n)]
    history = filled(values)
    split = history.split("up")
    assert split is not None
    history.cut(split.at)
    assert history.level == split.after
    dump = history.dump()
    assert History.load(dump, 0.0, 1.0).dump() == dump
    history.extend([1.0] * 3000, np.arange(3000.0), 0, 3000)
    assert history.level.n == split.after.n + 3000
    sizes = history.dump()["n"]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sizes.count(BLOCK << power) <= each for power, each in enumerate(EACH))


def test_the_interval_reaches_from_the_last_value_before_to_the_second_after() -> None:
    """The change came between two values; with gaps in time either side may be the wider one."""
    values = np.r_[np.zeros(1000), np.ones(3)]
    for last, uncertain_s in (
        ([999.0, 1000.0, 1500.0, 3000.0], 500.0),
        ([700.0, 1000.0, 1001.0, 3000.0], 300.0),
    ):
        times_s = np.arange(1003.0)
        times_s[999:] = last
        split = filled(values, times_s).split("up")
        assert split is not None
        assert (split.onset_time_s, split.onset_uncertain_s) == (1000.0, uncertain_s)


def test_times_that_go_back_give_no_negative_uncertainty() -> None:
    values = np.r_[np.zeros(50), np.ones(50)]
    split = filled(values, np.arange(100.0)[::-1].copy()).split("up")
    assert split is not None
    assert split.onset_uncertain_s >= 0


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
def test_the_onset_lies_within_its_interval_in_most_cases(size: float) -> None:
    """Looked at as late as a detector that needs about 5 deviations of evidence would look."""
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        base, late = int(rng.integers(100, 2000)), int(40 / size**2) + 2
        values = np.r_[rng.normal(0, 1, base), rng.normal(size, 1, late)]
        split = filled(values).split("up")
        assert split is not None
        inside += abs(split.onset_time_s - base) <= split.onset_uncertain_s
    assert inside >= 180


def test_correlated_noise_widens_the_interval() -> None:
    """The variance is read from the scatter of whole blocks, which correlation makes larger."""
    rng = np.random.default_rng(12)
    step = np.r_[np.zeros(2000), np.ones(400)]
    white = rng.normal(0, 1, 2400)
    red = np.empty(2400)
    level = 0.0
    for at, shock in enumerate(rng.normal(0, math.sqrt(1 - 0.95**2), 2400)):
        red[at] = level = 0.95 * level + shock
    of_white, of_red = filled(step + white).split("up"), filled(step + red).split("up")
    assert of_white is not None
    assert of_red is not None
    assert of_red.onset_uncertain_s > 1.5 * of_white.onset_uncertain_s


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("n", [16, 32]),
        ("n", [17]),
        ("n", [16] * 9),
        ("n", [True]),
        ("sums", [0.5]),
        ("sums", [33.0, 0.0, 0.0]),
        ("values", [2.0]),
        ("values", [0.5] * NEWEST),
        ("times_s", [math.nan]),
        ("last_s", None),
    ],
)
def test_blocks_that_cannot_be_are_refused(key: str, wrong: object) -> None:
    dump = filled(np.zeros(70)).dump()
    assert History.load(dump, 0.0, 1.0).dump() == dump
    with pytest.raises(StateDamaged):
        History.load(dump | {key: wrong}, 0.0, 1.0)
