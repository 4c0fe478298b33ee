"""Looks at usable values: by event, whatever the batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwatch.errors import StateDamaged
from streamwatch.eyes import Eyes
from streamwatch.policy import BlindLimit, Look

LIMIT = BlindLimit(unusable=0.2, of_last=10, none_in=7)
KINDS = {"v": (True, False), "u": (False, True), "-": (False, False)}


def looks(text: str, cuts: tuple[int, ...] = (), limit: BlindLimit = LIMIT) -> list[tuple[int, Look]]:
    """`v` a usable value, `u` an unusable one, `-` none."""
    eyes = Eyes(limit)
    usable = np.array([KINDS[c][0] for c in text], dtype=bool)
    unusable = np.array([KINDS[c][1] for c in text], dtype=bool)
    found = []
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    for start, stop in itertools.pairwise(edges):
        again = Eyes(limit)
        again.load(eyes.dump())
        eyes = again
        found += [(start + at, look) for at, look in eyes.read(usable[start:stop], unusable[start:stop])]
    return found


def test_more_unusable_values_than_the_limit_in_one_look_make_blind_at_once():
    assert looks("vvuvuvu") == [(6, Look(False, 3, 7, none=False))]


def test_unusable_values_up_to_the_limit_do_not():
    assert looks("vvuvuvvvvv" * 20) == []


def test_no_value_for_long_enough_makes_blind():
    assert looks("vv-------") == [(8, Look(False, 0, 7, none=True))]
    assert looks("------v------v") == []


def test_it_sees_again_after_a_whole_good_look():
    assert looks("uuu" + "v" * 9) == [(2, Look(False, 3, 3, none=False))]
    assert looks("uuu" + "v" * 10) == [
        (2, Look(False, 3, 3, none=False)),
        (12, Look(True, 0, 10, none=False)),
    ]


def test_a_look_without_any_value_is_not_good():
    assert [look.good for _, look in looks("uuu" + "-" * 30)] == [False]


@given(
    st.text("vvvvvvvvvvv-u", max_size=300),
    st.lists(st.integers(0, 300), max_size=8).map(tuple),
)
def test_any_split_and_any_restart_gives_the_same_looks(text, cuts):
    eyes = Eyes(LIMIT)
    one_by_one = [(at, look) for at, c in enumerate(text) if (look := eyes.read_one(*KINDS[c])) is not None]
    assert looks(text) == looks(text, cuts) == one_by_one


@pytest.mark.parametrize(
    "dump", [None, [], [1, 2, 3, 4], [1, 2, 3, 4, 5], [-1, 0, 0, 0, False], ["1", 0, 0, 0, True]]
)
def test_damaged_counts_are_refused(dump):
    with pytest.raises(StateDamaged):
        Eyes(LIMIT).load(dump)
