"""What the values of one field look like: types, missing, distinct values, ranges, times, texts that hold JSON.

Values of texts that may be a customer's are not kept: only those of a field that repeats a few, short values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np

from streamwatch.categories import text, writable
from streamwatch.times import epoch_s

FEW: Final = (
    20  # a field with at most so many distinct values, each seen EACH times on average, is categorical
)
EACH: Final = 5
SHOWN: Final = 5
LONGEST: Final = 60
_PRIVATE: Final = re.compile(
    r"@|\d{7}"
)  # addresses, numbers of accounts and phones: also where they come often
QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Unit = Literal["RFC 3339", "RFC 3339 without zone", "s", "ms", "us", "ns"]

# Magnitudes of epoch times from 2001 to 2100.
_UNITS: tuple[tuple[float, Unit], ...] = ((1.0, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns"))
_FROM_S, _TO_S = 978_307_200.0, 4_102_444_800.0


@dataclass(frozen=True, slots=True)
class Vectors:
    """Lists in a field: their lengths, and whether they hold only finite numbers. `probabilities`: each in [0, 1]
    and together 1. `objects`: names in the objects that they hold."""

    shortest: int
    longest: int
    numbers: bool
    probabilities: bool
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """`path` is dotted as in a config. Counts are of records; `missing` are those where it is absent, null or NaN.

    types      how often each was seen: text, integer, number, boolean, NaN, object, list, null
    distinct   how many different values, as categories
    common     the most common values with their counts, of a field that repeats few values; else empty
    quantiles  of its numbers at QUANTILES; None without numbers
    whole      all its numbers are whole
    time       how it would be read as a time, if nearly all its values are one
    json       it is a text that holds a JSON object or list: the names in it
    numeric_text   nearly all its values are texts that are written as numbers
    """

    path: str
    records: int
    missing: int
    types: Mapping[str, int]
    distinct: int
    common: tuple[tuple[str, int], ...] = ()
    quantiles: tuple[float, ...] | None = None
    whole: bool = False
    time: Unit | None = None
    vectors: Vectors | None = None
    json: tuple[str, ...] | None = None
    numeric_text: bool = False
    longest: int = 0

    @property
    def present(self) -> int:
        return self.records - self.missing

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def scalar(self) -> bool:
        return self.present > 0 and not self.types.keys() & {"object", "list"}

    @property
    def number(self) -> bool:
        """Nearly all values are numbers."""
        numbers = self.types.get("integer", 0) + self.types.get("number", 0)
        return self.present > 0 and numbers >= 0.95 * self.present

    @property
    def text(self) -> bool:
        return self.present > 0 and self.types.get("text", 0) >= 0.95 * self.present

    @property
    def boolean(self) -> bool:
        return self.present > 0 and self.types.get("boolean", 0) >= 0.95 * self.present

    @property
    def named(self) -> bool:
        """Every value could be an id, a model or a version: a text or a number."""
        return self.present > 0 and set(self.types) <= {"text", "integer", "number", "null"}

    @property
    def categorical(self) -> bool:
        return 0 < self.distinct <= FEW and self.present >= EACH * self.distinct

    @property
    def unique(self) -> bool:
        """Hardly a value comes twice."""
        return self.distinct > 0.9 * self.present and self.present > 1

    @property
    def identifying(self) -> bool:
        """Whole numbers that hardly come twice are somebody's, unless they are times."""
        return self.whole and self.unique and self.time is None and self.present > FEW

    @property
    def unit(self) -> bool:
        """All its numbers are in [0, 1]."""
        return self.quantiles is not None and self.quantiles[0] >= 0.0 and self.quantiles[-1] <= 1.0


def field_of(path: str, values: Sequence[Any], records: int) -> Field:
    """`values` are those that are there (null is one), of so many records."""
    types = Counter(map(kind, values))
    there = [v for v in values if v is not None and v == v]
    numbers = [float(v) for v in there if type(v) in (int, float) and _finite(v)]
    texts = [v for v in there if isinstance(v, str)]
    said = Counter(map(_category, there))
    categorical = len(said) <= FEW and len(there) >= EACH * len(said)
    longest = max(map(len, texts), default=0)
    common: tuple[tuple[str, int], ...] = ()
    private = any(map(_PRIVATE.search, set(texts))) if categorical else True
    if not private and longest <= LONGEST and not {"object", "list"} & types.keys():
        # What comes once or twice may be about one customer.
        common = tuple((value, n) for value, n in said.most_common(SHOWN) if n > 2 and writable(value))
    lists = [v for v in there if isinstance(v, list)]
    return Field(
        path,
        records,
        records - len(there),
        dict(types),
        len(said),
        common,
        tuple(map(float, np.quantile(numbers, QUANTILES))) if numbers else None,
        bool(numbers) and all(map(float.is_integer, numbers)),
        _time(there),
        vectors(lists) if len(lists) > 0.9 * len(there) > 0 else None,
        _json(texts) if len(texts) > 0.9 * len(there) > 0 else None,
        len(texts) > 0.9 * len(there) > 0 and all(map(_numeric, texts[:1000])),
        longest,
    )


def kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number" if math.isfinite(value) else "NaN"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"


def vectors(lists: Sequence[list[Any]]) -> Vectors:
    numbers = all(type(v) in (int, float) and _finite(v) for one in lists for v in one) and any(lists)
    sums = [sum(one) for one in lists] if numbers else []
    probable = numbers and all(0 <= v <= 1 for one in lists for v in one)
    objects = {name for one in lists[:100] for v in one if isinstance(v, dict) for name in v}
    return Vectors(
        min(map(len, lists)),
        max(map(len, lists)),
        numbers,
        probable and all(abs(total - 1) < 0.02 for total in sums) and min(map(len, lists)) > 1,
        tuple(sorted(objects)[:SHOWN]),
    )


def _finite(value: int | float) -> bool:
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1e300


def _category(value: Any) -> str:
    return text(value) or str(value)[:200]


def _time(values: Sequence[Any]) -> Unit | None:
    """The unit in which nearly all values are times between 2001 and 2100."""
    some = values[:1000]
    if not some or any(isinstance(value, bool | list | dict) for value in some):
        return None
    if all(isinstance(value, str) for value in some):
        zone: list[bool] = []
        for value in some:
            try:
                plausible = _FROM_S <= epoch_s(value) <= _TO_S
            except ValueError:
                continue
            if plausible and "-" in value[1:]:
                zone.append(value[-1] in "zZ" or value[-6:-5] in ("+", "-") or value[-5:-4] in ("+", "-"))
        if len(zone) >= 0.95 * len(some):
            return "RFC 3339" if all(zone) else "RFC 3339 without zone"
        some = [float(value) for value in some if _numeric(value)]
    numbers = [float(value) for value in some if isinstance(value, int | float) and _finite(value)]
    for scale, unit in _UNITS:
        inside = sum(_FROM_S <= number / scale <= _TO_S for number in numbers)
        if inside and inside >= 0.95 * len(values[:1000]):
            return unit
    return None


def _numeric(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _json(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Names in the JSON objects that the texts hold (empty for lists); None if they hold none."""
    names: set[str] = set()
    some = texts[:200]
    for value in some:
        if value[:1] not in ("{", "["):
            return None
        try:
            parsed = msgspec.json.decode(value.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return None
        names.update(parsed if isinstance(parsed, dict) else ())
    return tuple(sorted(names)[:SHOWN]) if some else None
