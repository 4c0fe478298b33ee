"""A watcher whose detector reads buckets of time (`every`), and whose eyes look at every event all the same.

A value that comes after its bucket was closed could not be used: it is counted so, and too many of them are blindness.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from streamwatch.buckets import Buckets
from streamwatch.config import Monitor
from streamwatch.detectors.base import Detector
from streamwatch.series import Floats, Kind, Reading
from streamwatch.signals import Signal
from streamwatch.watcher import Found, Rows, Watcher
from streamwatch.windows import touching

SHORT = 16  # runs of at most this many rows are read value by value: arrays cost more there


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
        """When a bucket closes is a matter of times, not of how many values come."""
        return 0

    def read(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        if len(rows) <= SHORT:
            return self._read_few(reading, times_s, rows)
        values = reading.values[rows]
        usable = ~np.isnan(values)
        at = np.flatnonzero(usable)
        taken = self.buckets.take(values[at], times_s[rows[at]])
        unusable = reading.unusable[rows]
        if taken.late is not None:
            unusable[at[taken.late]] = True
            usable[at[taken.late]] = False
        expected = reading.expected[rows] | unusable | usable
        self.unusable += int(unusable.sum())
        looks = self.eyes.read(usable[expected], unusable[expected])
        found = [Found(int(rows[expected][index]), look) for index, look in looks]
        closed = zip(
            taken.values.tolist(), taken.times_s.tolist(), rows[at[taken.positions]].tolist(), strict=True
        )
        return found + self._detect(closed)

    def _read_few(self, reading: Reading, times_s: Floats, rows: Rows) -> list[Found]:
        found: list[Found] = []
        for row in rows.tolist():
            value = float(reading.values[row])
            usable, unusable = value == value, bool(reading.unusable[row])  # NaN is not
            closed: list[tuple[float, float]] = []
            if usable:
                late, closed = self.buckets.take_one(value, float(times_s[row]))
                usable, unusable = not late, late
            elif not unusable and not reading.expected[row]:
                continue
            self.unusable += unusable
            look = self.eyes.read_one(usable, unusable)
            if look is not None:
                found.append(Found(row, look))
            found += self._detect((of, time_s, row) for of, time_s in closed)
        return found

    def _detect(self, closed: Iterable[tuple[float, float, int]]) -> list[Found]:
        """Closed buckets: value, time, and the row that closed it."""
        found: list[Found] = []
        for value, time_s, row in closed:
            if not self._whole(time_s):
                continue
            if self.sketch is not None:
                self.sketch.add(np.array([time_s]), np.array([value]))
            found += [Found(row, detection) for detection in self.detector.update_one(value, time_s)]
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
