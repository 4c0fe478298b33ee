"""An alarm: a change detector that says only when. `guard` adds what, how much and since when.

`Flipped` and `Pair` give one-sided alarms, which ring when errors get more, a direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from streamwatch.detectors import checked
from streamwatch.detectors.base import Watched


class Alarm(Protocol):
    """Starts afresh by itself with the first value after it rang (River's behaviour); until then it shows what rang."""

    def read(self, values: Iterator[float]) -> bool:
        """Read on until it rings (True: the last value taken rang it) or nothing is left (False)."""

    def read_one(self, value: float) -> bool: ...

    def start(self) -> None:
        """Forget everything."""

    @property
    def direction(self) -> Watched:
        """Which change rang it last; both: it does not know."""

    @property
    def statistic(self) -> float | None: ...

    @property
    def warm(self) -> bool:
        """False only if the next value cannot ring it."""

    @property
    def needs(self) -> int:
        """So many values more, at least, until it has seen enough; 0: it has. Before that it does not ring."""

    @property
    def quiet(self) -> int:
        """So many values more cannot ring it, whatever they are; 0: nothing is known of the next one."""

    def dump(self) -> dict[str, Any]: ...

    def load(self, dump: Any) -> None:
        """Into a fresh alarm of the same settings; StateDamaged if it is not what `dump` wrote."""


class Flipped:
    """Reads 1 - x: an alarm for more ones becomes one for fewer. `direction`: what its ringing means of x."""

    def __init__(self, alarm: Alarm, direction: Watched) -> None:
        self._alarm = alarm
        self.direction: Watched = direction
        self.start = alarm.start
        self.dump = alarm.dump
        self.load = alarm.load

    def read(self, values: Iterator[float]) -> bool:
        return self._alarm.read(map((1.0).__sub__, values))

    def read_one(self, value: float) -> bool:
        return self._alarm.read_one(1.0 - value)

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


class Pair:
    """Two one-sided alarms on the same values. When one rings both start afresh: the new level is the base of both."""

    def __init__(self, up: Alarm, down: Alarm) -> None:
        self._up = up
        self._down = down
        self.direction: Watched = "both"

    def read(self, values: Iterator[float]) -> bool:
        up, down = self._up.read_one, self._down.read_one
        for value in values:
            rose, fell = up(value), down(value)
            if rose or fell:
                self._rang(rose, fell)
                return True
        return False

    def read_one(self, value: float) -> bool:
        rose, fell = self._up.read_one(value), self._down.read_one(value)
        if rose or fell:
            self._rang(rose, fell)
            return True
        return False

    def _rang(self, rose: bool, fell: bool) -> None:
        self.direction = "both" if rose and fell else "up" if rose else "down"
        if not rose:
            self._up.start()
        if not fell:
            self._down.start()

    def start(self) -> None:
        self._up.start()
        self._down.start()

    @property
    def statistic(self) -> float | None:
        """The greater one: all one-sided alarms ring above a threshold."""
        return max((s for s in (self._up.statistic, self._down.statistic) if s is not None), default=None)

    @property
    def warm(self) -> bool:
        return self._up.warm or self._down.warm

    @property
    def needs(self) -> int:
        return min(self._up.needs, self._down.needs)

    @property
    def quiet(self) -> int:
        return min(self._up.quiet, self._down.quiet)

    def dump(self) -> dict[str, Any]:
        return {"up": self._up.dump(), "down": self._down.dump()}

    def load(self, dump: Any) -> None:
        self._up.load(checked.entry(dump, "up"))
        self._down.load(checked.entry(dump, "down"))
