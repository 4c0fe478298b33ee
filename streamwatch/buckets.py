"""Buckets of time before a detector: of the values of every minute, say, it reads one number.

1. A value belongs to the bucket of its own time: number floor(time / length), so buckets are aligned to the epoch.
2. Time is the latest time of any value read so far. A bucket closes with the first value that is `late` or more
   beyond its end; then the detector reads it, at that value, with the time of the bucket's beginning.
3. A value whose bucket is closed comes too late and is not read.
4. A bucket without values gives nothing, also when values are counted: gaps are gaps.
5. What is counted must be whole: the bucket in which counting begins is not read.

Sums run from value to value in the order in which they come, so they are the same to the last bit however the values
fall into calls. Measured: 0.02 us a value in calls of 1,000, 0.6 us for one alone.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from streamwatch.detectors import checked
from streamwatch.detectors.base import Plain
from streamwatch.detectors.guard import GREATEST
from streamwatch.errors import StateDamaged
from streamwatch.every import MOST, Every
from streamwatch.series import Bools, Floats, Kind

FEW = 16  # runs of values of one bucket each are added up by themselves, more of them at once
MARGIN_S = 0.001  # wider than any rounding of times
NEVER = float("-inf")
NOWHERE = np.empty(0, dtype=np.int64)


class Taken(NamedTuple):
    """What became of n values.

    late       (n,) which came too late; None: none of them
    values, times_s  (k,) of the buckets that closed, in order of time
    positions  (k,) index of the value with which each closed
    """

    late: Bools | None
    values: Floats
    times_s: Floats
    positions: npt.NDArray[np.int64]


class _Open:
    """A bucket that waits: how many values, and the sum of what they are above `base`. Real values are added up from
    their first: the mean of equal values is exactly that value, and not a scale that a detector could learn."""

    __slots__ = ("base", "n", "total")

    def __init__(self, n: int, total: float, base: float) -> None:
        self.n = n
        self.total = total
        self.base = base


class Buckets:
    """Of one watcher, whose detector reads values of `kind`."""

    __slots__ = ("_closed", "_from", "_late_s", "_length_s", "_open", "_peak_s", "_real", "every")

    def __init__(self, every: Every, kind: Kind) -> None:
        self.every = every
        self._length_s = every.length
        self._late_s = every.late
        self._real = kind == "real"
        self._open: dict[int, _Open] = {}
        self._peak_s = NEVER
        self._closed = NEVER  # all buckets of lower numbers are
        self._from = NEVER  # buckets of lower numbers are not whole

    def restart(self) -> None:
        """Read what comes from now on; what is closed stays closed."""
        self._open.clear()
        if self.every.stat == "count" and self._peak_s != NEVER:
            self._from = math.floor(self._peak_s / self._length_s) + 1

    @property
    def quiet_s(self) -> tuple[float, float]:
        """Values of times from one to another close no bucket, and none of them is too late; (0, 0): not known."""
        if self._closed == NEVER:
            return 0.0, 0.0
        start_s = self._closed * self._length_s
        until_s = start_s + self._length_s + self._late_s - MARGIN_S
        return (start_s + MARGIN_S, until_s) if self._peak_s < until_s else (0.0, 0.0)

    @property
    def waiting(self) -> int:
        """Values in buckets that are not closed."""
        return sum(of.n for of in self._open.values())

    def take(self, values: Floats, times_s: Floats) -> Taken:
        """Read n finite values of the kind, in the order in which they came."""
        if not len(values):
            return Taken(None, values, values, NOWHERE)
        first_s, last_s = float(times_s.min()), float(times_s.max())
        self._begin(float(times_s[0]))
        number = math.floor(first_s / self._length_s)
        peak_s = max(self._peak_s, last_s)
        quiet = self._closed >= math.floor((peak_s - self._late_s) / self._length_s)
        if quiet and self._closed <= number == math.floor(last_s / self._length_s):
            self._peak_s = peak_s
            self._add_to(number, values)
            return Taken(None, values[:0], values[:0], NOWHERE)
        peaks_s = np.maximum(np.maximum.accumulate(times_s), self._peak_s)
        closed = np.maximum(np.floor((peaks_s - self._late_s) / self._length_s), self._closed)
        numbers = np.floor(times_s / self._length_s)
        self._peak_s, self._closed = peak_s, int(closed[-1])
        late = numbers < closed
        some = bool(late.any())
        if some:
            numbers, values = numbers[~late], values[~late]
        self._add(numbers.astype(np.int64), values)
        done = self._shut()
        starts = np.array([of for of, _ in done], dtype=np.float64)
        return Taken(
            late if some else None,
            np.array([value for _, value in done], dtype=np.float64),
            starts * self._length_s,
            np.searchsorted(closed, starts, side="right"),
        )

    def take_one(self, value: float, time_s: float) -> tuple[bool, list[tuple[float, float]]]:
        """The same of one value: whether it came too late; values and times of the buckets that close."""
        number = math.floor(time_s / self._length_s)
        if self._peak_s == NEVER:
            self._begin(time_s)
        if time_s > self._peak_s:
            self._peak_s = time_s
        closed = math.floor((self._peak_s - self._late_s) / self._length_s)
        if closed > self._closed:
            self._closed = closed
        if number < self._closed:
            return True, self._values(self._shut())
        if self._real and not -GREATEST <= value <= GREATEST:
            value = GREATEST if value > 0 else -GREATEST
        held = self._open.get(number)
        if held is None:
            held = self._open[number] = _Open(0, 0.0, value if self._real else 0.0)
        held.n += 1
        held.total += value - held.base
        return False, self._values(self._shut())

    def _values(self, done: list[tuple[int, float]]) -> list[tuple[float, float]]:
        return [(value, number * self._length_s) for number, value in done]

    def _begin(self, time_s: float) -> None:
        if self._peak_s == NEVER and self.every.stat == "count":
            self._from = math.floor(time_s / self._length_s) + 1

    def _add_to(self, number: int, values: Floats) -> None:
        """Values of one bucket."""
        if self._real:
            values = np.clip(values, -GREATEST, GREATEST)
        held = self._open.get(number)
        if held is None:
            held = self._open[number] = _Open(0, 0.0, float(values[0]) if self._real else 0.0)
        held.n += len(values)
        sums = np.empty(len(values) + 1)
        sums[0] = held.total
        np.subtract(values, held.base, out=sums[1:])
        held.total = float(np.add.accumulate(sums)[-1])

    def _add(self, numbers: npt.NDArray[np.int64], values: Floats) -> None:
        """Values that are not too late."""
        edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        if len(edges) <= FEW:
            for start, stop in pairwise(edges):
                if start < stop:
                    self._add_to(int(numbers[start]), values[start:stop])
            return
        held = self._open
        known = np.array(list(held), dtype=np.int64)
        numbers = np.concatenate((known, numbers))
        names, at = np.unique(numbers, return_inverse=True)
        mine = at[len(known) :]
        bases = np.zeros(len(names))
        if self._real:
            values = np.clip(values, -GREATEST, GREATEST)
            bases[mine[::-1]] = values[::-1]  # of what is written to one place twice, the last one stays
            bases[at[: len(known)]] = [one.base for one in held.values()]
            values = values - bases[mine]
        # What is held comes first: bincount adds from left to right, as `take_one` does.
        totals = np.bincount(at, np.concatenate(([one.total for one in held.values()], values)))
        counts = np.bincount(mine, minlength=len(names))
        columns = names.tolist(), counts.tolist(), totals.tolist(), bases.tolist()
        for number, n, total, base in zip(*columns, strict=True):
            if number in held:
                n += held[number].n
            held[number] = _Open(n, total, base)

    def _shut(self) -> list[tuple[int, float]]:
        """Close what is to be closed: numbers, ascending, and values."""
        if not self._open or min(self._open) >= self._closed:
            return []
        done = sorted(number for number in self._open if number < self._closed)
        shut = [(number, self._value(self._open.pop(number))) for number in done]
        return [one for one in shut if one[0] >= self._from]

    def _value(self, of: _Open) -> float:
        return float(of.n) if self.every.stat == "count" else of.base + of.total / of.n

    def dump(self) -> Plain:
        return {
            "peak_s": None if self._peak_s == NEVER else self._peak_s,
            "closed": None if self._closed == NEVER else int(self._closed),
            "from": None if self._from == NEVER else int(self._from),
            "numbers": sorted(self._open),
            "open": [[of.n, of.total, of.base] for _, of in sorted(self._open.items())],
        }

    @classmethod
    def load(cls, every: Every, kind: Kind, dump: Any) -> Self:
        """StateDamaged if it is not what `dump` wrote."""
        buckets = cls(every, kind)
        peak_s = checked.optional(dump, "peak_s")
        buckets._peak_s = NEVER if peak_s is None else peak_s
        for name in ("closed", "from"):
            if checked.entry(dump, name) is not None:
                setattr(buckets, f"_{name}", checked.count(dump, name, -MOST))
        numbers = checked.counts(dump, "numbers", MOST + 2)
        held = checked.entry(dump, "open")
        if not isinstance(held, list) or len(held) != len(numbers):
            raise StateDamaged(f"open buckets: {len(numbers)} numbers do not fit {str(held)[:60]}")
        for number, one in zip(numbers, held, strict=True):
            match one:
                case [int(n), float(total), float(base)] if n > 0 and math.isfinite(total + base):
                    buckets._open[number] = _Open(n, total, base)
                case _:
                    raise StateDamaged(f"open buckets: expected a count, a sum and a base, got {one!r}")
        return buckets
