"""The values that one detector has read since its last onset, in little memory: what a detection is explained with.

River's detectors say that something changed, not what: no direction, no size, no onset. A history keeps sums of
blocks of values, small for the newest and ever larger for older ones; at an alarm it finds the boundary between two
blocks that best explains the values as two levels.

Blocks depend on the count of values alone, and each sum is either exactly rounded (`math.fsum`) or a sum of two
sums, so a history is the same to the last bit however its values fall into calls.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from streamwatch.detectors import checked
from streamwatch.detectors.base import Direction, Level, Plain, Watched
from streamwatch.errors import StateDamaged
from streamwatch.series import Floats

BLOCK = 16  # values in the smallest block
NEWEST = (
    32  # fewer than so many newest values are kept one by one: large changes are found within a few values
)
# So many blocks of one size; of one more the two oldest become one. Many small ones: most changes are found within
# some hundreds of values, and their onset is known to a tenth of that; of old ones to a quarter of their age.
EACH = (8,) * 5 + (3,) * 35
# Splits whose evidence is at most so many variances below the best are thought possible. Measured on steps of 0.5 to 3
# deviations and of a rate from 0.1 to 0.3: the true onset lies within what is said in 96 % or more when ADWIN or
# PageHinkley find the step, in 89 % with HDDM_W, which alarms on the first extreme run.
POSSIBLE = 5.0


@dataclass(frozen=True, slots=True)
class Split:
    """The best explanation as two levels. `at`: how many blocks and single values lie before the onset."""

    at: int
    direction: Direction
    before: Level
    after: Level
    onset_time_s: float
    onset_uncertain_s: float


class History:
    """24 blocks for a thousand values, about 70 for ten million."""

    __slots__ = ("_last_s", "_starts_s", "_sums", "_times_s", "_values")

    def __init__(self) -> None:
        self._sums: list[
            list[float]
        ] = []  # of blocks of BLOCK, 2 * BLOCK, ... values; of one size the oldest first
        self._starts_s: list[list[float]] = []
        self._values: list[float] = []
        self._times_s: list[float] = []
        self._last_s = 0.0

    def add(self, value: float, time_s: float) -> None:
        self._values.append(value)
        self._times_s.append(time_s)
        self._last_s = time_s
        if len(self._values) == NEWEST:
            self._append([math.fsum(self._values[:BLOCK])], [self._times_s[0]])
            del self._values[:BLOCK], self._times_s[:BLOCK]

    def extend(self, values: list[float], times_s: Floats, start: int, stop: int) -> None:
        """Add values[start:stop] with their times."""
        if start == stop:
            return
        self._last_s = float(times_s[stop - 1])
        held = len(self._values)
        values = self._values + values[start:stop]
        closed = max(0, len(values) // BLOCK - NEWEST // BLOCK + 1) * BLOCK
        if closed:
            starts_s = self._times_s[:closed:BLOCK]
            first = len(starts_s) * BLOCK - held + start
            starts_s += times_s[first : start + closed - held : BLOCK].tolist() if closed > held else []
            blocks = zip(*[iter(values[:closed])] * BLOCK, strict=True)
            self._append(list(map(math.fsum, blocks)), starts_s)
            values = values[closed:]
        self._values = values
        fresh = max(start, stop - len(values))
        self._times_s = self._times_s[closed:] + times_s[fresh:stop].tolist()

    def _append(self, sums: list[float], starts_s: list[float]) -> None:
        """Add blocks of BLOCK values."""
        for size, most in enumerate(EACH):
            if size == len(self._sums):
                self._sums.append([])
                self._starts_s.append([])
            held, held_s = self._sums[size], self._starts_s[size]
            held += sums
            held_s += starts_s
            gone = (len(held) - most + 1) // 2 * 2
            if gone <= 0:
                break
            sums = list(map(operator.add, held[:gone:2], held[1:gone:2]))
            starts_s = held_s[:gone:2]
            del held[:gone], held_s[:gone]

    def _n(self) -> list[int]:
        """How many values each block holds, the oldest and largest first."""
        return [BLOCK << size for size in reversed(range(len(self._sums))) for _ in self._sums[size]]

    @property
    def level(self) -> Level:
        n = sum(BLOCK * len(held) << size for size, held in enumerate(self._sums)) + len(self._values)
        return Level(math.fsum(chain(*self._sums, self._values)) / n if n else math.nan, n)

    def split(self, watched: Watched) -> Split | None:
        """The split with the most evidence of a change in the watched direction; None if no split shows one.

        Evidence of a split into n0 and n1 values: n0 n1 / (n0 + n1) times the squared difference of the means (the
        likelihood ratio of a step in normal noise, times twice the variance). The variance is taken from the
        scatter of the blocks about their level, so noise that is correlated in time widens the onset's interval.
        """
        n = np.array(self._n() + [1] * len(self._values), dtype=np.float64)
        sums = np.array(_row(self._sums) + self._values)
        times_s = [*_row(self._starts_s), *self._times_s, self._last_s]
        if len(n) < 2:
            return None
        total = float(n.sum())
        rest = np.cumsum(sums - n * (math.fsum(sums) / total))[:-1]
        before = np.cumsum(n)[:-1]
        evidence = rest * rest * total / (before * (total - before))
        evidence[(rest >= 0) if watched == "up" else (rest <= 0) if watched == "down" else (rest == 0)] = -1.0
        best = int(np.argmax(evidence))
        if evidence[best] < 0:
            return None
        at = best + 1
        low = Level(math.fsum(sums[:at]) / float(before[best]), int(before[best]))
        high = Level(math.fsum(sums[at:]) / (total - float(before[best])), int(total - before[best]))
        off = sums / n - np.where(np.arange(len(n)) < at, low.mean, high.mean)
        variance = float((n * off * off).sum()) / max(1, len(n) - 2)
        possible = np.flatnonzero(evidence >= max(0.0, float(evidence[best]) - POSSIBLE * variance))
        onset_s = times_s[at]
        first_s, last_s = times_s[int(possible[0])], times_s[int(possible[-1]) + 2]
        return Split(
            at,
            "up" if rest[best] < 0 else "down",
            low,
            high,
            onset_s,
            max(onset_s - first_s, last_s - onset_s, 0.0),
        )

    def cut(self, at: int) -> None:
        """Forget what lies before `Split.at`."""
        for size in reversed(range(len(self._sums))):
            gone = min(at, len(self._sums[size]))
            del self._sums[size][:gone], self._starts_s[size][:gone]
            at -= gone
        del self._values[:at], self._times_s[:at]

    def dump(self) -> dict[str, Any]:
        return {
            "n": self._n(),
            "sums": _row(self._sums),
            "starts_s": _row(self._starts_s),
            "values": list(self._values),
            "times_s": list(self._times_s),
            "last_s": self._last_s,
        }

    @classmethod
    def load(cls, dump: Plain, low: float, high: float) -> History:
        """StateDamaged unless it is what `dump` of a history of values in [low, high] can give."""
        history = cls()
        most = sum(EACH)
        ns = checked.counts(dump, "n", most, BLOCK)
        sums = checked.numbers(dump, "sums", most)
        starts_s = checked.numbers(dump, "starts_s", most)
        history._values = checked.numbers(dump, "values", NEWEST - 1, low, high)
        history._times_s = checked.numbers(dump, "times_s", NEWEST - 1)
        history._last_s = checked.number(dump, "last_s")
        powers = {BLOCK << power: power for power in range(len(EACH))}
        if (
            not len(ns) == len(sums) == len(starts_s)
            or len(history._values) != len(history._times_s)
            or not powers.keys() >= set(ns)
            or ns != sorted(ns, reverse=True)
        ):
            raise StateDamaged("the blocks of the history do not fit together")
        for n, total, start_s in zip(ns, sums, starts_s, strict=True):
            if not n * low <= total <= n * high:
                raise StateDamaged(f"a block of {n} values in [{low:g}, {high:g}] has the sum {total!r}")
            while len(history._sums) <= powers[n]:
                history._sums.append([])
                history._starts_s.append([])
            history._sums[powers[n]].append(total)
            history._starts_s[powers[n]].append(start_s)
        held = [len(sums) for sums in history._sums]
        if any(of_size > each for of_size, each in zip(held, EACH, strict=False)):
            raise StateDamaged(f"too many blocks of one size in the history: {held}")
        return history


def _row(of_size: list[list[float]]) -> list[float]:
    """The oldest and largest first."""
    return [entry for entries in reversed(of_size) for entry in entries]
