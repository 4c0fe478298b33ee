"""What the fault suite compares: what the broker holds in the end with an undisturbed run over the same records.

Outputs of different tasks have no order among them: each task is compared for itself. What waits for labels is cut into
chunks as commits happen to fall, so it is compared by what becomes of it: both engines are given one more event, so
late that all that waits is read, and must say the same then and have the same state.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streamwatch import conditions
from streamwatch.config import Config
from streamwatch.control import STATE_KEY
from streamwatch.engine import Engine
from streamwatch.execute import Obeyed
from streamwatch.join import PREFIX
from streamwatch.observer import Silent, Work
from streamwatch.records import Batch, Message, Source
from streamwatch.runner import run
from streamwatch.segments import PREFIX as SEGMENTS
from streamwatch.state import unpack
from streamwatch.transports.base import Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import kinds
from streamwatch.transports.tasks import by_task
from tests.broker import wait_until
from tests.build import START_S, batch, event
from tests.kafka.stream import checksum, partition_of
from tests.topics import read_committed

COMMANDED = ("accepted", "silenced", "unsilenced")


@dataclass(frozen=True)
class End:
    """Of one task: outputs in their order, and the state by name as plain values; "mark" is the engine's part of the
    mark. `obeyed`: the commands, where that is known."""

    alerts: list[Message]
    dead_letters: list[Message]
    state: Mapping[str, Any]
    offsets: Mapping[Source, int]
    obeyed: list[Obeyed] = field(default_factory=list)


Ends = Mapping[int, End]


class Heard(Silent):
    """The commands that were obeyed and committed, by task."""

    def __init__(self) -> None:
        self.obeyed: defaultdict[int, list[Obeyed]] = defaultdict(list)

    def committed(self, work: Work, seconds: float) -> None:
        self.obeyed[work.task] += work.obeyed


def live(servers: str, config: Config, tasks: int = 1) -> dict[int, End]:
    """Read from the broker, after all workers have ended. Its state is that of a fresh restore."""
    transport = KafkaTransport(config)
    opened: dict[int, Opened] = {}

    def all_opened() -> bool:
        opened.update({one.task: one for one in transport.poll(0.25) if isinstance(one, Opened)})
        return len(opened) == tasks

    try:
        wait_until(all_opened, 60.0, "a fresh restore of all tasks")
    finally:
        transport.close()
    alerts = _by_task(config, written(servers, config.alerts_topic))
    letters = _by_task(config, written(servers, config.dead_letters_topic))
    return {
        task: End(alerts[task], letters[task], values(config, task, one.state, one.mark), one.offsets)
        for task, one in sorted(opened.items())
    }


def _by_task(config: Config, messages: Sequence[Message]) -> defaultdict[int, list[Message]]:
    """Alerts tell their task by their model, dead letters by their partition."""
    found: defaultdict[int, list[Message]] = defaultdict(list)
    for message in messages:
        body = json.loads(message.value or b"")
        place = body["partition"] if "partition" in body else partition_of(body["subject"])
        found[0 if config.tasks == "one" else place].append(message)
    return found


def written(servers: str, topic: str, isolation_level: str = "read_committed") -> list[Message]:
    records = read_committed(servers, topic, isolation_level=isolation_level)
    return [Message(r.key, r.value, tuple((name, value) for name, value in r.headers)) for r in records]


def undisturbed(config: Config, records: Sequence[Record]) -> dict[int, End]:
    """The same records through the same loop, in memory."""
    transport = MemoryTransport(records, batch_size=1_000, kinds=kinds(config), tasks=config.tasks)
    heard = Heard()
    run(transport, config, stop=threading.Event(), observe=heard)
    alerts = _by_task(config, transport.alert_messages)
    letters = _by_task(config, transport.dead_letter_messages)
    return {
        task: End(
            alerts[task],
            letters[task],
            values(config, task, transport.states[task], transport.marks[task]),
            {source: transport.offsets[source] for source in sources},
            heard.obeyed[task],
        )
        for task, sources in by_task(config.tasks, transport.offsets).items()
    }


def stored(servers: str, topics: Iterable[str]) -> list[Record]:
    """All their records, with their coordinates."""
    return [
        Record(topic, r.value, r.key, r.timestamp, r.partition, r.headers, r.offset)
        for topic in sorted(topics)
        for r in read_committed(servers, topic)
    ]


def processed(records: Iterable[Record], offsets: Mapping[Source, int]) -> list[Record]:
    """Those before these offsets."""
    return [r for r in records if (r.offset or 0) < offsets[Source(r.topic, r.partition)]]


def unkept(
    acknowledged: Mapping[tuple[str, int], Sequence[tuple[int, int]]], records: Iterable[Record]
) -> list[str]:
    """A line for each partition of which the cluster lost records that it had acknowledged to the writer."""
    kept: defaultdict[tuple[str, int], dict[int, int]] = defaultdict(dict)
    for r in records:
        kept[r.topic, r.partition][r.offset or 0] = checksum(r.value if isinstance(r.value, bytes) else None)
    lost = {
        place: sorted(offset for offset, of_it in said if kept[place].get(offset) != of_it)
        for place, said in sorted(acknowledged.items())
    }
    return [
        f"input {topic}-{partition}: the brokers lost {len(offsets)} records that they had acknowledged, from "
        f"offset {offsets[0]} on"
        for (topic, partition), offsets in lost.items()
        if offsets
    ]


def commanded(alerts: Sequence[Message]) -> Counter[str]:
    """The alerts that commands made, by reason."""
    reasons = Counter(json.loads(message.value or b"")["data"]["reason"] for message in alerts)
    return Counter({reason: reasons[reason] for reason in COMMANDED if reason in reasons})


def values(config: Config, task: int, state: Mapping[str, bytes], mark: bytes) -> dict[str, Any]:
    found = _unpacked({name: data for name, data in state.items() if not name.startswith(PREFIX)})
    found["mark"] = unpack("mark", mark, "mark")
    if len(found) <= len(state):
        engine = Engine.restore(config, task, state, mark)
        output = engine.process(_late(config, task))
        found["said of what waited"] = [json.loads(alert.message().value or b"") for alert in output.alerts]
        changed = {name: data for name, data in engine.changes().items() if data is not None}
        after = _unpacked({name: data for name, data in changed.items() if not name.startswith(PREFIX)})
        found |= {f"after what waited: {name}": value for name, value in after.items()}
    return found


def _unpacked(state: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: unpack(_kind(name), data, name) for name, data in state.items()}


def _kind(name: str) -> str:
    if name in (STATE_KEY, conditions.STATE_KEY):
        return name
    return "segments" if name.startswith(SEGMENTS) else "key"


def _late(config: Config, task: int) -> Batch:
    """An event in a month."""
    at_s = START_S + 30 * 86_400.0
    one = batch([event(at_s, event_id="last", model=f"last-{task}", prediction=0)], offset=10**9)
    return replace(one, task=task, sources=(Source(config.input_topics[0], task),))
