"""What passes through an engine in one batch: events, and outcomes at the places where they are read, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamwatch.alerts import Labels
from streamwatch.coded import coded
from streamwatch.events import Events
from streamwatch.records import Batch, Source
from streamwatch.series import Bools, Floats

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """k outcomes in the order in which they are read.

    before    (k,) row of the event before which each is read; n = after all
    passed    (k,) whether stream time has come to that event's already (matured), or not yet (a label came)
    stream_s  (k,) stream time at which it is read
    time_s, source, offset  of the prediction; `source` indexes `sources`
    model, version, fields, features  as in `Events`
    """

    before: Rows
    passed: Bools
    stream_s: Floats
    time_s: Floats
    sources: tuple[Source, ...]
    source: npt.NDArray[np.int32]
    offset: Rows
    model: Sequence[str]
    version: Sequence[str | None]
    fields: dict[str, Sequence[Any]]
    features: dict[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.before)


def _no_labels(model: str, row: int) -> Labels | None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """n rows, each an event or an outcome.

    outcome   (n,) which are outcomes; None: none
    source, offset  of the record of each row; `source` indexes `sources`
    stream_s  (n,) stream time at each row, ascending
    arrived_s (n,) the time of the record of an event; below 0 if it has none, and of outcomes
    labels    how the labels of a model stood at a row: for alerts of performance
    """

    events: Events
    outcome: Bools | None
    sources: tuple[Source, ...]
    source: npt.NDArray[np.int32]
    offset: Rows
    stream_s: Floats
    arrived_s: Floats
    labels: Callable[[str, int], Labels | None] = _no_labels

    def __len__(self) -> int:
        return len(self.events)


def _arrived_s(batch: Batch, events: Events) -> Floats:
    return batch.timestamp_ms[events.record] / 1000.0


def plain(batch: Batch, events: Events, stream_s: Floats) -> Traffic:
    """Events alone."""
    return Traffic(
        events,
        None,
        batch.sources,
        batch.source[events.record],
        batch.offset[events.record],
        stream_s,
        _arrived_s(batch, events),
    )


def merged(batch: Batch, events: Events, stream_s: Floats, outcomes: Outcomes) -> tuple[Traffic, Rows]:
    """Events and outcomes in the order of reading; and the new row of each event."""
    n, k = len(events), len(outcomes)
    place = np.concatenate((outcomes.before, np.arange(n)))
    kind = np.concatenate((outcomes.passed.astype(np.int8), np.full(n, 2, dtype=np.int8)))
    order = np.lexsort((np.arange(n + k), kind, place))
    new = np.empty(n + k, dtype=np.int64)
    new[order] = np.arange(n + k)

    def joined(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
        both = [*one, *other]
        return [both[row] for row in order.tolist()]

    nothing: list[Any] = [None] * k
    whole = Events(
        np.concatenate((np.full(k, -1, dtype=np.int64), events.record))[order],
        np.concatenate((outcomes.time_s, events.time_s))[order],
        joined(nothing, events.id),
        coded(joined(outcomes.model, events.model)),
        coded(joined(outcomes.version, events.version)),
        {name: joined(outcomes.fields.get(name, nothing), column) for name, column in events.fields.items()},
        {name: joined(outcomes.features.get(name, nothing), col) for name, col in events.features.items()},
        None if events.all_features is None else joined(nothing, events.all_features),
    )
    sources = tuple(dict.fromkeys((*batch.sources, *outcomes.sources)))
    theirs = np.array([sources.index(source) for source in outcomes.sources], dtype=np.int32)
    source = np.concatenate((theirs[outcomes.source], batch.source[events.record]))[order]
    traffic = Traffic(
        whole,
        order < k,
        sources,
        source.astype(np.int32),
        np.concatenate((outcomes.offset, batch.offset[events.record]))[order],
        np.concatenate((outcomes.stream_s, stream_s))[order],
        np.concatenate((np.full(k, -1.0), _arrived_s(batch, events)))[order],
    )
    return traffic, new[k:]
