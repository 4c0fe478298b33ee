"""Recorded events through the same loop as live: what would these monitors have said?"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamwatch import configfile
from streamwatch.alerts import Alert
from streamwatch.config import Config
from streamwatch.decode import Decoder
from streamwatch.errors import OperatorError
from streamwatch.events import Needs
from streamwatch.mapping import Place
from streamwatch.offline.frames import Frame
from streamwatch.offline.frames import events as rows
from streamwatch.records import Batch, Source
from streamwatch.runner import Total, run
from streamwatch.transports.bare import TimeMs
from streamwatch.transports.memory import MemoryTransport, Record, value_bytes
from streamwatch.transports.order import kinds

SHOWN = 20


@dataclass(frozen=True, slots=True, repr=False)
class Replayed:
    """What a replay wrote. `dead_letters` are the records that could not be read, as they would be written. Printed it
    is a line for all of it, and a line for each of the first alerts."""

    alerts: tuple[Alert, ...]
    dead_letters: tuple[Mapping[str, Any], ...]
    total: Total

    def __repr__(self) -> str:
        counts = f"{self.total.events:,} events, {len(self.dead_letters):,} dead letters, {len(self.alerts):,} alerts"
        shown = [f"{a.time[:19]}Z  {a.state:<9} {a.data.summary}" for a in self.alerts[:SHOWN]]
        more = [f"... and {len(self.alerts) - SHOWN:,} more"] if len(self.alerts) > SHOWN else []
        return "\n".join([counts, *shown, *more])


def replay(
    config: Config | Mapping[str, Any] | Path | str,
    events: Iterable[Mapping[str, Any] | Record] | Frame,
    *,
    batch_size: int = 4_000,
) -> Replayed:
    """Run events through the monitors of a config, in memory. The config: a file, or what stands in one as a dict.

    A pandas DataFrame has an event in each row (`offline.frames`). A mapping is one event as its sender writes it, of
    the config's only input topic; its own time counts, and without one it stands at the epoch's beginning: give events
    their time. A `Record` says its topic, time, key and headers itself. Records of several partitions are merged by
    their times, as live.

    Commands are Records of the config's control topic; `timestamp_ms` says their place among the events' own times.
    Without one they go before all else.
    """
    if isinstance(config, Mapping):
        config = configfile.of(config, os.environ)
    elif not isinstance(config, Config):
        config = configfile.load([Path(config)], os.environ)
    if isinstance(events, Frame):
        return _of_frame(config, events, batch_size)
    topics, reads = config.input_topics, kinds(config)
    records: list[Record] = []
    bare: list[int] = []
    for event in events:
        if isinstance(event, Record):
            if event.topic not in reads:
                raise OperatorError(
                    f"a record of topic {event.topic!r}: the config's inputs are {', '.join(topics)}, and its "
                    f"commands {config.control_topic}"
                )
            records.append(event)
        elif not isinstance(event, Mapping):
            raise OperatorError(
                f"event {len(records)}: expected a mapping (an event as it is sent) or a Record, got {event!r}"
            )
        elif len(topics) == 1:
            bare.append(len(records))
            records.append(Record(topics[0], event))
        else:
            raise OperatorError(
                f"the config has {len(topics)} input topics ({', '.join(topics)}): give each event as "
                "Record(topic, event), so that it is known which it is of"
            )
    if bare and len(bare) < len(records):
        time_ms = event_time(config)
        for at in bare:
            value = value_bytes(records[at].value) or b""
            records[at] = changed(records[at], timestamp_ms=time_ms(topics[0], value))
    transport = MemoryTransport(records, batch_size, reads, config.tasks)
    total = run(transport, config, stop=threading.Event())
    return Replayed(
        tuple(msgspec.json.decode(message.value or b"", type=Alert) for message in transport.alert_messages),
        tuple(transport.dead_letters),
        total,
    )


def _of_frame(config: Config, frame: Frame, batch_size: int) -> Replayed:
    replayed = replay(config, rows(frame, config), batch_size=batch_size)
    if replayed.dead_letters and not replayed.total.events:
        raise OperatorError(
            f"none of the DataFrame's {replayed.total.records:,} rows is an event; the first: "
            f"{replayed.dead_letters[0]['reason']}"
        )
    return replayed


def event_time(config: Config) -> TimeMs:
    """Reads an event's own time, to merge bare events with others by it; -1 where it has none or cannot be read.

    OperatorError for a label without one: before all predictions, where it would stand, it would find none of them.
    """
    # A label's time is read for this only: as a prediction's is, whatever its model.
    places = [
        entry
        if entry.kind == "predictions"
        else entry.model_copy(
            update={
                "kind": "predictions",
                "read": entry.read.model_copy(update={"model": Place(const="any"), "version": None}),
            }
        )
        for entry in config.inputs
    ]
    of_labels = {topic for entry in config.inputs if entry.kind == "labels" for topic in entry.topics}
    of_labels -= {topic for entry in config.inputs if entry.kind == "predictions" for topic in entry.topics}
    decoder = Decoder(places, Needs())
    zero = np.zeros(1, dtype=np.int32)
    none = np.full(1, -1, dtype=np.int64)

    def time_ms(topic: str, value: bytes) -> int:
        batch = Batch(0, (Source(topic, 0),), zero, none, none, (None,), (value,), ((),))
        decoded = decoder.decode(batch)
        events = decoded.events
        if len(events) and events.time_s[0] >= 0:
            return int(events.time_s[0] * 1000.0)
        if topic in of_labels and any(letter.code == "field missing" for letter in decoded.dead_letters):
            raise OperatorError(
                f"a label of {topic} has no time, so it has no place among the predictions: {value[:120]!r}. To do: "
                "give each label its time (read: {time: ...}), or replay the recorded form, where records have one"
            )
        return -1

    return time_ms
