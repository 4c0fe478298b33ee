"""What labels say about predictions: each signal by a table of rows, each row read alone and all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamwatch import performance
from streamwatch.series import Reading

NAN, INF = float("nan"), float("inf")
MISSING, UNUSABLE, NOT_EXPECTED = "missing", "unusable", "not expected"


def told(reading: Reading) -> list[Any]:
    """Each row as its value, or the word for having none."""
    rows: list[Any] = []
    for value, unusable, expected in zip(reading.values, reading.unusable, reading.expected, strict=True):
        word = UNUSABLE if unusable else MISSING if expected else NOT_EXPECTED
        rows.append(word if np.isnan(value) else float(value))
    return rows


def check(read: Callable[..., Reading], rows: list[tuple[Any, Any, Any]], *more: Any) -> None:
    """The quick paths are for columns of one type, so each row is also read alone."""
    for left, label, says in rows:
        assert told(read([left], [label], *more)) == [says], (left, label)
    lefts, labels, says_all = zip(*rows, strict=True)
    assert told(read(lefts, labels, *more)) == list(says_all)


def test_error_compares_classes_and_never_a_number_with_a_text() -> None:
    check(
        performance.error,
        [
            (1, 1, 0.0),
            (1, 0, 1.0),
            (1.0, 1, 0.0),
            (True, 1, 0.0),
            (False, 0.0, 0.0),
            (True, 0, 1.0),
            ("a", "a", 0.0),
            ("a", "A", 1.0),
            ("1", "1", 0.0),
            ("1", 1, UNUSABLE),
            (1, "1", UNUSABLE),
            ("true", True, UNUSABLE),
            (2**53, 2**53 + 1, 1.0),
            (None, 1, MISSING),
            (1, None, NOT_EXPECTED),
            (None, None, NOT_EXPECTED),
            ([1], None, NOT_EXPECTED),
            (NAN, 1, UNUSABLE),
            (1, NAN, UNUSABLE),
            (NAN, NAN, UNUSABLE),
            (INF, INF, UNUSABLE),
            (None, NAN, UNUSABLE),
            ([1], [1], UNUSABLE),
            ({"a": 1}, 1, UNUSABLE),
            (1, [1], UNUSABLE),
        ],
    )


def test_error_of_columns_of_one_type_says_the_same_as_of_mixed_ones() -> None:
    assert told(performance.error([1, 0, 1], [1, 1, 0])) == [0.0, 1.0, 1.0]
    assert told(performance.error([1.0, NAN, 1.0], [1, 1, 0])) == [0.0, UNUSABLE, 1.0]
    assert told(performance.error(["a", "b"], ["a", "a"])) == [0.0, 1.0]
    assert told(performance.error(["0", "1"], [0, 1])) == [UNUSABLE, UNUSABLE]


def test_lists_nested_too_deeply_to_be_compared_cost_their_row_only() -> None:
    left: list[Any] = []
    right: list[Any] = []
    for _ in range(100_000):
        left, right = [left], [right]
    assert told(performance.error([left, 1], [right, 1])) == [UNUSABLE, 0.0]


AMOUNTS = [
    (None, 1.0, MISSING),
    (1.0, None, NOT_EXPECTED),
    (NAN, None, NOT_EXPECTED),
    ("1", 1.0, UNUSABLE),
    (1.0, "1", UNUSABLE),
    (None, NAN, UNUSABLE),
    (NAN, 1.0, UNUSABLE),
    (1.0, INF, UNUSABLE),
    (10**400, 1.0, UNUSABLE),
    (1.7e308, -1.7e308, UNUSABLE),
]


def test_residual_is_the_label_less_the_prediction() -> None:
    check(performance.residual, [(3, 5.0, 2.0), (5.0, 3, -2.0), (0.0, -1, -1.0), *AMOUNTS])


def test_absolute_error_is_the_distance() -> None:
    check(performance.absolute_error, [(3, 5.0, 2.0), (5.0, 3, 2.0), (0.0, -1, 1.0), *AMOUNTS])


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_relative_error_is_a_share_of_the_label_and_unusable_where_that_is_0() -> None:
    check(
        performance.relative_error,
        [
            (3, 4.0, 0.25),
            (5.0, 4, 0.25),
            (-3.0, -4, 0.25),
            (0.0, 5, 1.0),
            (1.0, 0, UNUSABLE),
            (0.0, 0.0, UNUSABLE),
            (1.0, 5e-324, UNUSABLE),
            *AMOUNTS,
        ],
    )


PROBABILITIES = [
    (None, 1, MISSING),
    (None, 0, MISSING),
    (0.5, None, NOT_EXPECTED),
    (1.5, None, NOT_EXPECTED),
    (1.5, 1, UNUSABLE),
    (-0.1, 0, UNUSABLE),
    (NAN, 1, UNUSABLE),
    ("0.5", 1, UNUSABLE),
    (0.5, "1", UNUSABLE),
    (0.5, NAN, UNUSABLE),
    (None, NAN, UNUSABLE),
    ([0.5], 1, UNUSABLE),
]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_log_loss_is_the_surprise_about_what_came_true_and_is_bounded() -> None:
    most = -math.log(1e-15)
    check(
        performance.log_loss,
        [
            (0.25, 1, -math.log(0.25)),
            (0.25, 0, -math.log(0.75)),
            (0.25, True, -math.log(0.25)),
            (0.25, 7, -math.log(0.75)),
            (0.0, 1, most),
            (0, 0, -math.log(1.0 - 1e-15)),
            (1.0, 1, -math.log(1.0 - 1e-15)),
            *PROBABILITIES,
        ],
        1,
    )
    # 1 - (1 - 1e-15) is 9.992e-16 in float64
    assert told(performance.log_loss([1.0], [0], 1))[0] == pytest.approx(most, rel=1e-4)


def test_brier_is_the_squared_distance_from_what_came_true() -> None:
    check(
        performance.brier,
        [
            (0.25, 1, 0.5625),
            (0.25, 0, 0.0625),
            (1.0, 1.0, 0.0),
            (0, 1, 1.0),
            (1e300, 1, UNUSABLE),
            *PROBABILITIES,
        ],
        1,
    )


def test_the_positive_class_may_be_a_text() -> None:
    reading = performance.brier([0.25, 0.25, 0.25], ["bad", "good", 1], "bad")
    assert told(reading) == [0.5625, 0.0625, UNUSABLE]


def test_precision_asks_the_labelled_rows_that_are_predicted_positive() -> None:
    check(
        performance.precision,
        [
            (1, 1, 1.0),
            (1.0, True, 1.0),
            (1, 0, 0.0),
            (1, 7, 0.0),
            (0, 1, NOT_EXPECTED),
            (0, 0, NOT_EXPECTED),
            (0, "1", NOT_EXPECTED),
            (1, None, NOT_EXPECTED),
            ("1", None, NOT_EXPECTED),
            (None, 1, MISSING),
            (None, 0, MISSING),
            ("1", 1, UNUSABLE),
            (1, "1", UNUSABLE),
            (NAN, 0, UNUSABLE),
            (None, "1", UNUSABLE),
            ([1], 0, UNUSABLE),
        ],
        1,
    )


def test_recall_asks_the_rows_that_are_labelled_positive() -> None:
    check(
        performance.recall,
        [
            (1, 1, 1.0),
            (True, 1.0, 1.0),
            (0, 1, 0.0),
            (7, 1, 0.0),
            (1, 0, NOT_EXPECTED),
            ("1", 0, NOT_EXPECTED),
            (1, None, NOT_EXPECTED),
            (None, 0, NOT_EXPECTED),
            (None, 1, MISSING),
            ("1", 1, UNUSABLE),
            (1, "1", UNUSABLE),
            (1, NAN, UNUSABLE),
            (None, [1], UNUSABLE),
        ],
        1,
    )


def test_precision_and_recall_of_all_rows_are_those_of_a_confusion_matrix() -> None:
    prediction = [1] * 30 + [0] * 70
    label = [1] * 20 + [0] * 10 + [1] * 5 + [0] * 65
    assert np.nanmean(performance.precision(prediction, label, 1).values) == pytest.approx(20 / 30)
    assert np.nanmean(performance.recall(prediction, label, 1).values) == pytest.approx(20 / 25)


def test_label_rate_asks_every_labelled_row() -> None:
    column = [1, True, 0, "1", None, NAN, [1], 7]
    says = [1.0, 1.0, 0.0, UNUSABLE, NOT_EXPECTED, UNUSABLE, UNUSABLE, 0.0]
    assert told(performance.label_rate(column, 1)) == says
    assert [told(performance.label_rate([value], 1))[0] for value in column] == says
