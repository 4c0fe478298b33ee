"""Categories and segments: one text per value, and rows without one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwatch.categories import segment_values, text, texts
from streamwatch.events import Events

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([1, 1.0, True, "1"]),
)


def events(**features: Sequence[Any]) -> Events:
    n = len(next(iter(features.values())))
    nobody: list[str | None] = [None] * n
    return Events(np.arange(n), np.arange(n) * 1.0, nobody, ["m"] * n, nobody, {}, features)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("DE", "DE"), ("", ""), ("1", "1"), (1, "1"), (1.0, "1"), (True, "true"), (False, "false"), ("true", "true"),
        (0, "0"), (-0.0, "0"), (0.1, "0.1"), (1e22, "1e+22"), (-12, "-12"), (2**70, "1180591620717411303424"),
        (None, None), (float("nan"), None), (float("inf"), None), ([], None), ({}, None),
    ],
)  # fmt: skip
def test_each_value_has_one_text(value: Any, said: str | None) -> None:
    assert text(value) == said


def test_an_integer_too_long_for_python_to_write_is_no_category() -> None:
    assert text(10**5000) is None
    assert texts([10**5000, 1])[1].tolist() == [True, False]


@given(st.one_of(st.integers(-(10**15), 10**15), st.floats(allow_nan=False, allow_infinity=False)))
def test_the_text_of_a_number_is_json_for_it(number: float) -> None:
    said = text(number)
    assert said is not None
    assert json.loads(said) == number


@given(st.lists(SCALARS, max_size=20))
def test_a_column_has_the_texts_of_its_values_whatever_stands_beside_them(column: list[Any]) -> None:
    said, unusable = texts(column)
    assert list(said) == [text(value) for value in column]
    assert unusable.tolist() == [value is not None and text(value) is None for value in column]


def test_true_is_never_taken_for_1_nor_1_for_true() -> None:
    assert texts([True, 1, 1.0, True, 0, False])[0] == ["true", "1", "1", "true", "0", "false"]
    assert texts([1, True])[0] == ["1", "true"]


def test_a_segment_names_its_features_in_the_order_asked_for() -> None:
    both = events(country=["DE", "AT", "DE"], plan=[1, 1.0, True])
    assert segment_values(both, ("plan", "country")) == [
        (("plan", "1"), ("country", "DE")),
        (("plan", "1"), ("country", "AT")),
        (("plan", "true"), ("country", "DE")),
    ]


@pytest.mark.parametrize("value", [None, float("nan"), [1], {"a": 1}, "x" * 201, "\ud800"])
def test_a_row_without_a_value_for_each_feature_has_no_segment(value: Any) -> None:
    assert segment_values(events(a=[value, "x"]), ("a",)) == [None, (("a", "x"),)]
    assert segment_values(events(a=[value, "x"], b=["y", "y"]), ("b", "a")) == [
        None,
        (("b", "y"), ("a", "x")),
    ]


def test_a_segment_of_200_characters_still_counts() -> None:
    assert segment_values(events(a=["x" * 200]), ("a",)) == [(("a", "x" * 200),)]


def test_rows_of_one_segment_share_one_value() -> None:
    first, second = segment_values(events(a=["x", "x"]), ("a",))
    assert first is second
