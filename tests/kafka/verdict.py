"""What the fault suite compares: what the broker holds in the end with an undisturbed run over the same records."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamwatch.config import Config
from streamwatch.control import STATE_KEY
from streamwatch.execute import Obeyed
from streamwatch.observer import Silent, Work
from streamwatch.records import Message, Source
from streamwatch.runner import run
from streamwatch.state import unpack
from streamwatch.transports.base import Opened
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import kinds
from tests.broker import wait_until
from tests.topics import read_committed

SHOWN = 10
COMMANDED = ("accepted", "silenced", "unsilenced")


@dataclass(frozen=True)
class End:
    """Outputs in their order, and the state by name as plain values; "mark" is the engine's part of the mark.
    `obeyed`: the commands, where that is known."""

    alerts: list[Message]
    dead_letters: list[Message]
    state: Mapping[str, Any]
    offsets: Mapping[Source, int]
    obeyed: list[Obeyed] = field(default_factory=list)


class Heard(Silent):
    """The commands that were obeyed and committed."""

    def __init__(self) -> None:
        self.obeyed: list[Obeyed] = []

    def committed(self, work: Work, seconds: float) -> None:
        self.obeyed += work.obeyed


def live(servers: str, config: Config) -> End:
    """Read from the broker, after all workers have ended. Its state is that of a fresh restore."""
    transport = KafkaTransport(config)
    try:
        (opened,) = wait_until(
            lambda: [h for h in transport.poll(0.25) if isinstance(h, Opened)], 60.0, "a fresh restore"
        )
    finally:
        transport.close()
    return End(
        written(servers, config.alerts_topic),
        written(servers, config.dead_letters_topic),
        values(opened.state, opened.mark),
        opened.offsets,
    )


def written(servers: str, topic: str, isolation_level: str = "read_committed") -> list[Message]:
    records = read_committed(servers, topic, isolation_level=isolation_level)
    return [Message(r.key, r.value, tuple((name, value) for name, value in r.headers)) for r in records]


def undisturbed(config: Config, records: Sequence[Record]) -> End:
    """The same records through the same loop, in memory."""
    transport = MemoryTransport(records, batch_size=1_000, kinds=kinds(config))
    heard = Heard()
    run(transport, config, stop=threading.Event(), observe=heard)
    return End(
        transport.alert_messages,
        transport.dead_letter_messages,
        values(transport.state, transport.mark),
        transport.offsets,
        heard.obeyed,
    )


def processed(servers: str, offsets: Mapping[Source, int]) -> list[Record]:
    """The records before these offsets, with their coordinates."""
    return [
        Record(topic, r.value, r.key, r.timestamp, r.partition, r.headers, r.offset)
        for topic in sorted({source.topic for source in offsets})
        for r in read_committed(servers, topic)
        if r.offset < offsets[Source(topic, r.partition)]
    ]


def commanded(alerts: Sequence[Message]) -> Counter[str]:
    """The alerts that commands made, by reason."""
    reasons = Counter(json.loads(message.value or b"")["data"]["reason"] for message in alerts)
    return Counter({reason: reasons[reason] for reason in COMMANDED if reason in reasons})


def values(state: Mapping[str, bytes], mark: bytes) -> dict[str, Any]:
    return {
        **{
            name: unpack(STATE_KEY if name == STATE_KEY else "key", data, name)
            for name, data in state.items()
        },
        "mark": unpack("mark", mark, "mark"),
    }


def differences(expected: End, found: End) -> list[str]:
    """One line for each thing that is not as it would be undisturbed; none if all is equal."""
    return [
        *_messages("alerts", expected.alerts, found.alerts),
        *_messages("dead letters", expected.dead_letters, found.dead_letters),
        *_state(expected.state, found.state),
        *([] if dict(expected.offsets) == dict(found.offsets) else
          [f"offsets: expected {dict(expected.offsets)}, found {dict(found.offsets)}"]),
    ]  # fmt: skip


def _messages(what: str, expected: Sequence[Message], found: Sequence[Message]) -> list[str]:
    if list(expected) == list(found):
        return []
    wanted, got = Counter(expected), Counter(found)
    missing = list((wanted - got).elements())
    again = [message for message in (got - wanted).elements() if message in wanted]
    unknown = [message for message in (got - wanted).elements() if message not in wanted]
    head = (
        f"{what}: {len(expected)} expected, {len(found)} found; {len(missing)} missing, "
        f"{len(again)} twice, {len(unknown)} unknown"
    )
    if not (missing or again or unknown):
        place = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
        return [f"{head}, in another order from number {place} on: {_name(found[place])}"]
    groups = (("missing", missing), ("twice", again), ("unknown", unknown))
    return [head] + [f"  {word}: {_name(message)}" for word, some in groups for message in some[:SHOWN]]


def _name(message: Message) -> str:
    try:
        body = json.loads(message.value or b"null")
        fields = ("id", "type", "subject", "time", "topic", "partition", "offset", "reason")
        return str({name: body[name] for name in fields if name in body})
    except (ValueError, TypeError):
        return repr(message)[:300]


def _state(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    gone, new = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    # As msgpack, because a NaN is not equal to itself.
    other = [
        name
        for name in sorted(expected.keys() & found.keys())
        if _plain(expected[name]) != _plain(found[name])
    ]
    lines = [f"state: missing {gone[:SHOWN]}"] if gone else []
    lines += [f"state: not expected {new[:SHOWN]}"] if new else []
    return lines + [
        f"state of {name}: expected {expected[name]}, found {found[name]}"[:600] for name in other[:SHOWN]
    ]


def _plain(value: Any) -> bytes:
    return msgspec.msgpack.encode(value, order="deterministic")
