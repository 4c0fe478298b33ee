"""Records to events: each input's mapping compiled to a decoder that reads only what the monitors need.

Only what identifies an event can make it a dead letter: the record itself, model, id, version, time. A value
that cannot be used stands in its column as it came, or as `fields.Unusable`; whether it counts is for the signal
to say. Rules; the first that holds gives the reason:

1. A record of a topic that no input names is ignored (a recording may hold more), and so is one that `only` leaves
   out. A record without a value (tombstone) is counted.
2. The record is empty, too deep, no UTF-8, no JSON, no object.
3. model is missing, empty, no text or number, or longer than 1,024 characters; the same for id and version,
   which may be missing (empty counts as missing). Numbers are written as text.
4. time is no time, or outside [1970, record time + ahead]. Without a time the record's own counts. A record
   without a timestamp (negative, as in a bare file of events) bounds nothing.

A label needs its id; one that is not there yet (null) is ignored. Its model may be missing, and its time is not read.
Nothing here depends on how records fall into batches.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from streamwatch.coded import coded
from streamwatch.columns import Columns, Rows
from streamwatch.errors import SenderError
from streamwatch.events import NO_LABELS, DeadLetter, Decoded, Events, LabelEvents, Needs
from streamwatch.identity import Wrong, texts, times
from streamwatch.mapping import Input, Read
from streamwatch.records import Batch

__all__ = ["Decoder", "Input", "Payload", "Read"]

Payload = Literal["none", "hash", "head"]

_HEAD: Final = 4096
_NO_INTS = np.zeros(0, dtype=np.int64)
_NO_BATCH = Batch(0, (), np.zeros(0, dtype=np.int32), _NO_INTS, _NO_INTS, (), (), ())


class Decoder:
    """Reads batches of the given inputs. `ahead_s`: how far an event's time may be past its record's time."""

    def __init__(
        self,
        inputs: Sequence[Input],
        needs: Needs,
        ahead_s: float = 300.0,
        payload: Payload = "none",
    ) -> None:
        of_label = Needs(frozenset({"label"}))
        self._labels = [entry.kind == "labels" for entry in inputs]
        self._columns = [
            Columns(entry.read, of_label if entry.kind == "labels" else needs, entry.only) for entry in inputs
        ]
        self._topics = [frozenset(entry.topics) for entry in inputs]
        self._needs = needs
        self._ahead_s = ahead_s
        self._payload: Payload = payload

    def decode(self, batch: Batch) -> Decoded:
        """Every record as an event, a dead letter, a tombstone, or ignored. Its content raises nothing."""
        parts: list[Events] = []
        labels: list[LabelEvents] = []
        dead: dict[int, SenderError] = {}
        taken = np.zeros(len(batch), dtype=np.bool_)
        empty = np.zeros(len(batch), dtype=np.bool_)
        if None in batch.value:
            empty[:] = [value is None for value in batch.value]
        for index, columns in enumerate(self._columns):
            mine = [
                number for number, source in enumerate(batch.sources) if source.topic in self._topics[index]
            ]
            if len(mine) == len(batch.sources):
                here = np.ones(len(batch), dtype=np.bool_)
            elif mine:
                here = np.isin(batch.source, mine)
            else:
                continue
            taken |= here & empty
            rows = self._rows(columns, batch, np.flatnonzero(here & ~empty), dead)
            taken[rows.at] = True
            if self._labels[index]:
                labels.append(self._label_events(columns, rows, dead))
            else:
                parts.append(self._events(columns, rows, dead))
        taken[list(dead)] = True
        return Decoded(
            _merge([part for part in parts if len(part)] or parts[:1]) if parts else self._nothing(),
            [self.dead_letter(batch, row, dead[row]) for row in sorted(dead)],
            len(batch) - int(taken.sum()),
            int((taken & empty).sum()),
            _merged(labels),
        )

    def _nothing(self) -> Events:
        columns = next(
            columns for columns, labels in zip(self._columns, self._labels, strict=True) if not labels
        )
        return self._events(columns, Rows(_NO_BATCH, _NO_INTS, []), {})

    def _rows(self, columns: Columns, batch: Batch, at: npt.NDArray[np.int64], dead: Wrong) -> Rows:
        """The records at these positions that are meant and JSON objects; what is none is added to `dead`."""
        values: Sequence[Any] = (
            batch.value if len(at) == len(batch) else [batch.value[row] for row in at.tolist()]
        )
        parsed, wrong = columns.json.rows(values)
        rows = _without(Rows(batch, at, parsed), wrong, dead)
        meant = columns.meant(rows)
        return rows if meant is None else rows.keep(meant)

    def _label_events(self, columns: Columns, rows: Rows, dead: Wrong) -> LabelEvents:
        wrong: Wrong = {}
        ids = texts(columns.field("id", rows), columns.where("id"), True, wrong)
        models = texts(columns.field("model", rows), columns.where("model"), False, wrong)
        for row, error in wrong.items():
            dead[int(rows.at[row])] = error
        labels = columns.field("label", rows)
        kept = [row for row, label in enumerate(labels) if row not in wrong and label is not None]
        return LabelEvents(
            rows.at[kept],
            [ids[row] for row in kept],
            [models[row] for row in kept],
            [labels[row] for row in kept],
        )

    def _events(self, columns: Columns, rows: Rows, dead: Wrong) -> Events:
        """The events among these records; the others are added to `dead`."""
        batch = rows.batch
        wrong: Wrong = {}
        named = {
            name: texts(columns.field(name, rows), columns.where(name), name == "model", wrong, name != "id")
            for name in ("model", "id", "version")
        }
        record_s = batch.timestamp_ms[rows.at] / 1000.0
        time_s = times(columns.field("time", rows), columns.where("time"), record_s, self._ahead_s, wrong)
        if wrong:
            kept = [row for row in range(len(rows)) if row not in wrong]
            named = {name: [column[row] for row in kept] for name, column in named.items()}
            time_s = time_s[kept]
            rows = _without(rows, wrong, dead)
        return Events(
            rows.at,
            time_s,
            named["id"],
            coded(named["model"]),
            coded(named["version"]),
            {name: columns.field(name, rows) for name in sorted(self._needs.fields)},
            columns.features(rows),
            columns.all_features(rows),
        )

    def dead_letter(self, batch: Batch, row: int, error: SenderError) -> DeadLetter:
        topic, partition = batch.sources[batch.source[row]]
        return DeadLetter(
            topic,
            partition,
            int(batch.offset[row]),
            int(batch.timestamp_ms[row]),
            error.code,
            error.field,
            str(error),
            _kept(batch.value[row] or b"", self._payload),
        )


def _without(rows: Rows, wrong: Wrong, dead: Wrong) -> Rows:
    """The rows that are not wrong; the wrong ones go to `dead` by their position in the batch."""
    if not wrong:
        return rows
    for row, error in wrong.items():
        dead[int(rows.at[row])] = error
    return rows.keep([row for row in range(len(rows)) if row not in wrong])


def _merge(parts: Sequence[Events]) -> Events:
    """The events of all inputs in the order of their records."""
    if len(parts) == 1:
        return parts[0]
    record = np.concatenate([part.record for part in parts])
    order = np.argsort(record, kind="stable")
    positions = order.tolist()

    def woven(columns: Iterable[Sequence[Any]]) -> list[Any]:
        joined = list(chain.from_iterable(columns))
        return [joined[position] for position in positions]

    first = parts[0]
    return Events(
        record[order],
        np.concatenate([part.time_s for part in parts])[order],
        woven(part.id for part in parts),
        coded(woven(part.model for part in parts)),
        coded(woven(part.version for part in parts)),
        {name: woven(part.fields[name] for part in parts) for name in first.fields},
        {name: woven(part.features[name] for part in parts) for name in first.features},
        None if first.all_features is None else woven(part.all_features or () for part in parts),
    )


def _merged(parts: Sequence[LabelEvents]) -> LabelEvents:
    """The labels of all inputs in the order of their records."""
    if len(parts) <= 1:
        return parts[0] if parts else NO_LABELS
    record = np.concatenate([part.record for part in parts])
    order = np.argsort(record, kind="stable")

    def woven(columns: Iterable[Sequence[Any]]) -> list[Any]:
        joined = list(chain.from_iterable(columns))
        return [joined[position] for position in order.tolist()]

    return LabelEvents(
        record[order],
        woven(part.id for part in parts),
        woven(part.model for part in parts),
        woven(part.label for part in parts),
    )


def _kept(value: bytes, payload: Payload) -> Mapping[str, Any] | None:
    """What a dead letter keeps of a record: nothing, its hash, or at most its first 4 KiB."""
    if payload == "none":
        return None
    if payload == "hash":
        return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}
    head = value[:_HEAD]
    try:  # a character cut in two at the end is left out
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(value) <= _HEAD)
    except UnicodeDecodeError:
        return {"head_base64": base64.b64encode(head).decode(), "bytes": len(value)}
    return {"head": text, "bytes": len(value)}
