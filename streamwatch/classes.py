"""Predictions and labels as classes: which values name one, and when two of them are the same.

A class is named by a number or by a text. 1, 1.0 and true are the same number (JSON knows no integers, and
encoders differ); "1" is a text. A number is never compared with a text: whether "1" means 1 only the sender
knows, and guessing "different" would show an error rate of 100 %. Lists, objects, NaN and
infinities name no class.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamwatch.series import Bools

NOTHING, NUMBER, TEXT, UNUSABLE = range(4)

_NUMBERS = {int, float, bool, type(None)}
_PLAIN = _NUMBERS | {str}


class _Sorts(dict[type, int]):
    """The sort of each type, so that a column is sorted by `map` alone."""

    def __missing__(self, kind: type) -> int:
        sort = TEXT if issubclass(kind, str) else NUMBER if issubclass(kind, int | float) else UNUSABLE
        self[kind] = sort
        return sort


_SORTS = _Sorts({type(None): NOTHING})


def sorts(column: Sequence[Any]) -> npt.NDArray[np.int8]:
    """Per value of a column: NOTHING (None), NUMBER, TEXT or UNUSABLE.

    >>> sorts([None, 1, "1", [1], float("nan"), True]).tolist()
    [0, 1, 2, 3, 3, 1]
    """
    n = len(column)
    types = set(map(type, column))
    if len(types) == 1:
        sort = np.full(n, _SORTS[types.pop()], dtype=np.int8)
        exact = n > 0 and type(column[0]) is not float
    else:
        sort = np.fromiter(map(_SORTS.__getitem__, map(type, column)), dtype=np.int8, count=n)
        exact = not any(issubclass(kind, float) for kind in types)
    if not exact:
        sort[_infinite(column) & (sort == NUMBER)] = UNUSABLE
    return sort


def whole_numbers(column: Sequence[Any]) -> npt.NDArray[np.int64] | None:
    """A column of integers and booleans as such, exactly; None if it is none, or one is beyond 64 bits."""
    if not set(map(type, column)) <= {int, bool}:
        return None
    try:
        return np.array(column, dtype=np.int64)
    except OverflowError:
        return None


def _infinite(column: Sequence[Any]) -> Bools:
    """NaN and infinities; what it says of rows that are no numbers means nothing."""
    if _NUMBERS.issuperset(map(type, column)):
        try:
            return ~np.isfinite(np.array(column, dtype=np.float64))
        except OverflowError:  # an integer beyond float64, which can name a class all the same
            pass
    wrong = (isinstance(value, float) and not math.isfinite(value) for value in column)
    return np.fromiter(wrong, dtype=bool, count=len(column))


def same(left: Sequence[Any], right: Sequence[Any]) -> Bools:
    """Whether two columns name the same class, row by row; it means nothing where their sorts differ."""
    n = len(left)
    if _PLAIN.issuperset(map(type, left)) and _PLAIN.issuperset(map(type, right)):
        return np.fromiter(map(operator.eq, left, right), dtype=bool, count=n)
    # Comparing deeply nested lists can exceed the recursion limit; they name no class, so they are not asked.
    return np.fromiter(
        (isinstance(a, str | int | float) and isinstance(b, str | int | float) and a == b
         for a, b in zip(left, right, strict=True)),
        dtype=bool,
        count=n,
    )  # fmt: skip


def positives(column: Sequence[Any], positive: str | float | bool) -> tuple[Bools, npt.NDArray[np.int8]]:
    """Which rows name the positive class, and the sorts of the column, where a mismatch is UNUSABLE."""
    sort = sorts(column)
    wanted = TEXT if isinstance(positive, str) else NUMBER
    sort[(sort != NOTHING) & (sort != wanted)] = UNUSABLE
    yes = np.fromiter([value == positive for value in column], dtype=bool, count=len(column))
    return yes, sort
