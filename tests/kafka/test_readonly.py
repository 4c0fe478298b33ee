"""The bystander's transport: the service's records in the service's order, between two moments, and no trace of it."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition

from streamwatch import logs
from streamwatch.errors import BrokerUnreachable, StartRefused, TaskLost
from streamwatch.records import Batch, Commit, Message, Source
from streamwatch.transports.base import Happening, Opened
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.readonly import ReadOnlyTransport
from streamwatch.transports.kafka.span import Span
from tests.broker import free_port
from tests.build import START_S
from tests.cli import log_as_before
from tests.conftest import SharedBroker
from tests.kafka.drive import config
from tests.topics import Written, create_topic, produce

ALL = Span("earliest", "now")


def written(n: int, partitions: int) -> list[Written]:
    """Record i is of second i, and lies in partition i % partitions."""
    return [
        Written(b"%d" % i, partition=i % partitions, timestamp_ms=int(START_S * 1000) + i * 1000)
        for i in range(n)
    ]


def read(transport: ReadOnlyTransport, within_s: float = 20.0) -> list[int]:
    """The numbers of all records, in their order, up to the end; the transport is closed."""
    values: list[int] = []
    deadline = time.monotonic() + within_s
    with closing(transport):
        while not transport.finished:
            assert time.monotonic() < deadline, transport.progress()
            values += numbers(transport.poll(0.25))
    return values


def until(transport: ReadOnlyTransport, values: list[int], n: int, within_s: float = 20.0) -> None:
    """Add the numbers of what comes to `values` until it has so many."""
    deadline = time.monotonic() + within_s
    while len(values) < n:
        assert time.monotonic() < deadline, (values, transport.progress())
        values += numbers(transport.poll(0.25))


def numbers(happenings: Sequence[Happening]) -> list[int]:
    return [int(value or b"-1") for h in happenings if isinstance(h, Batch) for value in h.value]


@pytest.fixture(scope="module")
def servers(broker: SharedBroker) -> str:
    return broker.bootstrap_servers


@pytest.fixture(scope="module")
def filled(servers: str) -> str:
    """A service's name whose input has 300 records in 3 partitions, one of them empty, and that never ran."""
    name = f"t-readonly-{time.time_ns()}"
    create_topic(servers, f"{name}-in", 3)
    produce(servers, f"{name}-in", written(300, 2))
    return name


def test_it_reads_what_is_there_in_the_order_of_the_task_and_finishes(servers: str, filled: str) -> None:
    transport = ReadOnlyTransport(config(servers, filled), ALL, batch_records=7)
    assert read(transport) == list(range(300))


@pytest.mark.parametrize(
    ("since_s", "until_s", "first", "stop"),
    [(100.0, 200.0, 100, 200), (100.5, 200.5, 101, 201), (-5.0, 1e6, 0, 300), (400.0, 500.0, 0, 0)],
)
def test_a_span_is_by_the_times_of_the_records_its_end_not_included(
    servers: str, filled: str, since_s: float, until_s: float, first: int, stop: int
) -> None:
    span = Span(START_S + since_s, START_S + until_s)
    assert read(ReadOnlyTransport(config(servers, filled), span)) == list(range(first, stop))


def test_what_comes_after_its_beginning_is_not_of_a_replay(servers: str, unique: str) -> None:
    create_topic(servers, f"{unique}-in")
    produce(servers, f"{unique}-in", written(5, 1))
    transport = ReadOnlyTransport(config(servers, unique), ALL)
    (opened,) = transport.poll(1.0)
    assert isinstance(opened, Opened)
    assert (opened.state, opened.mark, opened.offsets) == ({}, b"", {Source(f"{unique}-in", 0): 0})
    produce(servers, f"{unique}-in", written(9, 1))
    assert read(transport) == list(range(5))
    assert transport.offsets_read() == (5, 5)


def test_a_dry_run_begins_with_what_comes_and_never_finishes(servers: str, unique: str) -> None:
    create_topic(servers, f"{unique}-in", 2)
    produce(servers, f"{unique}-in", written(4, 2))
    with closing(ReadOnlyTransport(config(servers, unique, idle="10ms"), Span("latest", None))) as transport:
        transport.poll(1.0)
        produce(servers, f"{unique}-in", written(6, 2))
        values: list[int] = []
        until(transport, values, 6)
        assert values == list(range(6))
        assert not transport.finished


def test_a_dry_run_reads_a_new_partition_from_its_beginning_and_goes_on_in_the_others(
    servers: str, unique: str
) -> None:
    topic = create_topic(servers, f"{unique}-in")
    produce(servers, topic, written(3, 1))
    transport = ReadOnlyTransport(config(servers, unique), Span("earliest", None), partitions_every_s=0.1)
    values: list[int] = []
    with closing(transport), closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        until(transport, values, 3)
        admin.create_partitions({topic: 2})
        produce(servers, topic, [Written(b"9", partition=1, timestamp_ms=int(START_S * 1000) + 9_000)])
        until(transport, values, 4)
    assert values == [0, 1, 2, 9]


def test_only_the_topics_asked_for_are_read_and_commands_from_their_beginning(
    servers: str, unique: str
) -> None:
    for name in ("a", "b", "control"):
        create_topic(servers, f"{unique}-{name}")
    produce(servers, f"{unique}-a", written(3, 1))
    produce(servers, f"{unique}-b", [Written(b"99", timestamp_ms=0)])
    produce(servers, f"{unique}-control", [Written(b"77", timestamp_ms=int(START_S * 1000) - 1)])
    two = config(servers, unique, inputs=[{"topics": [f"{unique}-a", f"{unique}-b"], "kind": "predictions"}])
    span = Span(START_S + 1.0, "now")
    assert read(ReadOnlyTransport(two, span, topics=[f"{unique}-a"])) == [77, 1, 2]


def test_records_that_retention_deletes_meanwhile_are_told_and_passed(servers: str, unique: str) -> None:
    topic = create_topic(servers, f"{unique}-in")
    produce(servers, topic, written(50, 1))
    transport = ReadOnlyTransport(config(servers, unique), ALL)
    transport.poll(1.0)
    with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        admin.delete_records({TopicPartition(topic, 0): 40})
    with log_as_before():
        logs.configure(None, "json", "warning", log := io.StringIO())
        assert read(transport) == list(range(40, 50))
    (lost,) = [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "lost"]
    assert (lost["topic"], lost["partition"], lost["records"]) == (topic, 0, 40)


def test_output_goes_where_the_caller_wants_it(servers: str, filled: str, tmp_path: Path) -> None:
    with (tmp_path / "alerts").open("wb") as alerts:
        transport = ReadOnlyTransport(config(servers, filled), ALL, alerts=alerts)
        with pytest.raises(TaskLost):
            transport.commit(Commit(0, {}))
        transport.poll(1.0)
        transport.commit(Commit(0, {}, [Message(b"k", b'{"n": 1}')], [Message(None, b"letter")]))
        transport.close()
    assert (tmp_path / "alerts").read_bytes() == b'{"n": 1}\n'


def test_a_topic_that_is_not_there_is_refused_with_those_that_are(servers: str, filled: str) -> None:
    near = config(servers, filled, inputs=[{"topics": [f"{filled}-inn"]}])
    with pytest.raises(StartRefused, match=rf"'{filled}-inn' does not exist.*did you mean {filled}-in"):
        ReadOnlyTransport(near, ALL).poll(1.0)


def test_a_broker_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "ROUNDS_S", (0.3,))
    with pytest.raises(BrokerUnreachable):
        ReadOnlyTransport(config(f"127.0.0.1:{free_port()}", "nobody"), ALL).poll(1.0)


def test_it_leaves_no_trace_at_the_broker(servers: str, filled: str) -> None:
    """Groups, transactions, producers and topics are the same before and after, whatever they are called."""
    before = traces(servers, filled)
    assert len(read(ReadOnlyTransport(config(servers, filled), ALL))) == 300
    with closing(ReadOnlyTransport(config(servers, filled), Span("latest", None))) as dry:
        dry.poll(0.25)
        dry.poll(0.25)
        during = traces(servers, filled)
    assert before == during == traces(servers, filled)


def traces(servers: str, name: str) -> dict[str, Any]:
    """What the broker keeps, without what it itself (__...) and other tests (t-...) make at the same time."""

    def ours(names: Any) -> list[str]:
        return sorted(n for n in map(str, names) if name in n or not n.startswith(("t-", "__")))

    with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        return {
            "groups": ours(group["group_id"] for group in admin.list_groups()),
            "transactions": ours(
                one.transactional_id for on in admin.list_transactions().values() for one in on
            ),
            "topics": ours(admin.list_topics()),
            "ends": admin.list_partition_offsets({TopicPartition(f"{name}-in", n): -1 for n in range(3)}),
        }


def test_the_command_run_dry_shows_alerts_ends_with_ctrl_c_and_leaves_no_trace(
    servers: str, unique: str, tmp_path: Path
) -> None:
    topic, now_ms = create_topic(servers, f"{unique}-in", 3), int(time.time() * 1000)
    events = [{"model": "fraud", "score": 0.2 if i < 300 else 0.8} for i in range(600)]
    produce(
        servers,
        topic,
        [
            Written(json.dumps(event).encode(), partition=i % 3, timestamp_ms=now_ms - 600_000 + i * 1000)
            for i, event in enumerate(events)
        ],
    )
    path = tmp_path / "watch.yaml"
    path.write_text(
        f"service: {unique}\nkafka: {{bootstrap_servers: '{servers}'}}\ninputs: [{{topics: [{topic}]}}]\n"
        "monitors: [{name: score, signal: score, detector: adwin}]\n"
    )
    before = traces(servers, unique)
    command = [sys.executable, "-m", "streamwatch", "run", str(path), "--dry-run", "--since", "1h"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        during = traces(servers, unique)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 0
    assert " firing " in first
    assert "score of fraud" in first
    assert f"dry run of {unique}: reads {topic} at {servers} from 20" in told
    assert re.search(r"^in \d+s: [\d,]+ events, 1 alert would have been written$", told, re.MULTILINE)
    assert before == during == traces(servers, unique)
