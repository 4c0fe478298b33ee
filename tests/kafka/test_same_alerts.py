"""The same records, commands among them, through Kafka, recorded files and memory: byte-identical alerts and dead
letters, as promised."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import random
import subprocess
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat

from streamwatch.alerts import Alert
from streamwatch.config import Config
from streamwatch.records import Message, Source
from streamwatch.runner import run
from streamwatch.transports.files import FilesTransport
from streamwatch.transports.kafka.readonly import ReadOnlyTransport
from streamwatch.transports.kafka.span import Span
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import kinds
from streamwatch.transports.recorded import record_line
from tests.build import START_S, life
from tests.conftest import SharedBroker
from tests.kafka.loop import run_until
from tests.kafka.verdict import processed, stored, written
from tests.talk import spoken
from tests.test_commands import ABOUT
from tests.test_engine import everything
from tests.topics import Written, create_topic, high_watermarks, produce

N = 3_000
PARTITIONS = 3
BAD = (b"{", b"", b"[]", b'{"model": null}', b"\xff", b'{"model": "fraud", "timestamp": "soon"}')
NO_COMMANDS = (b'{"command": "dance", "id": "d1"}', b"{", b'{"command": "accept", "id": "a1"}')
TALK = 16  # seed of a talk that shows silenced, unsilenced and accepted alerts among all the others
BATCHES = (37, 5_000)

Said = tuple[list[bytes | None], list[bytes | None]]


@dataclass(frozen=True)
class World:
    """One input topic and one of commands, their records as they lie there, and what a service of each batch size
    wrote to Kafka."""

    records: list[Record]
    configs: dict[int, Config]
    alerts: dict[int, list[Message]]
    dead_letters: dict[int, list[Message]]

    def said(self, size: int) -> Said:
        return _values(self.alerts[size]), _values(self.dead_letters[size])


def _values(messages: list[Message]) -> list[bytes | None]:
    return [message.value for message in messages]


def _config(servers: str, service: str, topic: str, control: str) -> Config:
    outputs = {
        "control": control,
        "alerts": f"{service}-alerts",
        "dead_letters": {"topic": f"{service}-dead", "payload": "head"},
    }
    return everything(
        service=service,
        kafka={"bootstrap_servers": servers},
        inputs=[{"topics": [topic]}],
        outputs=outputs,
        start="earliest",
        sight={"silence": "0s", "lag": "0s"},  # the records are old, as the clock sees it
    )


@pytest.fixture(scope="module")
def world(broker: SharedBroker) -> World:
    servers = broker.bootstrap_servers
    name = f"t-{uuid.uuid4().hex[:12]}"
    topic = create_topic(servers, f"{name}-in", PARTITIONS)
    control = create_topic(servers, f"{name}-control")
    written_: list[Written] = []
    commands: list[Written] = []
    talk = random.Random(TALK)
    for number, event in enumerate(life(N)):
        at_ms = int(event["timestamp"] * 1000)
        place: dict[str, Any] = {"partition": number % PARTITIONS, "timestamp_ms": at_ms}
        if talk.random() < 0.01:
            said = spoken(talk, number, event["timestamp"] - START_S, ABOUT).message()
            commands.append(Written(said.value, said.key, 0, at_ms, said.headers))
        if number % 1_000 == 500:
            commands.append(Written(NO_COMMANDS[number // 1_000], b"\xff", 0, at_ms))
        headers = (("trace", b"\xfe"),) if number % 5 == 0 else ()
        written_.append(Written(json.dumps(event).encode(), str(number).encode(), headers=headers, **place))
        if number % 50 == 0:
            written_.append(Written(BAD[number // 50 % len(BAD)], b"\xff", **place))
        if number % 400 == 0:
            written_.append(Written(None, b"gone", **place))
    produce(servers, topic, written_)
    produce(servers, control, commands)
    count = len(written_) + len(commands)
    made = World([], {}, {}, {})
    for size in BATCHES:
        service = f"{name}-{size}"
        config = _config(servers, service, topic, control)
        for output in (config.alerts_topic, config.dead_letters_topic):
            create_topic(servers, output)
        run_until(config, count, batch_records=size)
        made.configs[size] = config
        made.alerts[size] = written(servers, config.alerts_topic)
        made.dead_letters[size] = written(servers, config.dead_letters_topic)
    ends = {
        Source(part.topic, part.partition): end
        for read in (topic, control)
        for part, end in high_watermarks(servers, read).items()
    }
    made.records.extend(processed(stored(servers, {topic, control}), ends))
    assert len(made.records) == count
    return made


def in_memory(config: Config, records: list[Record], batch_size: int) -> Said:
    transport = MemoryTransport(records, batch_size, kinds(config))
    run(transport, config, stop=threading.Event())
    return _values(transport.alert_messages), _values(transport.dead_letter_messages)


def in_files(config: Config, paths: list[Path], batch_size: int) -> Said:
    alerts, dead_letters = io.BytesIO(), io.BytesIO()
    transport = FilesTransport(
        paths, alerts=alerts, dead_letters=dead_letters, kinds=kinds(config), batch_size=batch_size
    )
    run(transport, config, stop=threading.Event())
    return list(alerts.getvalue().splitlines()), list(dead_letters.getvalue().splitlines())


def as_bystander(config: Config, part: Span, batch_records: int) -> Said:
    alerts, dead_letters = io.BytesIO(), io.BytesIO()
    transport = ReadOnlyTransport(
        config, part, alerts=alerts, dead_letters=dead_letters, batch_records=batch_records
    )
    run(transport, config, stop=threading.Event())
    return list(alerts.getvalue().splitlines()), list(dead_letters.getvalue().splitlines())


def lines(records: list[Record]) -> bytes:
    out = []
    for r in records:
        assert r.offset is not None
        assert r.key is None or isinstance(r.key, bytes)
        assert r.value is None or isinstance(r.value, bytes)
        headers = [(name, v.encode() if isinstance(v, str) else v) for name, v in r.headers]
        out.append(record_line(r.source, r.offset, r.timestamp_ms, r.key, r.value, headers))
    return b"".join(out)


def by_partition(records: list[Record]) -> list[list[Record]]:
    found: dict[Source, list[Record]] = defaultdict(list)
    for record in records:
        found[record.source].append(record)
    return list(found.values())


@pytest.mark.parametrize("size", BATCHES)
def test_kafka_says_what_memory_says_in_any_batch_size(world: World, size: int) -> None:
    said = world.said(size)
    assert len(said[0]) > 20
    assert len(said[1]) == N // 50 + len(NO_COMMANDS)
    text = b"\n".join(alert or b"" for alert in said[0])
    assert all(b'"reason":"' + word + b'"' in text for word in (b"silenced", b"unsilenced", b"accepted"))
    for batch_size in (7, 333, 100_000):
        assert in_memory(world.configs[size], world.records, batch_size) == said


def _one_file(folder: Path, records: list[Record]) -> list[Path]:
    path = folder / "all.jsonl"
    path.write_bytes(lines(sorted(records, key=lambda record: (record.offset or 0, record.partition))))
    return [path]


def _one_file_per_partition(folder: Path, records: list[Record]) -> list[Path]:
    paths = []
    for number, part in enumerate(by_partition(records)):
        paths.append(folder / f"{number}.jsonl.gz")
        paths[-1].write_bytes(gzip.compress(lines(part)))
    return paths


@pytest.mark.parametrize("batch_size", [7, 500, 100_000])
@pytest.mark.parametrize("recorded", [_one_file, _one_file_per_partition])
def test_recorded_files_say_what_kafka_said(
    world: World, recorded: Callable[[Path, list[Record]], list[Path]], batch_size: int, tmp_path: Path
) -> None:
    paths = recorded(tmp_path, world.records)
    assert in_files(world.configs[BATCHES[0]], paths, batch_size) == world.said(BATCHES[0])


def test_the_command_replay_prints_what_kafka_said(world: World, tmp_path: Path) -> None:
    config = world.configs[BATCHES[0]]
    path = tmp_path / "watch.json"
    path.write_text(json.dumps(_as_file(config)))
    (recording,) = _one_file(tmp_path, world.records)
    for source in ([str(recording)], ["--since", "2025-01-01T00:00:00Z"]):
        command = [sys.executable, "-m", "streamwatch", "replay", str(path), *source]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.splitlines() == world.said(BATCHES[0])[0]


@pytest.mark.parametrize("size", [7, 100_000])
def test_a_bystander_says_what_the_service_said(world: World, size: int) -> None:
    config = world.configs[BATCHES[0]]
    assert as_bystander(config, Span("earliest", "now"), size) == world.said(BATCHES[0])


def test_a_bystander_of_a_part_of_the_topic_says_what_memory_says_of_it(world: World) -> None:
    config, times_ms = world.configs[BATCHES[0]], sorted(record.timestamp_ms for record in world.records)
    since_ms, until_ms = times_ms[N // 4], times_ms[3 * N // 4]
    first = {r.source: r.offset for r in reversed(world.records) if r.timestamp_ms >= since_ms}
    stop = {r.source: r.offset for r in reversed(world.records) if r.timestamp_ms >= until_ms}
    first[Source(config.control_topic, 0)] = 0  # what was silenced before holds
    part = [r for r in world.records if (first[r.source] or 0) <= (r.offset or 0) < (stop[r.source] or 0)]
    assert N // 3 < len(part) < 2 * N // 3
    said = as_bystander(config, Span(since_ms / 1000, until_ms / 1000), 5_000)
    assert said == in_memory(config, part, 5_000)
    assert said[0]


def _as_file(config: Config) -> dict[str, Any]:
    """The config as its file would say it."""
    content = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for monitor in content["monitors"]:
        monitor.update(monitor.pop("policy"))
    return content


# The contract of what is written


def test_alerts_are_cloudevents_for_a_foreign_reader(world: World) -> None:
    """The SDK's own Kafka binding reads them, in structured mode."""
    seen = set()
    for message in world.alerts[BATCHES[0]]:
        headers = {name: value or b"" for name, value in message.headers}
        event = from_kafka(KafkaMessage(headers, message.key, message.value or b""), JSONFormat())
        attributes = event.get_attributes()
        body = json.loads(message.value or b"")
        names = ("id", "source", "type", "subject", "specversion", "datacontenttype", "dataschema")
        assert {name: attributes[name] for name in names} == {name: body[name] for name in names}
        assert event.get_time() == dt.datetime.fromisoformat(body["time"])
        assert {name: event.get_extension(name) for name in ("severity", "open", "silenced")} == {
            name: body[name] for name in ("severity", "open", "silenced")
        }
        assert event.get_data() == body["data"]
        seen.add(event.get_type())
    assert {"streamwatch.alert.firing", "streamwatch.alert.settled", "streamwatch.alert.blind"} <= seen


def test_alerts_validate_against_the_printed_schema(world: World) -> None:
    command = [sys.executable, "-m", "streamwatch", "schema", "alert"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    validator = jsonschema.Draft202012Validator(printed, format_checker=jsonschema.FormatChecker())
    bodies = [json.loads(message.value or b"") for message in world.alerts[BATCHES[0]]]
    for body in bodies:
        validator.validate(body)
        assert body["dataschema"] == printed["$id"]
    for wrong in ({"severity": "loud"}, {"type": "streamwatch.alert.odd"}, {"open": 1}, {"data": {}}):
        assert not validator.is_valid({**bodies[0], **wrong}), wrong


def test_alerts_are_keyed_by_model_and_say_their_content_type(world: World) -> None:
    for message in world.alerts[BATCHES[0]]:
        alert = msgspec.json.decode(message.value or b"", type=Alert)
        assert message.key == alert.subject.encode() == alert.data.model.encode()
        assert dict(message.headers) == {"content-type": b"application/cloudevents+json; charset=UTF-8"}
        assert alert.source == f"/streamwatch/{world.configs[BATCHES[0]].service}"
        assert alert.open == (alert.state in ("firing", "blind"))
        assert alert.message() == message


def test_evidence_names_records_that_hold_the_sampled_events(world: World) -> None:
    values = {(r.topic, r.partition, r.offset): r.value for r in world.records}
    sampled = 0
    for message in world.alerts[BATCHES[0]]:
        for place in json.loads(message.value or b"")["data"]["evidence"]:
            assert place["first"] <= place["last"]
            there = [
                values.get((place["topic"], place["partition"], offset))
                for offset in range(place["first"], place["last"] + 1)
            ]
            ids = {json.loads(v).get("event_id") for v in there if isinstance(v, bytes) and v[:10] == b'{"model": '
                   and v not in BAD}  # fmt: skip
            assert set(place["sample_ids"]) <= ids
            sampled += len(place["sample_ids"])
    assert sampled > 20


def test_dead_letters_have_the_coordinates_of_their_record(world: World) -> None:
    control = world.configs[BATCHES[0]].control_topic
    bad = {
        (r.topic, r.partition, r.offset): r
        for r in world.records
        if r.value in (NO_COMMANDS if r.topic == control else BAD)
    }
    for message in world.dead_letters[BATCHES[0]]:
        body = json.loads(message.value or b"")
        record = bad.pop((body["topic"], body["partition"], body["offset"]))
        assert body["timestamp_ms"] == record.timestamp_ms
        assert message.key == f"{record.topic}/{record.partition}".encode()
        assert dict(message.headers) == {"content-type": b"application/json; charset=UTF-8"}
        assert body["reason"]
    assert not bad
