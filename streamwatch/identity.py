"""What identifies an event: texts (model, id, version) and its time, checked by column.

A row that fails gives the SenderError that its dead letter tells; the first field that fails is the one told.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from types import NoneType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamwatch.alerts import rfc3339
from streamwatch.coded import Coded, coded
from streamwatch.errors import SenderError
from streamwatch.fields import Unusable, show
from streamwatch.times import ACCEPTED, LAST_S, epoch_s, epochs_s

LONGEST: Final = 1024

Wrong = dict[int, SenderError]


def texts(
    column: Sequence[Any], where: str, required: bool, wrong: Wrong, few: bool = False
) -> Sequence[Any]:
    """The column as texts, None for nothing; rows that fail are added to `wrong`. `few`: it has few distinct values."""
    if few:
        with contextlib.suppress(TypeError):  # a list or an object among them
            column = coded(column)
    distinct = column.words if isinstance(column, Coded) else column
    types = set(map(type, distinct))
    if types == {str}:
        lengths = set(map(len, distinct))
        if 0 not in lengths and max(lengths) <= LONGEST:
            return column
    elif not types or (types == {NoneType} and not required):
        return column
    result: list[str | None] = []
    for row, value in enumerate(column):
        try:
            result.append(_text(value, where, required))
        except SenderError as exc:
            wrong.setdefault(row, exc)
            result.append(None)
    return result


def _text(value: Any, where: str, required: bool) -> str | None:
    if value is None or value == "":
        if not required:
            return None
        code, came = ("field missing", "nothing") if value is None else ("field wrong", "an empty text")
        raise SenderError(code, f"{where}: expected a text or a number, got {came}", where)
    if isinstance(value, Unusable):
        raise SenderError(value.code, f"{where}: {value.text}", where)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(_float(value))
    if not number and not isinstance(value, str):
        raise SenderError("field wrong", f"{where}: expected a text or a number, got {show(value)}", where)
    written = str(value)
    if len(written) > LONGEST:
        expected = f"expected at most {LONGEST:,} characters"
        raise SenderError("field wrong", f"{where}: {expected}, got {show(value)}", where)
    return written


def _float(value: int | float) -> float:
    return value if isinstance(value, float) else 0.0


def times(
    column: Sequence[Any], where: str, record_s: npt.NDArray[np.float64], ahead_s: float, wrong: Wrong
) -> npt.NDArray[np.float64]:
    """Seconds since the epoch, within [1970, record time + ahead]; rows that fail are added to `wrong`."""
    result = epochs_s(column)
    if result is None:
        result = record_s.copy()
        for row, value in enumerate(column):
            if value is not None:
                try:
                    result[row] = _time(value, where)
                except SenderError as exc:
                    wrong.setdefault(row, exc)
                    result[row] = 0.0
    latest = np.where(record_s < 0.0, LAST_S, np.minimum(record_s + ahead_s, LAST_S))
    for row in np.flatnonzero(~((result >= 0.0) & (result <= latest))).tolist():
        wrong.setdefault(row, _out_of_range(column[row], where, float(record_s[row]), ahead_s))
    return result


def _time(value: Any, where: str) -> float:
    if isinstance(value, Unusable):
        raise SenderError(value.code, f"{where}: {value.text}", where)
    try:
        return epoch_s(value)
    except ValueError as exc:
        raise SenderError("field wrong", f"{where}: {exc}, got {show(value)}", where) from None


def _out_of_range(value: Any, where: str, record_s: float, ahead_s: float) -> SenderError:
    if value is None and record_s < 0.0:
        return SenderError(
            "field missing", f"{where}: expected {ACCEPTED}, and the record has no timestamp", where
        )
    latest = (
        "9999"
        if record_s < 0.0 or record_s > LAST_S
        else f"{ahead_s:g} s after the record ({rfc3339(record_s)})"
    )
    got = f"the record's own timestamp {record_s:g} s" if value is None else show(value)
    return SenderError(
        "time out of range", f"{where}: expected a time from 1970 to {latest}, got {got}", where
    )
