"""The stories: common faults of production, each as what it does to the features of one flight.

None of them breaks a schema: every value keeps its name and its type, and is one that might be. A fault is upstream
of the model, so the model really scores what the fault made of a flight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamwatch.demo.flights import Features
from streamwatch.errors import OperatorError

KM_PER_MILE = 1.609344

# What the fault makes of a flight's features; the second are those of the flight before it.
Fault = Callable[[Features, Features], Features]


@dataclass(frozen=True, slots=True)
class Story:
    """`what`: what happens upstream, one line. `unseen`: why checks of schema and range pass. `alarms`: the monitor
    of the config that must ring, and no other may."""

    name: str
    title: str
    what: str
    unseen: str
    alarms: str
    fault: Fault


def _kilometres(own: Features, _: Features) -> Features:
    return {**own, "distance": float(round(_number(own, "distance") * KM_PER_MILE))}


def _zero(own: Features, _: Features) -> Features:
    return {**own, "plane_age": 0 if own["plane_age"] is None else own["plane_age"]}


def _renamed(own: Features, _: Features) -> Features:
    return {**own, "carrier": "United" if own["carrier"] == "UA" else own["carrier"]}


def _pacific(own: Features, _: Features) -> Features:
    return {**own, "hour": int(_number(own, "hour") - 3) % 24}


def _shuffled(own: Features, before: Features) -> Features:
    return {**own, "dep_delay": before["dep_delay"]}


def _number(features: Features, name: str) -> float:
    value = features[name]
    assert isinstance(value, float | int)
    return value


STORIES = (
    Story(
        "unit-change",
        "a feature changes its unit: miles become kilometres",
        "A release of the route service sends `distance` in kilometres; the model learnt miles.",
        "1,670 is a distance as good as 1,040: right name, right type, in range.",
        "distance",
        _kilometres,
    ),
    Story(
        "null-default",
        "what was missing becomes 0",
        "The fleet service moves to a format without null: an unknown `plane_age` now arrives as 0.",
        "The field is a number, and is filled more often than ever: checks of completeness turn greener.",
        "plane-age-missing",
        _zero,
    ),
    Story(
        "renamed-category",
        "a category gets another name",
        "The timetable service writes the carrier `UA` as `United`; the model has no weight for that name.",
        "Still a text, still one of a dozen values. The model does not fail: it takes the carrier for none it knows.",
        "carrier-UA",
        _renamed,
    ),
    Story(
        "time-zone",
        "hours in another time zone",
        "The timetable service moves to machines in Oregon: `hour` is now Pacific time, three hours less.",
        "Every hour is one from 0 to 23.",
        "hour",
        _pacific,
    ),
    Story(
        "silent-quality",
        "the inputs look the same, and the model is wrong more often",
        "A join is off by one row: each flight gets the `dep_delay` of the flight before it in the table.",
        "Each value is a real one, and every histogram stays as it was: only the outcomes tell.",
        "error-rate",
        _shuffled,
    ),
)


def story(name: str) -> Story:
    for one in STORIES:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in STORIES)
    raise UnknownStory(f"there is no story {name!r}: there are {names}. To do: streamwatch demo --list")


class UnknownStory(OperatorError):
    exit_code = 2
