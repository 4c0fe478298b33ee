"""The sketch of a signal: the same to the last bit however it is filled, never larger, and true to what went in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.series import Floats
from streamwatch.sketch import MOST, Buckets, Sketch

START_S = 1_760_000_000.0


def of(times_s: Floats, values: Floats, cuts: list[int] | None = None) -> Buckets:
    sketch = Sketch()
    edges = [0, *sorted(cuts or []), len(values)]
    for start, stop in pairwise(edges):
        sketch.add(times_s[start:stop], values[start:stop])
    return sketch.buckets()


def same(a: Buckets, b: Buckets) -> bool:
    return a[:2] == b[:2] and all(x.tobytes() == y.tobytes() for x, y in zip(a[2:], b[2:], strict=True))


@given(st.integers(0, 2**32), st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=40, deadline=None)
def test_it_is_the_same_to_the_last_bit_however_it_is_filled(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    times_s = START_S + np.cumsum(rng.exponential(10.0 ** rng.integers(-4, 5), 600)) + rng.normal(0, 5, 600)
    values = rng.normal(1e6, 1e-3, 600) * 10.0 ** rng.integers(-3, 3, 600)
    whole = of(times_s, values)
    assert same(of(times_s, values, cuts), whole)
    assert same(of(times_s, values, list(range(600))), whole)


def test_nothing_is_lost_and_it_never_has_more_than_512_buckets() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2, 5_000).astype(float)
    for gap_s in (1e-6, 0.01, 1.0, 86_400.0):
        buckets = of(np.arange(5_000.0) * gap_s + START_S, values)
        assert len(buckets) <= MOST
        assert buckets.counts.sum() == 5_000
        assert buckets.sums.sum() == values.sum()
        assert len(buckets) > MOST // 2 - 2 or gap_s * 5_000 < 0.5


def test_each_bucket_holds_the_values_of_its_time() -> None:
    times_s = np.arange(3_000.0) * 7.0 + START_S
    buckets = of(times_s, times_s)
    assert (buckets.lows >= buckets.starts_s).all()
    assert (buckets.highs < buckets.starts_s + buckets.width_s).all()
    assert ((buckets.lows <= buckets.means) & (buckets.means <= buckets.highs)).all()


def test_a_value_that_comes_late_counts_at_its_own_time() -> None:
    times_s = START_S + np.array([0.0, 100.0, 200.0, 50.0])
    buckets = of(times_s, np.array([1.0, 1.0, 1.0, 9.0]))
    at = int(np.flatnonzero(buckets.highs == 9.0)[0])
    assert abs(buckets.starts_s[at] - (START_S + 50.0)) <= buckets.width_s


def test_a_value_older_than_the_first_counts_in_the_first_bucket_and_costs_no_resolution() -> None:
    times_s = START_S + np.arange(300.0)
    plain = of(times_s, np.ones(300))
    old = of(np.insert(times_s, 1, 12_345.6), np.insert(np.ones(300), 1, 5.0))
    assert (old.start_s, old.width_s, len(old)) == (plain.start_s, plain.width_s, len(plain))
    assert old.highs[0] == 5.0
    assert old.counts[0] == plain.counts[0] + 1


def test_a_bucket_without_values_says_so() -> None:
    buckets = of(START_S + np.array([0.0, 1000.0]), np.array([1.0, 2.0]))
    empty = buckets.counts == 0
    assert empty.sum() == len(buckets) - 2
    assert np.isnan(buckets.means[empty]).all()
    assert np.isinf(buckets.lows[empty]).all()


def test_one_that_got_nothing_has_no_buckets() -> None:
    assert len(Sketch().buckets()) == 0
    sketch = Sketch()
    sketch.add(np.zeros(0), np.zeros(0))
    assert len(sketch.buckets()) == 0


def test_a_stream_of_few_values_has_few_buckets() -> None:
    """Or ten thousand stream keys would be 160 MB."""
    for n in (1, 10, 100):
        assert len(of(np.arange(float(n)) * 1000.0 + START_S, np.ones(n))) <= max(16, 2 * n)
