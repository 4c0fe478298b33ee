"""What an event shows without its label: from one column to a Reading that expects a value on every row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np

from streamwatch.categories import texts
from streamwatch.classes import NOTHING, UNUSABLE, positives
from streamwatch.series import Kind, Reading, floats

Column = Sequence[Any]


def number(column: Column, kind: Kind = "real") -> Reading:
    return Reading.numbers(kind, *floats(column))


def latency(column: Column) -> Reading:
    """Milliseconds; below 0 unusable."""
    values, unusable = floats(column)
    return Reading.numbers("real", values, unusable | (values < 0.0))


def missing(column: Column) -> Reading:
    """1 where the value is absent, null or NaN (so pandas writes a missing value), 0 where it is there."""
    types = set(map(type, column))
    if types <= {str, int, bool}:
        return Reading.numbers("binary", np.zeros(len(column)))
    gone = [value is None or value != value for value in column]
    return Reading.numbers("binary", np.array(gone, dtype=np.float64))


def category(column: Column, value: str) -> Reading:
    """1 where the value is this category, 0 where it is another."""
    said, unusable = texts(column)
    table = {value: 1.0, None: np.nan}
    values = np.fromiter(map(table.get, said, repeat(0.0)), dtype=np.float64, count=len(column))
    return Reading.numbers("binary", values, unusable)


def positive_rate(prediction: Column, positive: str | float | bool) -> Reading:
    """1 where the predicted class is `positive`, 0 where it is another."""
    yes, sort = positives(prediction, positive)
    told = (sort != NOTHING) & (sort != UNUSABLE)
    return Reading.numbers("binary", np.where(told, yes, np.nan), sort == UNUSABLE)
