"""What a signal reads, and what a detector gets: numbers or category codes, with their times.

kinds of values:
    binary   0 or 1
    unit     within [0, 1]
    real     any finite number
    codes    integers 0..k-1 that index `vocabulary`
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import is_not
from types import NoneType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["binary", "unit", "real", "codes"]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
is_not_none = partial(is_not, None)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One signal read over all n rows of a batch, before grouping.

    values    (n,) float64; NaN where the row gives nothing or something unusable. Codes are whole numbers
    unusable  (n,) bool: there was a value, and it cannot be used (NaN, infinite, wrong type, out of range)
    expected  (n,) bool: the signal's input applies to this row (a label-based signal expects only labelled rows);
              rows expected without a value and not unusable are missing values
    whole     all rows give a value (False: not all, or not known)
    """

    kind: Kind
    values: Floats
    unusable: Bools
    expected: Bools
    vocabulary: tuple[str, ...] | None = None
    whole: bool = False

    @classmethod
    def numbers(
        cls, kind: Kind, values: Floats, unusable: Bools | None = None, expected: Bools | None = None
    ) -> Reading:
        """A reading that keeps the promise of `kind`: what is not finite or out of range becomes unusable.

        A NaN in `values` that `unusable` does not mark means "nothing". An infinity is always unusable.
        """
        n = len(values)
        bad = np.zeros(n, dtype=bool) if unusable is None else unusable
        expected = np.ones(n, dtype=bool) if expected is None else expected
        wrong = ~np.isfinite(values)
        if not (bad.any() or wrong.any()) and (kind == "real" or _within(kind, values)):
            return cls(kind, values, bad, expected, whole=True)
        wrong = np.isinf(values)
        if kind == "unit":
            wrong |= (values < 0.0) | (values > 1.0)
        elif kind == "binary":
            wrong |= ~(np.isnan(values) | (values == 0.0) | (values == 1.0))
        if wrong.any():
            bad = bad | wrong
        if bad.any():
            values = np.where(bad, np.nan, values)
        return cls(kind, values, bad, expected)


def _within(kind: Kind, values: Floats) -> bool:
    """Whether numbers, none of which is NaN, keep the promise of `kind`."""
    if kind == "binary":
        return bool(((values == 0.0) | (values == 1.0)).all())
    return bool(((values >= 0.0) & (values <= 1.0)).all())


def floats(column: Any) -> tuple[Floats, Bools]:
    """A column of JSON values as float64, and which of them are unusable.

    None gives NaN and is not unusable. Numbers and booleans (as 0 and 1) count; NaN, infinities, strings, lists,
    objects and integers beyond float64 are unusable, and read as NaN.

    >>> floats([1, None, "x", True, float("nan")])
    (array([ 1., nan, nan,  1., nan]), array([False, False,  True, False,  True]))
    """
    n = len(column)
    types = set(map(type, column))
    if types <= {float, int, bool, NoneType}:
        try:
            values = np.array(column, dtype=np.float64)
        except OverflowError:
            pass
        else:
            bad = ~np.isfinite(values)
            if NoneType in types and bad.any():
                bad &= np.fromiter(map(is_not_none, column), dtype=bool, count=n)
            if bad.any():
                values[bad] = np.nan
            return values, bad
    values = np.full(n, np.nan)
    bad = np.zeros(n, dtype=bool)
    for row, value in enumerate(column):
        if value is None:
            continue
        if isinstance(value, float | int):
            try:
                number = float(value)
            except OverflowError:
                number = np.inf
            if np.isfinite(number):
                values[row] = number
                continue
        bad[row] = True
    return values, bad
