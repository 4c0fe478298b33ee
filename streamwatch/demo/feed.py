"""The events of a story: what the model said of each flight, as its log writes it when the flight has landed.

Flights, features, scores and outcomes are real. The data does not say when an event was logged, so that is ours: the
flights of a day come in an arbitrary, fixed order, evenly over the day.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from streamwatch.alerts import rfc3339
from streamwatch.demo.flights import Flight, between, flights
from streamwatch.demo.model import NAME, VERSION, Model, trained
from streamwatch.demo.stories import Story

LEARNT = (dt.date(2013, 8, 15), dt.date(2013, 9, 13))
SERVED = (dt.date(2013, 9, 14), dt.date(2013, 9, 21))
BEGINS = dt.datetime(2013, 9, 20, 17, tzinfo=dt.UTC)
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Feed:
    """n events in the order of their times (seconds since the epoch, to the millisecond); the fault is in those from
    `began` on (n: in none)."""

    times_s: Sequence[float]
    events: Sequence[dict[str, Any]]
    began: int

    def __len__(self) -> int:
        return len(self.events)

    def value(self, row: int) -> bytes:
        """As it stands in its record."""
        return msgspec.json.encode(self.events[row])

    def again(self, row: int, round_: int, time_s: float) -> bytes:
        """The same event of a later round, as if it were logged at `time_s`."""
        event = self.events[row]
        return msgspec.json.encode(
            {**event, "event_id": f"{event['event_id']}-{round_}", "timestamp": rfc3339(time_s)}
        )

    @property
    def errors(self) -> tuple[float, float]:
        """The share of wrong predictions before the fault and since."""
        wrong = [event["prediction"] != event["label"] for event in self.events]
        since = wrong[self.began :]
        return sum(wrong[: self.began]) / max(1, self.began), sum(since) / max(1, len(since))


class Airline:
    """The model in production and the flights that it serves. Read and trained once, when first asked."""

    def __init__(self, served: tuple[dt.date, dt.date] = SERVED) -> None:
        self._served = served

    @cached_property
    def _all(self) -> list[Flight]:
        return flights(LEARNT[0], self._served[1])

    @cached_property
    def learnt(self) -> list[Flight]:
        return between(self._all, *LEARNT)

    @cached_property
    def model(self) -> Model:
        return trained(self.learnt)

    @cached_property
    def _placed(self) -> list[tuple[float, Flight]]:
        return placed(between(self._all, *self._served))

    def feed(self, story: Story | None, begins: dt.datetime = BEGINS, lasts_s: float = DAY_S) -> Feed:
        """With the story's fault from `begins` on, and its end `lasts_s` later; or, without one, all served."""
        served = self._placed
        times_s = [time_s for time_s, _ in served]
        began = end = len(served)
        if story is not None:
            since_s = begins.timestamp()
            began = sum(time_s < since_s for time_s in times_s)
            end = sum(time_s < since_s + lasts_s for time_s in times_s)
        rows = [flight.features for _, flight in served[:end]]
        seen = rows[:began]
        if story is not None:
            seen = seen + [story.fault(rows[row], rows[row - 1]) for row in range(began, end)]
        scores = self.model.scores(seen)
        events = [
            {
                "event_id": flight.name,
                "model": NAME,
                "model_version": VERSION,
                "timestamp": rfc3339(time_s),
                "prediction": int(score > 0.5),
                "score": round(score, 6),
                "label": int(flight.late),
                "features": dict(features),
            }
            for (time_s, flight), features, score in zip(served[:end], seen, scores.tolist(), strict=True)
        ]
        return Feed(times_s[:end], events, began)


def placed(served: Sequence[Flight]) -> list[tuple[float, Flight]]:
    """Each with its time. The order within a day is that of a hash of the names."""
    of_day: dict[dt.date, list[Flight]] = {}
    for flight in served:
        of_day.setdefault(flight.day, []).append(flight)
    found = []
    for day in sorted(of_day):
        midnight_s = dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()
        mixed = sorted(of_day[day], key=lambda flight: hashlib.sha256(flight.name.encode()).digest())
        for number, flight in enumerate(mixed):
            found.append((midnight_s + round(DAY_S * number / len(mixed), 3), flight))
    return found
