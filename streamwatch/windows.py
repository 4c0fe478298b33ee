"""Windows: times in which alerts are muted (written, but marked), or in which detectors do not read.

A window stands in the config, or comes as a command: a silence mutes, a pause lets skip. Times are half open, [from,
to): the end belongs to the time after. Alerts are judged by their own time, values by the time of their event.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from streamwatch.alerts import rfc3339
from streamwatch.matchers import Matcher, MatcherText, matchers
from streamwatch.series import Bools, Floats
from streamwatch.times import epoch_s

Do = Literal["mute", "skip"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NEVER = float("inf")
LATEST_S = 253_370_764_800.0  # the beginning of the year 9999: a local time of later may be none
FAR_S = 7 * 86_400.0
FOREVER_S = 400 * 86_400.0  # windows that follow on each other for longer than that have no end

Interval = tuple[float, float]


def moment_s(value: object) -> float:
    """A moment as a config or a command says it: RFC 3339, with a zone. Seconds since the epoch; such seconds are taken
    as they are."""
    if isinstance(value, float):
        if not 0 <= value <= 253_402_300_799:
            raise ValueError(f"expected a moment like 2026-11-27T08:00:00Z, got {value!r}")
        return value
    if isinstance(value, str) and value[-1:] not in ("Z", "z") and value[-6:-5] not in ("+", "-"):
        raise ValueError(f"expected a moment with its zone, like 2026-11-27T08:00:00Z, got {value!r}")
    if not isinstance(value, str):
        raise ValueError(f"expected a moment like 2026-11-27T08:00:00Z, got {value!r}")  # noqa: TRY004
    try:
        time_s = epoch_s(value)
    except ValueError:
        raise ValueError(f"expected a moment like 2026-11-27T08:00:00Z, got {value!r}") from None
    if not 0 <= time_s <= 253_402_300_799:
        raise ValueError(f"expected a moment from 1970 to 9999, got {value!r}")
    return time_s


Moment = Annotated[
    float,
    BeforeValidator(moment_s),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-27T08:00:00Z"]}),
]


def _clock(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError(f"expected a time of day like 22:00, got {value!r}")
    return value


Clock = Annotated[
    str,
    BeforeValidator(_clock),
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$", "examples": ["22:00"]}),
]


class Times(Protocol):
    """When a window is: at least the intervals that touch [from_s, to_s], in order."""

    def intervals(self, from_s: float, to_s: float) -> Iterator[Interval]: ...

    def next_from(self, after_s: float) -> Interval | None:
        """The first interval that begins after a moment."""


@dataclass(frozen=True, slots=True)
class Once:
    from_s: float
    to_s: float

    def intervals(self, from_s: float, to_s: float) -> Iterator[Interval]:
        if self.from_s <= to_s and from_s < self.to_s:
            yield self.from_s, self.to_s

    def next_from(self, after_s: float) -> Interval | None:
        return (self.from_s, self.to_s) if self.from_s > after_s else None


class Weekly(BaseModel):
    """Every week at the same local times. An end that is not after the beginning is on the next day. A time that a
    change of the clocks skips is read as an hour earlier or later, so a window that lies in that hour may be none."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    days: tuple[Day, ...] = Field(DAYS, min_length=1, description="on which days it begins; default: all")
    from_: Clock = Field(alias="from", description='"22:00", local time')
    to: Clock = Field(description='"04:30", local time')
    zone: str = Field("UTC", description="a name of the IANA time zone database, like Europe/Berlin")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"expected a time zone like Europe/Berlin or UTC, got {zone!r}") from None
        return zone

    def intervals(self, from_s: float, to_s: float) -> Iterator[Interval]:
        if from_s > LATEST_S or to_s < 0:
            return
        zone = ZoneInfo(self.zone)
        day = dt.datetime.fromtimestamp(max(0.0, from_s), zone).date() - dt.timedelta(days=1)
        last = dt.datetime.fromtimestamp(min(to_s, LATEST_S), zone).date()
        while day <= last:
            if DAYS[day.weekday()] in self.days:
                begin_s, end_s = self._on(day, zone)
                if begin_s <= to_s and from_s < end_s and begin_s < end_s:
                    yield begin_s, end_s
            day += dt.timedelta(days=1)

    def _on(self, day: dt.date, zone: ZoneInfo) -> Interval:
        begin, end = dt.time.fromisoformat(self.from_), dt.time.fromisoformat(self.to)
        end_day = day if end > begin else day + dt.timedelta(days=1)
        return (
            dt.datetime.combine(day, begin, zone).timestamp(),
            dt.datetime.combine(end_day, end, zone).timestamp(),
        )

    def next_from(self, after_s: float) -> Interval | None:
        within_s = 15 * 86_400.0  # a change of the clocks may swallow one
        found = (one for one in self.intervals(after_s, after_s + within_s) if one[0] > after_s)
        return next(found, None)


class InForce(NamedTuple):
    """A window, wherever it came from. `name` is a silence's or pause's id."""

    name: str
    do: Do
    matchers: tuple[Matcher, ...]
    times: Times
    reason: str | None = None
    author: str | None = None

    def interval(self, time_s: float) -> Interval | None:
        """The interval that holds this moment."""
        return next((one for one in self.times.intervals(time_s, time_s) if one[0] <= time_s < one[1]), None)


class Window(BaseModel):
    """A window of the config: once (`from` and `to`), or `weekly`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$", description="stands in muted alerts")
    do: Do = Field("mute", description="mute: alerts are written, but marked; skip: detectors do not read")
    match: tuple[MatcherText, ...] = Field(
        (), description="of what, like monitor=score or model!=fraud, all of them; default: everything"
    )
    from_: Moment | None = Field(None, alias="from", description="with `to`: once, from this moment on")
    to: Moment | None = Field(None, description="up to this moment, not with it")
    weekly: Weekly | None = Field(None, description="or every week: days, from, to, zone")
    reason: str | None = Field(None, max_length=500, description="why; stands in muted alerts")

    @model_validator(mode="after")
    def _when(self) -> Self:
        once = self.from_ is not None and self.to is not None
        if once is (self.weekly is not None) or (self.from_ is None) is not (self.to is None):
            raise ValueError("expected either `from` and `to`, or `weekly`")
        if self.from_ is not None and self.to is not None and self.to <= self.from_:
            raise ValueError(f"`to` ({rfc3339(self.to)}) is not after `from` ({rfc3339(self.from_)})")
        return self

    @property
    def in_force(self) -> InForce:
        times: Times | None = self.weekly
        if times is None:
            assert self.from_ is not None
            assert self.to is not None
            times = Once(self.from_, self.to)
        return InForce(self.name, self.do, matchers(self.match), times, self.reason)


# ---- what several windows say together


def covering(windows: Sequence[InForce], time_s: float) -> InForce | None:
    """The first window that holds this moment."""
    return next((window for window in windows if window.interval(time_s)), None)


def covered_until(windows: Sequence[InForce], time_s: float) -> float:
    """The moment until which the windows cover all time from this moment on; the moment itself if none does."""
    end_s = time_s
    while end_s - time_s < FOREVER_S:
        ends = [interval[1] for window in windows if (interval := window.interval(end_s))]
        if not ends:
            return end_s
        end_s = max(ends)
    return NEVER


def next_covered(windows: Sequence[InForce], after_s: float) -> float:
    """When the next window begins; `NEVER` if none does."""
    begins = [interval[0] for window in windows if (interval := window.times.next_from(after_s))]
    return min(begins, default=NEVER)


def outside(windows: Sequence[InForce], since_s: float, length_s: float) -> float:
    """When so much time has passed since a moment, not counting what windows cover."""
    at_s = covered_until(windows, since_s)
    while (begin_s := next_covered(windows, at_s)) < at_s + length_s:
        length_s -= begin_s - at_s
        at_s = covered_until(windows, begin_s)
    return at_s + length_s


def touching(windows: Sequence[InForce], from_s: float, to_s: float) -> bool:
    """Whether some window holds a moment of [from_s, to_s)."""
    return any(
        begin_s < to_s and from_s < end_s
        for window in windows
        for begin_s, end_s in window.times.intervals(from_s, to_s)
    )


def covered(windows: Sequence[InForce], times_s: Floats) -> Bools | None:
    """Which of these moments some window holds; None if none of them."""
    if not windows or not len(times_s):
        return None
    found = np.zeros(len(times_s), dtype=np.bool_)
    in_order = np.sort(times_s)
    # One event of 1970 among those of today: the years between them hold no moment, but windows without number.
    for part in np.split(in_order, np.flatnonzero(np.diff(in_order) > FAR_S) + 1):
        for window in windows:
            for begin_s, end_s in window.times.intervals(float(part[0]), float(part[-1])):
                found |= (times_s >= begin_s) & (times_s < end_s)
    return found if found.any() else None
