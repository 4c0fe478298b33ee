"""A sketch of a signal over time: at most 512 buckets, for plots. It decides nothing.

Its width doubles when it is full. Buckets are aligned to the epoch and widths are powers of two, so two neighbours
become one exactly, and the same values in the same order give the same bits however they were cut into batches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamwatch.series import Floats

MOST = 512
FIRST_WIDTH_S = 2.0**-10


class Buckets(NamedTuple):
    """k buckets that follow each other; one without values has count 0, sum 0, low inf and high -inf.

    start_s is where the first begins, width_s how long each is.
    """

    start_s: float
    width_s: float
    counts: npt.NDArray[np.int64]
    sums: Floats
    lows: Floats
    highs: Floats

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def means(self) -> Floats:
        """NaN where there are no values."""
        means = np.full(len(self), np.nan)
        np.divide(self.sums, self.counts, out=means, where=self.counts > 0)
        return means

    @property
    def starts_s(self) -> Floats:
        return np.arange(len(self), dtype=np.float64) * self.width_s + self.start_s


class Sketch:
    """Values by their own times. One that is older than the very first counts in the first bucket: a single event
    of 1970 would else make all buckets years wide."""

    __slots__ = ("_count", "_first", "_high", "_last", "_low", "_sum", "_width_s")

    def __init__(self) -> None:
        self._width_s = FIRST_WIDTH_S
        # Bucket n, counted from the epoch, stands at n % MOST; first and last say which are there.
        self._first = 0
        self._last = -1
        self._count = np.zeros(MOST, dtype=np.int64)
        self._sum = np.zeros(MOST)
        self._low = np.full(MOST, np.inf)
        self._high = np.full(MOST, -np.inf)

    def add(self, times_s: Floats, values: Floats) -> None:
        """Finite values in the order in which they were read; times need not be in order."""
        start = 0
        while start < len(values):
            numbers = np.floor(times_s[start:] / self._width_s).astype(np.int64)
            if self._last < self._first:
                self._first = self._last = int(numbers[0])
            # What is after the first value that does not fit is added with the new width.
            beyond = np.flatnonzero(numbers >= self._first + MOST)
            fit = int(beyond[0]) if len(beyond) else len(numbers)
            if fit:
                self._put(np.maximum(numbers[:fit], self._first), values[start : start + fit])
                start += fit
            else:
                self._widen()

    def _put(self, numbers: npt.NDArray[np.int64], values: Floats) -> None:
        self._last = max(self._last, int(numbers.max()))
        at = numbers % MOST
        np.add.at(self._count, at, 1)
        with np.errstate(over="ignore"):
            np.add.at(self._sum, at, values)  # one after the other, as adding them one by one would
        np.minimum.at(self._low, at, values)
        np.maximum.at(self._high, at, values)

    def _widen(self) -> None:
        old = self.buckets()
        self._width_s *= 2.0
        numbers = (self._first + np.arange(len(old))) // 2
        self._first, self._last = int(numbers[0]), int(numbers[-1])
        at = numbers % MOST
        for pile, kept, was, none in (
            (np.add, self._count, old.counts, 0),
            (np.add, self._sum, old.sums, 0),
            (np.minimum, self._low, old.lows, np.inf),
            (np.maximum, self._high, old.highs, -np.inf),
        ):
            kept.fill(none)
            pile.at(kept, at, was)

    def buckets(self) -> Buckets:
        at = np.arange(self._first, self._last + 1) % MOST
        return Buckets(
            self._first * self._width_s,
            self._width_s,
            self._count[at],
            self._sum[at],
            self._low[at],
            self._high[at],
        )
