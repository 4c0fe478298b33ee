"""River's detectors that are written in Python, as alarms: with types, and with their state as plain numbers.

River has no type information; nothing but this module, `binary`, `hddm` and `adwin` touches it. What they read and
write are River's private attributes; a River that renames one fails the tests, and raises at the first value.
"""

from __future__ import annotations

import collections
import math
import struct
from collections.abc import Iterator
from typing import Any

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.errors import StateDamaged


def drift() -> Any:
    """`river.drift`, imported when the first of its detectors is built: it takes a second (SciPy), a config that uses
    none of them but ADWIN does not need it, and a command that only reads a config neither."""
    import river.drift

    return river.drift


class Wrapped:
    """The calls that all of them share. The one-sided ring when ones get more."""

    def __init__(self, river: Any) -> None:
        self._river = river
        self._all = self._missing()

    @property
    def direction(self) -> Watched:
        return "up"

    def read(self, values: Iterator[float]) -> bool:
        river, update = self._river, self._river.update
        for value in values:
            update(value)
            if river._drift_detected:
                return True
        return False

    def read_one(self, value: float) -> bool:
        self._river.update(value)
        return bool(self._river._drift_detected)

    def start(self) -> None:
        self._river._drift_detected = False
        self._river._reset()

    @property
    def warm(self) -> bool:
        return not self._river._drift_detected and self._missing() <= 0

    @property
    def needs(self) -> int:
        if self._river._drift_detected:  # River forgets all of it with the next value
            return self._all
        return max(0, self._missing())

    @property
    def quiet(self) -> int:
        return 0

    def _missing(self) -> int:
        """At least so many values more until the next one can ring it; 0 or less: none."""
        raise NotImplementedError

    def dump(self) -> dict[str, Any]:
        return {"rang": bool(self._river._drift_detected), **self._state()}

    def load(self, dump: Any) -> None:
        rang = checked.flag(dump, "rang")
        self._restore(dump)
        self._river._drift_detected = rang

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _restore(self, dump: Any) -> None:
        raise NotImplementedError


class PageHinkleyAlarm(Wrapped):
    """Two-sided; `statistic` is the greater of its two sums, which `threshold` is compared with."""

    def __init__(self, *, min_instances: int, delta: float, threshold: float, alpha: float) -> None:
        super().__init__(drift().PageHinkley(min_instances, delta, threshold, alpha, "both"))

    def start_from(self, n: int, mean: float) -> None:
        """Afresh, with n values of this mean as read."""
        self.start()
        self._river._x_mean.n = float(n)
        self._river._x_mean._mean = mean

    def _sums(self) -> tuple[float, float]:
        river = self._river
        return river._sum_increase - river._min_increase, river._max_decrease - river._sum_decrease

    @property
    def direction(self) -> Watched:
        rise, fall = self._sums()
        return "up" if rise > fall else "down"

    @property
    def statistic(self) -> float | None:
        rise, fall = self._sums()
        return max(rise, fall) if rise > -math.inf else None

    def _missing(self) -> int:
        return int(self._river.min_instances - 1 - self._river._x_mean.n)

    def _state(self) -> dict[str, Any]:
        river = self._river
        return {
            "n": int(river._x_mean.n),
            "mean": float(river._x_mean._mean),
            "sums": [float(river._sum_increase), float(river._sum_decrease)],
            "min_rise": None if river._min_increase == math.inf else float(river._min_increase),
            "max_fall": float(river._max_decrease),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        river._x_mean.n = float(checked.count(dump, "n"))
        river._x_mean._mean = checked.number(dump, "mean")
        sums = checked.numbers(dump, "sums", 2)
        if len(sums) != 2:
            raise StateDamaged(f"sums: expected 2 numbers, got {len(sums)}")
        river._sum_increase, river._sum_decrease = sums
        lowest = checked.optional(dump, "min_rise")
        river._min_increase = math.inf if lowest is None else lowest
        river._max_decrease = checked.number(dump, "max_fall")


_WORDS = struct.Struct("<625I")


class KswinAlarm(Wrapped):
    """Two-sided; `statistic` is the p-value, which `alpha` is compared with."""

    def __init__(self, *, alpha: float, window_size: int, stat_size: int, seed: int) -> None:
        super().__init__(drift().KSWIN(alpha, window_size, stat_size, seed))

    @property
    def direction(self) -> Watched:
        return "both"

    @property
    def statistic(self) -> float | None:
        river = self._river
        tested = river._drift_detected or len(river.window) == river.window_size
        return float(river.p_value) if tested else None

    def _missing(self) -> int:
        return int(self._river.window_size) - 1 - len(self._river.window)

    def _state(self) -> dict[str, Any]:
        river = self._river
        _, words, _ = river._rng.getstate()
        return {
            "window": [float(value) for value in river.window],
            "p_value": float(river.p_value),
            "n": int(river.n),
            "rng": _WORDS.pack(*words),
        }

    def _restore(self, dump: Any) -> None:
        river = self._river
        window = checked.numbers(dump, "window", river.window_size)
        river.window = collections.deque(window, maxlen=river.window_size)
        river.p_value = checked.number(dump, "p_value", 0.0, 1.0)
        river.n = checked.count(dump, "n")
        words = _WORDS.unpack(checked.octets(dump, "rng", _WORDS.size, _WORDS.size))
        if words[-1] > 624:
            raise StateDamaged(f"rng: its position is {words[-1]}, beyond 624")
        river._rng.setstate((3, words, None))
