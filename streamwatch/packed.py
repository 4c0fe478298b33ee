"""Columns of values of any kind, packed: numbers as float64, all else by code.

What comes back names the same value as what went in (1, 1.0 and true are one number, see `classes`); what cannot be
used, such as a list or NaN, comes back as `UNUSABLE`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamwatch.fields import Unusable
from streamwatch.series import Floats

WHOLE: Final = 2**53  # integers up to here are exact in float64
UNUSABLE: Final = Unusable("field wrong", "expected a text or a finite number")

_PLAIN = (int, float, bool, type(None))


class Numbers:
    """Numbers and nothing (NaN)."""

    __slots__ = ("values",)

    def __init__(self, values: Floats) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def listed(self, start: int, stop: int) -> list[Any]:
        return [None if value != value else value for value in self.values[start:stop].tolist()]

    def dump(self) -> dict[str, Any]:
        return {"numbers": self.values.tobytes()}


class Coded:
    """Row i is `words[codes[i]]`."""

    __slots__ = ("codes", "words")

    def __init__(self, words: Sequence[Any], codes: npt.NDArray[Any]) -> None:
        self.words = words
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def listed(self, start: int, stop: int) -> list[Any]:
        return [self.words[code] for code in self.codes[start:stop].tolist()]

    def dump(self) -> dict[str, Any]:
        words = [[word] if word is not UNUSABLE else [] for word in self.words]
        return {"words": words, "codes": self.codes.astype(np.uint16).tobytes()}


Column = Numbers | Coded


def packed(values: Sequence[Any]) -> Column:
    """At most 65,536 values.

    >>> packed([1, None, 2.5]).listed(0, 3), packed(["a", 1, "a"]).listed(1, 3)
    ([1.0, None, 2.5], [1, 'a'])
    """
    if set(map(type, values)) <= set(_PLAIN):
        try:
            numbers = np.array([math.inf if value != value else value for value in values], dtype=np.float64)
        except OverflowError:
            numbers = np.full(1, np.inf)
        if not np.isinf(numbers).any() and (
            not len(numbers) or np.nanmax(np.abs(numbers), initial=0) <= WHOLE
        ):
            return Numbers(numbers)
    codes: dict[tuple[type, Any], int] = {}
    words: list[Any] = []
    rows = np.empty(len(values), dtype=np.uint16)
    for row, value in enumerate(values):
        word = value if _plain(value) else UNUSABLE
        key = (type(word), word)
        code = codes.get(key)
        if code is None:
            code = codes[key] = len(words)
            words.append(word)
        rows[row] = code
    return Coded(words, rows)


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**64)


def loaded(dump: Mapping[str, Any]) -> Column:
    """ValueError, KeyError or TypeError if it is not what `dump` gave."""
    if "numbers" in dump:
        return Numbers(np.frombuffer(dump["numbers"], dtype=np.float64))
    words = [word[0] if word else UNUSABLE for word in dump["words"]]
    codes = np.frombuffer(dump["codes"], dtype=np.uint16)
    if len(codes) and int(codes.max()) >= len(words):
        raise ValueError("a code without its word")
    return Coded(words, codes)


def chained(one: Column, other: Column) -> Column:
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return Numbers(np.concatenate((one.values, other.values)))
    return packed([*one.listed(0, len(one)), *other.listed(0, len(other))])
