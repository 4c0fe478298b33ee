"""PageHinkley on values of any unit: its threshold and delta are in the units of the data.

So the first values after each start give a mean and a standard deviation, and the values after them are read as
(value - mean) / deviation, brought to the deviation of the uniform distribution on [0, 1]: what River's defaults
suit. Measured, false alarms in 10,000 values at the defaults: U(0, 1) 0.1, N(0, 1) as it is 6.6, N(50000, 10000) as
it is 333, any normal, exponential or lognormal scaled 0.2
to 0.5 (see the tests).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from typing import Any

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched
from streamwatch.detectors.wrapped import PageHinkleyAlarm
from streamwatch.errors import StateDamaged

UNIFORM_DEVIATION = 1.0 / math.sqrt(12.0)
OTHERS = 5  # a stream of one constant has no scale: wait for so many other values
TAME = 10.0  # values farther from the median than so many typical distances count as so far


class Scaled:
    """Learns the scale from `warmup` values after each start; they count as read, so a change among them is found."""

    def __init__(self, alarm: PageHinkleyAlarm, warmup: int) -> None:
        self._alarm = alarm
        self._warmup = warmup
        self._rang = False
        self._empty()

    def _empty(self) -> None:
        self._first = 0.0
        self._same = 0  # values equal to the first one
        self._others: list[float] = []
        self._mean = 0.0
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
        return (value - self._mean) * self._factor

    def _learn(self, value: float) -> None:
        if self._same == 0:
            self._first = value
        if value == self._first:
            self._same += 1
        else:
            self._others.append(value)
        if self._same + len(self._others) >= self._warmup and len(self._others) >= OTHERS:
            self._settle()

    def _settle(self) -> None:
        n = self._same + len(self._others)
        self._mean, deviation = spread(self._first, self._same, self._others)
        if deviation > 0.0:
            self._factor = UNIFORM_DEVIATION / deviation
            self._alarm.start_from(n, 0.0)
        self._same, self._others = (0, []) if self._factor else (self._same, self._others[-OTHERS:])

    @property
    def direction(self) -> Watched:
        return self._alarm.direction

    @property
    def statistic(self) -> float | None:
        return self._alarm.statistic if self._factor else None

    @property
    def warm(self) -> bool:
        return bool(self._factor) and self._alarm.warm

    @property
    def needs(self) -> int:
        """None once the values for a scale have been there: of one constant it has none, but a step of it is found."""
        if self._rang:
            return self._warmup
        if self._factor:
            return self._alarm.needs
        return max(0, self._warmup - self._same - len(self._others))

    @property
    def quiet(self) -> int:
        return 0

    def dump(self) -> dict[str, Any]:
        return {
            "rang": self._rang,
            "first": self._first,
            "same": self._same,
            "others": list(self._others),
            "mean": self._mean,
            "factor": self._factor,
            "alarm": self._alarm.dump(),
        }

    def load(self, dump: Any) -> None:
        self._rang = checked.flag(dump, "rang")
        self._first = checked.number(dump, "first")
        self._same = checked.count(dump, "same")
        self._others = checked.numbers(dump, "others", self._warmup + OTHERS)
        self._mean = checked.number(dump, "mean")
        self._factor = checked.number(dump, "factor", 0.0)
        if self._others and not self._same:
            raise StateDamaged("values that are other than the first, and no first")
        self._alarm.load(checked.entry(dump, "alarm"))


def spread(first: float, same: int, others: list[float]) -> tuple[float, float]:
    """Mean and standard deviation of `same` times `first` and the others, of which few may be wild: one of 1e100 among
    the values that the scale is learnt from would make the detector deaf.

    >>> [round(number, 3) for number in spread(5.0, 4, [4.0, 6.0, 1e100])]
    [6.429, 3.823]
    """
    n = same + len(others)
    ranked = sorted(others)
    below = bisect.bisect_left(ranked, first)
    middle = n // 2
    if middle < below:
        median = ranked[middle]
    elif middle < below + same:
        median = first
    else:
        median = ranked[middle - same]
    distances = sorted(abs(value - median) for value in (first, *others) if value != median)
    reach = TAME * distances[len(distances) // 2]
    low, high = median - reach, median + reach
    tame = [min(high, max(low, value)) for value in others]
    first = min(high, max(low, first))
    mean = (same * first + math.fsum(tame)) / n
    squares = same * (first - mean) ** 2 + math.fsum((value - mean) ** 2 for value in tame)
    return mean, math.sqrt(squares / (n - 1))
