"""Prediction events by column, stream keys, and dead letters: the values that the engine works on.

A field that is absent or null reads as None. Values are as JSON gave them: whether a value can be used is for the
signal to say, so that one bad value costs that value and not the event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streamwatch.records import Header, Message


class StreamKey(NamedTuple):
    """The unit of state. `version` None: all versions together. An empty segment is everything."""

    model: str
    version: str | None
    segment: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        version = (
            ""
            if self.version is None
            else f" version {self.version}"
            if self.version
            else " without a version"
        )
        segment = ", ".join(f"{name}={value}" for name, value in self.segment)
        return f"{self.model}{version}" + (f" ({segment})" if segment else "")


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """n events in the order of the task; every column has n entries.

    record      (n,) int64: row of the record in its batch (one record may give several events)
    time_s      (n,) float64: the event's own time, seconds since the epoch
    id          event ids, None where the event has none
    fields      columns "prediction", "score", "label", "latency_ms": only those that a monitor needs
    features    one column per feature that a monitor needs (`where` and `by` included)
    all_features  per event the whole mapping of features, when a monitor watches all of them; else None
    """

    record: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    id: Sequence[str | None]
    model: Sequence[str]
    version: Sequence[str | None]
    fields: Mapping[str, Sequence[Any]]
    features: Mapping[str, Sequence[Any]]
    all_features: Sequence[Mapping[str, Any] | None] | None = None

    def __len__(self) -> int:
        return len(self.model)

    def feature(self, name: str) -> Sequence[Any]:
        """The column of one feature; KeyError if no monitor said that it needs it."""
        column = self.features.get(name)
        if column is not None:
            return column
        if self.all_features is None:
            raise KeyError(name)
        return [None if row is None else row.get(name) for row in self.all_features]


@dataclass(frozen=True, slots=True, eq=False)
class LabelEvents:
    """m labels in the order of the task; see `Events`. `model` is None where a label names none; `label` is never."""

    record: npt.NDArray[np.int64]
    id: Sequence[str]
    model: Sequence[str | None]
    label: Sequence[Any]

    def __len__(self) -> int:
        return len(self.id)


NO_LABELS = LabelEvents(np.zeros(0, dtype=np.int64), (), (), ())


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be read, by its coordinates. `payload` is empty unless the config asks for it.

    code    one of: "not json", "not an object", "field missing", "field wrong", "time out of range",
            "not utf-8", "too deep", "empty"; on the control topic "not a command"
    field   the dotted path in the record, or "" for the record as a whole
    reason  a sentence: the field, what was expected, what came
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    code: str
    field: str
    reason: str
    payload: Mapping[str, Any] | None = None

    def message(self, service: str) -> Message:
        """As written to the dead-letter topic: JSON, keyed by `topic/partition`."""
        body: dict[str, Any] = {
            "schema": 1,
            "service": service,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp_ms": self.timestamp_ms,
            "code": self.code,
            "field": self.field,
            "reason": self.reason,
        }
        if self.payload is not None:
            body["payload"] = self.payload
        headers: tuple[Header, ...] = (("content-type", b"application/json; charset=UTF-8"),)
        return Message(f"{self.topic}/{self.partition}".encode(), msgspec.json.encode(body), headers)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A batch after decoding: every record is in exactly one of events, dead letters, ignored, tombstones."""

    events: Events
    dead_letters: Sequence[DeadLetter] = ()
    ignored: int = 0
    tombstones: int = 0
    labels: LabelEvents = NO_LABELS


@dataclass(frozen=True, slots=True)
class Needs:
    """What the monitors of a config read of an event: the decoder reads only this."""

    fields: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()
    all_features: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.fields | other.fields,
            self.features | other.features,
            self.all_features or other.all_features,
        )
