"""The guarded detector: an alarm that reads only what it can read, and says direction, size and onset.

What the guard adds to an alarm:
1. A value that is not finite, or not of the kind, is refused before anything of the call is read. (River's detectors
   read it, and most of them never alarm again.)
2. Each ringing is explained by the history: the best split into two levels, in the direction of the alarm if any split
   shows it. (One of PageHinkley with strong forgetting may have no such split; the data's direction holds then.)
3. Only the watched direction is told. The alarm starts afresh in any case, as River does, and the history with it,
   from the onset on: the new level is the base.
4. Numbers beyond 1e100 count as 1e100: their squares would be infinite, which is rule 1 by another door.
"""

from __future__ import annotations

from operator import length_hint
from typing import Any

import numpy as np

from streamwatch.detectors import checked
from streamwatch.detectors.alarm import Alarm
from streamwatch.detectors.base import Detection, Level, Plain, Watched
from streamwatch.detectors.history import History
from streamwatch.series import Floats, Kind

GREATEST = 1e100


class Guarded:
    def __init__(self, alarm: Alarm, kind: Kind, watched: Watched) -> None:
        self._alarm = alarm
        self._kind = kind
        self._watched = watched
        self._history = History()

    def update(self, values: Floats, times_s: Floats) -> list[Detection]:
        n = len(values)
        if len(times_s) != n:
            raise ValueError(f"{n} values with {len(times_s)} times")
        if n == 0:
            return []
        least, greatest = float(values.min()), float(values.max())  # NaN if one is
        if not self._readable(values, least, greatest):
            self._refuse(values)
        if least < -GREATEST or greatest > GREATEST:
            values = np.clip(values, -GREATEST, GREATEST)
        numbers: list[float] = values.tolist()
        left = iter(numbers)
        found: list[Detection] = []
        start = 0
        while start < n and self._alarm.read(left):  # reading nothing would end the showing of what rang
            stop = n - length_hint(left)
            self._history.extend(numbers, times_s, start, stop)
            self._explain(stop - 1, found)
            start = stop
        self._history.extend(numbers, times_s, start, n)
        return found

    def update_one(self, value: float, time_s: float) -> list[Detection]:
        if self._kind == "binary":
            if value not in (0.0, 1.0):
                self._refuse(np.array([value]))
        elif self._kind == "unit":
            if not 0.0 <= value <= 1.0:
                self._refuse(np.array([value]))
        elif not -np.inf < value < np.inf:
            self._refuse(np.array([value]))
        elif not -GREATEST <= value <= GREATEST:
            value = GREATEST if value > 0 else -GREATEST
        rang = self._alarm.read_one(value)
        self._history.add(value, time_s)
        found: list[Detection] = []
        if rang:
            self._explain(0, found)
        return found

    def _readable(self, values: Floats, least: float, greatest: float) -> bool:
        if self._kind == "real":
            return least > -np.inf and greatest < np.inf
        if not (least >= 0.0 and greatest <= 1.0):
            return False
        return self._kind == "unit" or bool(((values == 0.0) | (values == 1.0)).all())

    def _refuse(self, values: Floats) -> None:
        good = np.isfinite(values)
        wanted = "a finite number"
        if self._kind == "unit":
            good &= (values >= 0.0) & (values <= 1.0)
            wanted = "a number from 0 to 1"
        elif self._kind == "binary":
            good &= (values == 0.0) | (values == 1.0)
            wanted = "0 or 1"
        at = int(np.argmin(good))
        raise ValueError(
            f"value {at} of {len(values)}: expected {wanted}, got {values[at]!r}; nothing was read"
        )

    def _explain(self, position: int, found: list[Detection]) -> None:
        split = self._history.split(self._alarm.direction) or self._history.split("both")
        if split is None:
            return
        self._history.cut(split.at)
        if self._watched in ("both", split.direction):
            found.append(
                Detection(
                    position,
                    split.direction,
                    split.before,
                    split.after,
                    split.onset_time_s,
                    split.onset_uncertain_s,
                    self._alarm.statistic,
                )
            )

    @property
    def level(self) -> Level:
        return self._history.level

    @property
    def statistic(self) -> float | None:
        return self._alarm.statistic

    @property
    def warm(self) -> bool:
        return self._alarm.warm

    @property
    def needs(self) -> int:
        return self._alarm.needs

    @property
    def quiet(self) -> int:
        return self._alarm.quiet

    def dump(self) -> Plain:
        return {"alarm": self._alarm.dump(), "history": self._history.dump()}

    def load(self, dump: Any) -> None:
        """Into a fresh detector of the same settings; StateDamaged if it is not what `dump` wrote."""
        low, high = (-GREATEST, GREATEST) if self._kind == "real" else (0.0, 1.0)
        self._alarm.load(checked.entry(dump, "alarm"))
        self._history = History.load(checked.entry(dump, "history"), low, high)
