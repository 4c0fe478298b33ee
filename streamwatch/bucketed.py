"""A watcher whose detector reads buckets of time (`every`), and whose eyes look at every event all the same.

A value that comes after its bucket was closed could not be used: it is counted so, and too many of them are blindness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from streamwatch.buckets import Buckets, Taken
from streamwatch.config import Monitor
from streamwatch.detectors.base import Detector
from streamwatch.series import Floats, Kind, Reading
from streamwatch.signals import Signal
from streamwatch.watcher import Found, Rows, Watcher
from streamwatch.windows import touching

MOST_HELD = 64  # values that wait until they are read
SHORT = 8  # runs of at most this many rows are read value by value: arrays cost more there


class Bucketed(Watcher):
    """`kind`: of the values that the detector reads."""

    __slots__ = ("buckets",)

    def __init__(
        self,
        monitor: Monitor,
        position: int,
        signal: Signal,
        detector: Detector,
        digest: str,
        kind: Kind = "real",
    ) -> None:
        super().__init__(monitor, position, signal, detector, digest)
        assert monitor.every is not None
        self.buckets = Buckets(monitor.every, kind)

    @property
    def quiet(self) -> int:
        """As that of a watcher, of values whose times are within `quiet_s`: no bucket closes there."""
        return 0 if self.applied.skips or self.eyes.blind else MOST_HELD

    @property
    def quiet_s(self) -> tuple[float, float]:
        return self.buckets.quiet_s

    @property
    def waiting(self) -> int:
        if self.held is not None:
            self.held.flush()
        return self.buckets.waiting

    def read_quiet(self, values: Floats, times_s: Floats) -> None:
        taken, looks = self.buckets.take(values, times_s), self.eyes.read_usable(len(values))
        if looks or taken.late is not None or len(taken.values):
            raise RuntimeError(f"{self.label}: {looks} {taken} in what was said to be quiet")

    def read(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        if len(rows) <= SHORT:
            return self._read_few(reading, times_s, rows)
        values, times_s = reading.values[rows], times_s[rows]
        if reading.whole:
            taken = self.buckets.take(values, times_s)
            if taken.late is None:
                found = [Found(int(rows[at]), look) for at, look in self.eyes.read_usable(len(rows))]
                return found + self._closed(taken, rows)
            usable, read = np.ones(len(rows), dtype=np.bool_), np.arange(len(rows))
        else:
            usable = ~np.isnan(values)
            read = np.flatnonzero(usable)
            taken = self.buckets.take(values[read], times_s[read])
        unusable = reading.unusable[rows]
        if taken.late is not None:
            unusable[read[taken.late]] = True
            usable[read[taken.late]] = False
        self.unusable += int(unusable.sum())
        expected = reading.expected[rows] | unusable | usable
        looks = self.eyes.read(usable[expected], unusable[expected])
        found = [Found(int(rows[expected][index]), look) for index, look in looks]
        return found + self._closed(taken, rows[read])

    def _closed(self, taken: Taken, rows: Rows) -> list[Found]:
        if not len(taken.values):
            return []
        at = rows[taken.positions].tolist()
        return self._detect(zip(taken.values.tolist(), taken.times_s.tolist(), at, strict=True))

    def _read_few(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        found: list[Found] = []
        columns = reading.values[rows].tolist(), times_s[rows].tolist(), rows.tolist()
        for value, time_s, row in zip(*columns, strict=True):
            usable, unusable = value == value, False  # NaN is not
            closed: list[tuple[float, float]] = []
            if usable:
                unusable, closed = self.buckets.take_one(value, time_s)
                usable = not unusable
            else:
                unusable = bool(reading.unusable[row])
                if not unusable and not reading.expected[row]:
                    continue
            self.unusable += unusable
            look = self.eyes.read_one(usable, unusable)
            if look is not None:
                found.append(Found(row, look))
            if closed:
                found += self._detect((of, start_s, row) for of, start_s in closed)
        return found

    def _detect(self, closed: Iterable[tuple[float, float, int]]) -> list[Found]:
        """Closed buckets: value, time, and the row that closed it."""
        found: list[Found] = []
        for value, time_s, row in closed:
            if not self._whole(time_s):
                continue
            if self.sketch is not None:
                self.sketch.add(np.array([time_s]), np.array([value]))
            found += self._detected_one(value, time_s, row)
        return found

    def _whole(self, start_s: float) -> bool:
        """What is counted only in part, because a window lets some of its events be skipped, is no rate."""
        every = self.buckets.every
        if every.stat != "count" or not self.applied.skips:
            return True
        return not touching(self.applied.skips, start_s, start_s + every.length)

    def dump(self) -> dict[str, Any]:
        return {**super().dump(), "buckets": self.buckets.dump()}

    @classmethod
    def load(
        cls, dump: Mapping[str, Any], monitor: Monitor, position: int, signal: Signal, kind: Kind
    ) -> Bucketed:
        watcher = super().load(dump, monitor, position, signal, kind)
        assert isinstance(watcher, Bucketed)
        watcher.buckets = Buckets.load(watcher.buckets.every, kind, dump.get("buckets"))
        return watcher
