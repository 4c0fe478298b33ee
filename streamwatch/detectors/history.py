"""The values that one detector has read since its last onset, in little memory: what a detection is explained with.

River's detectors say that something changed, not what: no direction, no size, no onset. A history keeps sums of
blocks of values, small for the newest and ever larger for older ones; at an alarm it finds the boundary between two
blocks that best explains the values as two levels.

Blocks depend on the count of values alone, and each sum is either exactly rounded (`math.fsum`) or a sum of two
sums, so a history is the same to the last bit however its values fall into calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    __slots__ = ("_last_s", "_n", "_of_size", "_starts_s", "_sums", "_times_s", "_values")

    def __init__(self) -> None:
        self._n: list[int] = []  # blocks, the oldest and largest first
        self._sums: list[float] = []
        self._starts_s: list[float] = []
        self._of_size: list[int] = []  # how many blocks of BLOCK, 2 * BLOCK, ... values
        self._values: list[float] = []
        self._times_s: list[float] = []
        self._last_s = 0.0

    def add(self, value: float, time_s: float) -> None:
        self._values.append(value)
        self._times_s.append(time_s)
        self._last_s = time_s
        if len(self._values) == NEWEST:
            self._append(math.fsum(self._values[:BLOCK]), self._times_s[0])
            del self._values[:BLOCK], self._times_s[:BLOCK]

    def extend(self, values: list[float], times_s: Floats, start: int, stop: int) -> None:
        """Add values[start:stop] with their times."""
        if start == stop:
            return
        self._last_s = float(times_s[stop - 1])
        held = len(self._values)
        values = self._values + values[start:stop]
        closed = max(0, len(values) // BLOCK - NEWEST // BLOCK + 1) * BLOCK
        starts_s = self._times_s[:closed:BLOCK]
        first = len(starts_s) * BLOCK - held + start
        starts_s += times_s[first : start + closed - held : BLOCK].tolist() if closed > held else []
        fsum = math.fsum
        for at, time_s in zip(range(0, closed, BLOCK), starts_s, strict=True):
            self._append(fsum(values[at : at + BLOCK]), time_s)
        self._values = values[closed:]
        fresh = max(start, stop - len(self._values))
        self._times_s = self._times_s[closed:] + times_s[fresh:stop].tolist()

    def _append(self, total: float, time_s: float) -> None:
        n, sums, starts_s, of_size = self._n, self._sums, self._starts_s, self._of_size
        n.append(BLOCK)
        sums.append(total)
        starts_s.append(time_s)
        if not of_size:
            of_size.append(0)
        of_size[0] += 1
        size, newer = 0, 0
        while of_size[size] > EACH[size]:
            newer += of_size[size]
            at = len(n) - newer
            n[at] += n.pop(at + 1)
            sums[at] += sums.pop(at + 1)
            del starts_s[at + 1]
            of_size[size] -= 2
            newer -= 2
            size += 1
            if size == len(of_size):
                of_size.append(0)
            of_size[size] += 1

    @property
    def level(self) -> Level:
        n = sum(self._n) + len(self._values)
        return Level(math.fsum(self._sums + self._values) / n if n else math.nan, n)

    def split(self, watched: Watched) -> Split | None:
        """The split with the most evidence of a change in the watched direction; None if no split shows one.

        Evidence of a split into n0 and n1 values: n0 n1 / (n0 + n1) times the squared difference of the means (the
        likelihood ratio of a step in normal noise, times twice the variance). The variance is taken from the
        scatter of the blocks about their level, so noise that is correlated in time widens the onset's interval.
        """
        n = np.array(self._n + [1] * len(self._values), dtype=np.float64)
        sums = np.array(self._sums + self._values)
        times_s = [*self._starts_s, *self._times_s, self._last_s]
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
        blocks = len(self._n)
        if at >= blocks:
            del self._values[: at - blocks], self._times_s[: at - blocks]
        del self._n[:at], self._sums[:at], self._starts_s[:at]
        self._of_size = _of_size(self._n)

    def dump(self) -> dict[str, Any]:
        return {
            "n": list(self._n),
            "sums": list(self._sums),
            "starts_s": list(self._starts_s),
            "values": list(self._values),
            "times_s": list(self._times_s),
            "last_s": self._last_s,
        }

    @classmethod
    def load(cls, dump: Plain, low: float, high: float) -> History:
        """StateDamaged unless it is what `dump` of a history of values in [low, high] can give."""
        history = cls()
        most = sum(EACH)
        history._n = checked.counts(dump, "n", most, BLOCK)
        history._sums = checked.numbers(dump, "sums", most)
        history._starts_s = checked.numbers(dump, "starts_s", most)
        history._values = checked.numbers(dump, "values", NEWEST - 1, low, high)
        history._times_s = checked.numbers(dump, "times_s", NEWEST - 1)
        history._last_s = checked.number(dump, "last_s")
        sizes = {BLOCK << power for power in range(len(EACH))}
        if (
            not len(history._n) == len(history._sums) == len(history._starts_s)
            or len(history._values) != len(history._times_s)
            or not sizes.issuperset(history._n)
            or history._n != sorted(history._n, reverse=True)
        ):
            raise StateDamaged("the blocks of the history do not fit together")
        history._of_size = _of_size(history._n)
        if any(held > each for held, each in zip(history._of_size, EACH, strict=False)):
            raise StateDamaged(f"too many blocks of one size in the history: {history._of_size}")
        for n, total in zip(history._n, history._sums, strict=True):
            if not n * low <= total <= n * high:
                raise StateDamaged(f"a block of {n} values in [{low:g}, {high:g}] has the sum {total!r}")
        return history


def _of_size(sizes: list[int]) -> list[int]:
    if not sizes:
        return []
    powers = [(n // BLOCK).bit_length() - 1 for n in sizes]
    return [powers.count(power) for power in range(max(powers) + 1)]
