"""What a detector is: it watches one signal of one stream key and says when its level has changed.

A detector sees usable values only (finite, and of the kind that it accepts); counting what is unusable is the
engine's. It has no clock and no randomness without a seed, and its results do not depend on how its values are cut
into calls. Its state is plain data: dicts, lists, numbers, strings, bytes; never pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from streamwatch.series import Floats, Kind

Direction = Literal["up", "down"]
Watched = Literal["up", "down", "both"]
Plain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Level:
    """A mean and the number of values that it rests on."""

    mean: float
    n: int


@dataclass(frozen=True, slots=True)
class Detection:
    """A change of level, found at one value.

    position           index, in the array given to `update`, of the value that gave it away
    before, after      the level up to the onset and since
    onset_time_s       time of the first value of the new level (an estimate)
    onset_uncertain_s  the change may have begun this much earlier or later
    statistic          the detector's own statistic at the detection, where it has one
    name               which of several things changed (a category), "" for a detector of one thing
    """

    position: int
    direction: Direction
    before: Level
    after: Level
    onset_time_s: float
    onset_uncertain_s: float
    statistic: float | None = None
    name: str = ""


class Detector(Protocol):
    def update(self, values: Floats, times_s: Floats) -> list[Detection]:
        """Read n values with their event times, both (n,) float64; the detections in order of position.

        ValueError if a value is not finite: nothing of the call has been read then.
        """

    def update_one(self, value: float, time_s: float) -> list[Detection]:
        """The same for one value, position 0, without the cost of arrays."""

    def dump(self) -> Plain:
        """The whole state as plain data (msgpack can write it)."""

    @property
    def level(self) -> Level:
        """The present level: the mean since the last onset or start; n = 0 and NaN before the first value."""

    @property
    def statistic(self) -> float | None:
        """The detector's own statistic now, for the metrics; None where it has none."""

    @property
    def warm(self) -> bool:
        """False while the detector cannot alarm yet (too few values since its start or its last detection)."""

    @property
    def needs(self) -> int:
        """So many values more, at least, until it has seen enough; 0: it has. Before that it detects nothing."""

    @property
    def quiet(self) -> int:
        """In so many values more it will detect nothing, whatever they are; 0: nothing is known of the next one."""


class DetectorConfig(BaseModel):
    """The settings of a detector: one class per detector, which builds it.

    `accepts` says which kinds of values make sense. `state_version` goes up when `dump` changes its meaning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepts: ClassVar[frozenset[Kind]]
    counts: ClassVar[str] = "values"  # what it needs some of before it can alarm
    state_version: ClassVar[int]

    @property
    def label(self) -> str:
        """The name used in the config and in alerts."""
        raise NotImplementedError

    def build(self, kind: Kind, watched: Watched, reference: Any = None) -> Detector:
        """A fresh detector for values of `kind`; alarms only in the `watched` direction.

        `reference` is a slot: the profile of the accepted data, for detectors that compare with it.
        """
        raise NotImplementedError

    def load(self, kind: Kind, watched: Watched, dump: Plain, reference: Any = None) -> Detector:
        """A detector that goes on from `dump`. StateDamaged if it is not what `dump` wrote."""
        raise NotImplementedError
