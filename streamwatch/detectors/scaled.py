"""PageHinkley on values of any unit: its threshold and delta are in the units of the data.

So the first values after each start give a mean and a standard deviation, and the values after them are read as
(value - mean) / deviation, brought to the deviation of the uniform distribution on [0, 1]: what River's defaults
suit. Measured, false alarms in 10,000 values at the defaults: U(0, 1) 0.1, N(0, 1) as it is 6.6, N(50000, 10000) as
it is 333, any normal scaled 0.2 (see the tests).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.detectors.wrapped import PageHinkleyAlarm
from streamwatch.errors import StateDamaged

UNIFORM_DEVIATION = 1.0 / math.sqrt(12.0)
OTHERS = 5  # a stream of one constant has no scale: wait for so many other values
FARTHEST = 1e9  # in deviations; keeps what follows finite


class Scaled:
    """Learns the scale from `warmup` values after each start; they count as read, so a change among them is found."""

    def __init__(self, alarm: PageHinkleyAlarm, warmup: int) -> None:
        self._alarm = alarm
        self._warmup = warmup
        self._rang = False
        self._empty()

    def _empty(self) -> None:
        self._n = 0
        self._mean = 0.0
        self._squares = 0.0
        self._first = 0.0
        self._others = 0
        self._factor = 0.0  # 0: not known yet

    def start(self) -> None:
        self._rang = False
        self._empty()
        self._alarm.start()

    def read(self, values: Iterator[float]) -> bool:
        if self._rang:
            self.start()
        if not self._factor:
            for value in values:
                self._learn(value)
                if self._factor:
                    break
            else:
                return False
        self._rang = self._alarm.read(map(self._scale, values))
        return self._rang

    def read_one(self, value: float) -> bool:
        return self.read(iter((value,)))

    def _scale(self, value: float) -> float:
        scaled = (value - self._mean) * self._factor
        return min(FARTHEST, max(-FARTHEST, scaled))

    def _learn(self, value: float) -> None:
        if self._n == 0:
            self._first = value
        self._others += value != self._first
        self._n += 1
        off = value - self._mean
        self._mean += off / self._n
        self._squares += off * (value - self._mean)
        if self._n >= self._warmup and self._others >= OTHERS:
            self._settle()

    def _settle(self) -> None:
        deviation = math.sqrt(self._squares / (self._n - 1))
        if deviation > 0.0 and math.isfinite(UNIFORM_DEVIATION / deviation):
            self._factor = UNIFORM_DEVIATION / deviation
            self._alarm.start_from(self._n, 0.0)

    @property
    def direction(self) -> Watched:
        return self._alarm.direction

    @property
    def statistic(self) -> float | None:
        return self._alarm.statistic if self._factor else None

    @property
    def warm(self) -> bool:
        return bool(self._factor) and self._alarm.warm

    def dump(self) -> dict[str, Any]:
        return {
            "rang": self._rang,
            "n": self._n,
            "mean": self._mean,
            "squares": self._squares,
            "first": self._first,
            "others": self._others,
            "factor": self._factor,
            "alarm": self._alarm.dump(),
        }

    def load(self, dump: Any) -> None:
        self._rang = checked.flag(dump, "rang")
        self._n = checked.count(dump, "n")
        self._mean = checked.number(dump, "mean")
        self._squares = checked.number(dump, "squares", 0.0)
        self._first = checked.number(dump, "first")
        self._others = checked.count(dump, "others", 0, self._n)
        self._factor = checked.number(dump, "factor", 0.0)
        if self._factor and self._n < 2:
            raise StateDamaged(f"a scale that was learnt from {self._n} values")
        self._alarm.load(checked.entry(dump, "alarm"))
