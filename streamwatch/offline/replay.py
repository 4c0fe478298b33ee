"""Recorded events through the same loop as live: what would these monitors have said?"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamwatch import configfile
from streamwatch.alerts import Alert
from streamwatch.config import Config
from streamwatch.errors import OperatorError
from streamwatch.runner import Total, run
from streamwatch.transports.memory import MemoryTransport, Record


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay wrote. `dead_letters` are the records that could not be read, as they would be written."""

    alerts: tuple[Alert, ...]
    dead_letters: tuple[Mapping[str, Any], ...]
    total: Total


def replay(
    config: Config | Path | str, events: Iterable[Mapping[str, Any] | Record], *, batch_size: int = 4_000
) -> Replayed:
    """Run events through the monitors of a config (or of a config file), in memory.

    A mapping is one event as its sender writes it, of the config's only input topic; its own time counts, and
    without one it stands at the epoch's beginning: give events their time. A `Record` says its topic, time, key and
    headers itself. Records of several partitions are merged by their times, as live.
    """
    if not isinstance(config, Config):
        config = configfile.load([Path(config)], os.environ)
    topics = config.input_topics
    records: list[Record] = []
    for event in events:
        if isinstance(event, Record):
            if event.topic not in topics:
                raise OperatorError(
                    f"a record of topic {event.topic!r}: the config's inputs are {', '.join(topics)}"
                )
            records.append(event)
        elif not isinstance(event, Mapping):
            raise OperatorError(
                f"event {len(records)}: expected a mapping (an event as it is sent) or a Record, got {event!r}"
            )
        elif len(topics) == 1:
            records.append(Record(topics[0], event))
        else:
            raise OperatorError(
                f"the config has {len(topics)} input topics ({', '.join(topics)}): give each event as "
                "Record(topic, event), so that it is known which it is of"
            )
    transport = MemoryTransport(records, batch_size)
    total = run(transport, config, stop=threading.Event())
    return Replayed(
        tuple(msgspec.json.decode(message.value or b"", type=Alert) for message in transport.alert_messages),
        tuple(transport.dead_letters),
        total,
    )
