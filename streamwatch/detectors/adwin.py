"""River's compiled ADWIN as an alarm, and its state as checked bytes.

`river.drift.ADWIN` throws its window away with the first value after an alarm, and its count of alarms with it. That
is done here as well, on the compiled class itself: half the time of an update, and the window can be read until then.

The compiled class writes its state as bytes (bincode, little-endian), takes bytes with a tail, and panics on others
(a BaseException). So what is loaded is taken apart first: lengths to the byte, settings, counts that fit each other.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from river._river_rust.drift import AdaptiveWindowing

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.errors import StateDamaged

_HEAD = struct.Struct("<dIQdddddd4IQ")
_ROW = struct.Struct("<QQQ")
_LENGTH = struct.Struct("<Q")
_TAIL = struct.Struct("<dIQii")
_ROWS = 64  # a row holds buckets of twice as many values as the one before
_DAMAGED = "the state of ADWIN is damaged"


class AdwinSettings(NamedTuple):
    delta: float
    clock: int
    max_buckets: int
    min_window_length: int
    grace_period: int


class AdwinAlarm:
    """Two-sided; `statistic` is the mean of ADWIN's window."""

    direction: Watched = "both"

    def __init__(self, settings: AdwinSettings) -> None:
        self._settings = settings
        self._rang = False
        self._window: Any = AdaptiveWindowing(*settings)
        # The clock of alarms: only at every `clock`th value is looked, and then only past the grace period.
        self._first = (settings.grace_period // settings.clock + 1) * settings.clock

    def read(self, values: Iterator[float]) -> bool:
        if self._rang:
            self.start()
        self._rang = any(map(self._window.update, values))
        return self._rang

    def read_one(self, value: float) -> bool:
        if self._rang:
            self.start()
        self._rang = self._window.update(value)
        return self._rang

    def start(self) -> None:
        self._rang = False
        self._window = AdaptiveWindowing(*self._settings)

    @property
    def statistic(self) -> float | None:
        width = self._window.get_width()
        return self._window.get_total() / width if width else None

    @property
    def warm(self) -> bool:
        return not self._rang and self._window.get_width() + 1 >= self._first

    @property
    def needs(self) -> int:
        return max(0, self._first - 1 - self._width)

    @property
    def quiet(self) -> int:
        return max(self.needs, self._settings.clock - 1 - self._width % self._settings.clock)

    @property
    def _width(self) -> int:
        """A window that has not rung holds all that it was given, so its width is the clock's."""
        return 0 if self._rang else int(self._window.get_width())

    def dump(self) -> dict[str, Any]:
        return {"rang": self._rang, "window": bytes(self._window.__getstate__())}

    def load(self, dump: Any) -> None:
        rang = checked.flag(dump, "rang")
        slots = 8 * 2 * (self._settings.max_buckets + 1)
        most = _HEAD.size + _ROWS * (_ROW.size + _LENGTH.size + slots) + _TAIL.size
        state = checked.octets(dump, "window", _HEAD.size + _TAIL.size, most)
        try:
            _check(state, self._settings)
        except struct.error as error:
            raise StateDamaged(f"{_DAMAGED}: {error}") from error
        window = AdaptiveWindowing(*self._settings)
        try:
            window.__setstate__(state)
        except BaseException as error:
            # River's panic is no Exception. It cannot come as long as River's layout is the one checked above.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise StateDamaged(f"{_DAMAGED}: {error}") from error
            raise
        if bytes(window.__getstate__()) != state:
            raise StateDamaged(f"{_DAMAGED}: River reads it differently")
        self._window = window
        self._rang = rang


def _check(state: bytes, settings: AdwinSettings) -> None:
    delta, clock, max_buckets, least, grace, total, squares, width, widths, *counts = _HEAD.unpack_from(state)
    *marks, alarms, rows = counts
    tick = marks[2]
    if (delta, clock, max_buckets, least, grace) != settings:
        raise StateDamaged(f"{_DAMAGED}: it is of other settings")
    if not (1 <= rows <= _ROWS and 0 <= width <= tick and alarms <= tick and max(marks[:2]) <= 4 * tick + 64):
        raise StateDamaged(f"{_DAMAGED}: counts do not fit together")
    sums: list[float] = [total, squares, widths]
    at = _HEAD.size
    held = 0
    for row in range(rows):
        its_max, filled, slots = _ROW.unpack_from(state, at)
        at += _ROW.size
        if its_max != max_buckets or slots != max_buckets + 1 or filled > max_buckets:
            raise StateDamaged(f"{_DAMAGED}: a row of buckets has another size")
        held += filled << row
        for column in ("sums", "squares"):
            if column == "squares":
                if _LENGTH.unpack_from(state, at) != (slots,):
                    raise StateDamaged(f"{_DAMAGED}: a row of buckets has another size")
                at += _LENGTH.size
            sums += struct.unpack_from(f"<{slots}d", state, at)
            at += 8 * slots
    if held != width:
        raise StateDamaged(f"{_DAMAGED}: its buckets hold {held} values, its width is {width:g}")
    if not all(map(math.isfinite, sums)):
        raise StateDamaged(f"{_DAMAGED}: a sum is not finite")
    if at + _TAIL.size != len(state) or _TAIL.unpack_from(state, at) != settings:
        raise StateDamaged(f"{_DAMAGED}: its end is not where it should be")
