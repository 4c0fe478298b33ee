"""Values as categories: the one text of a value that segments, `where` and `category:` signals share.

Texts are themselves; numbers and booleans are written as in JSON, 1.0 as "1". So 1, 1.0 and "1" are one
category, and true ("true") is another. Lists, objects, NaN and infinities are no category.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamwatch.events import Events
from streamwatch.series import Bools

Segment = tuple[tuple[str, str], ...]

LONGEST = 200  # characters of what stands in stream keys, alerts and metric labels
_WIDEST = 4096  # bits; Python refuses to write integers of more than 4,300 digits

_TEXTS = {str, type(None)}
_TRUTHS = {str, bool, type(None)}
_NUMBERS = {str, int, float, type(None)}


def text(value: Any) -> str | None:
    """The category of one value; None if it is none, or nothing.

    >>> text("DE"), text(1), text(1.0), text(0.25), text(True), text(None), text([1])
    ('DE', '1', '1', '0.25', 'true', None, None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _WIDEST else None
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value) + 0.0).removesuffix(".0")  # + 0.0: no "-0"
    return None


def texts(column: Sequence[Any]) -> tuple[Sequence[str | None], Bools]:
    """A column as categories, and which rows are unusable: a value that is no category."""
    types = set(map(type, column))
    if types <= _TEXTS:
        return column, np.zeros(len(column), dtype=bool)
    result: list[str | None]
    if types <= _TRUTHS or types <= _NUMBERS:  # apart, because True == 1 would share one place in the table
        table = {value: text(value) for value in set(column)}
        result = list(map(table.__getitem__, column))
    else:
        result = list(map(text, column))
    pairs = zip(result, column, strict=True)
    return result, np.fromiter(
        [said is None and value is not None for said, value in pairs], bool, len(column)
    )


def segment_values(events: Events, names: tuple[str, ...]) -> list[Segment | None]:
    """Per row the segment by the named features, in the order of `names`.

    None where a value is missing, is no category or is not `writable`: such a row counts for the whole only.
    """
    columns = [texts(events.feature(name))[0] for name in names]
    rows: Sequence[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    segments = {
        row: _segment(names, (row,) if len(columns) == 1 else row)
        for row in set(rows)
    }  # fmt: skip
    return list(map(segments.__getitem__, rows))


def writable(name: str) -> bool:
    """Whether it can stand in stream keys, state, alerts and labels: at most 200 characters that UTF-8 can write."""
    if len(name) > LONGEST:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can carry
        return False
    return True


def _segment(names: tuple[str, ...], values: tuple[str | None, ...]) -> Segment | None:
    pairs = tuple((name, value) for name, value in zip(names, values, strict=True) if value is not None)
    whole = len(pairs) == len(names) and all(writable(value) for _, value in pairs)
    return pairs if whole else None
