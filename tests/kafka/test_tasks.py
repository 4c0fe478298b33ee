"""`tasks: per_partition` on a real broker: each partition is a task of its own, and several share a worker."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from streamwatch.config import Config, Sight
from streamwatch.errors import StartRefused, StateForeign, TaskLost
from streamwatch.records import Batch, Commit, Message
from streamwatch.runner import run
from streamwatch.transports.base import Closed, Happening, Listed, Opened
from streamwatch.transports.files import FilesTransport
from streamwatch.transports.kafka.clients import needed
from streamwatch.transports.kafka.readonly import ReadOnlyTransport
from streamwatch.transports.kafka.restore import refuse_foreign
from streamwatch.transports.kafka.rights import grants
from streamwatch.transports.kafka.span import Span
from streamwatch.transports.kafka.start import check_start
from streamwatch.transports.kafka.state_topic import Mark
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.transports.order import kinds
from streamwatch.transports.recorded import record_line
from tests.broker import wait_until
from tests.conftest import SharedBroker
from tests.kafka.differences import differences
from tests.kafka.drive import config
from tests.kafka.loop import run_until
from tests.kafka.stream import PARTITIONS, closing, create_topics, endless, kinds_of, suite_config
from tests.kafka.verdict import _by_task, live, processed, stored, undisturbed
from tests.topics import Written, create_topic, produce, read_committed

N = 3_000


def service(servers: str, name: str, partitions: int = 2, **more: Any) -> Config:
    """Its own topics are for the service to make."""
    create_topic(servers, f"{name}-in", partitions)
    return config(servers, name, tasks="per_partition", **more)


class Held:
    """One transport and what it said; what it hands out of each task."""

    def __init__(self, of: Config, **more: Any) -> None:
        self.transport = KafkaTransport(of, **more)
        self.happenings: list[Happening] = []
        self.open: dict[int, Opened] = {}
        self.values: dict[int, list[bytes | None]] = {}
        self.offsets: dict[int, dict[Any, int]] = {}

    def poll(self) -> None:
        for one in self.transport.poll(0.25):
            self.happenings.append(one)
            match one:
                case Opened():
                    self.open[one.task] = one
                    self.values[one.task] = []
                    self.offsets[one.task] = dict(one.offsets)
                case Closed():
                    del self.open[one.task]
                case Batch():
                    assert one.task in self.open, "records of a task that is not open"
                    self.values[one.task] += one.value
                    self.offsets[one.task] |= one.next_offsets()

    def until(self, holds: Callable[[], Any], what: str) -> Held:
        def polled() -> bool:
            self.poll()
            return bool(holds())

        wait_until(polled, 30.0, what)
        return self

    def opened(self, *tasks: int) -> Held:
        return self.until(lambda: self.open.keys() == set(tasks), f"tasks {tasks} are open")

    def commit(self, task: int, alert: bytes, **state: bytes) -> None:
        said = [Message(b"k", alert)]
        self.transport.commit(Commit(task, dict(self.offsets[task]), said, (), state, b"m"))


@contextmanager
def held(of: Config, **more: Any) -> Iterator[Held]:
    made = Held(of, **more)
    try:
        yield made
    finally:
        made.transport.close()


def write(servers: str, name: str, partition: int, *values: bytes) -> None:
    produce(servers, f"{name}-in", [Written(value, None, partition) for value in values])


def test_each_task_says_what_it_says_in_memory_in_files_and_to_a_bystander(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """Predictions, labels and commands; state and offsets of each task, too."""
    servers = broker.bootstrap_servers
    of = suite_config(servers, unique, "per_partition").model_copy(
        update={
            "idle": 0.3,
            "sight": Sight(silence=0.0, lag=0.0),
        }  # the records are old, as the clock sees it
    )
    create_topics(servers, unique, "per_partition")
    records = list(itertools.islice(endless(5, "per_partition"), N))
    last_ms = records[-1][1].timestamp_ms or 0
    records += closing(last_ms, "per_partition")
    for kind in kinds_of("per_partition"):
        produce(servers, f"{unique}-{kind}", [_keyed(one) for of_kind, one in records if of_kind == kind])
    run_until(of, len(records))
    found = live(servers, of, PARTITIONS)
    read = {f"{unique}-{kind}" for kind in kinds_of("per_partition")} | {of.control_topic}
    ends = {source: at for end in found.values() for source, at in end.offsets.items()}
    lying = processed(stored(servers, read), ends)
    assert len(lying) == len(records)
    expected = undisturbed(of, lying)
    assert differences(expected, found) == []
    assert all(end.alerts and end.dead_letters and end.obeyed for end in expected.values())

    alerts = io.BytesIO()
    bystander = ReadOnlyTransport(of, Span("earliest", "now"), alerts=alerts)
    run(bystander, of, stop=threading.Event())
    assert _values(of, alerts) == {task: [m.value for m in end.alerts] for task, end in expected.items()}

    path, alerts = tmp_path / "all.jsonl", io.BytesIO()
    path.write_bytes(
        b"".join(record_line(r.source, r.offset or 0, r.timestamp_ms, r.key, r.value, ()) for r in lying)  # type: ignore[arg-type]
    )
    files = FilesTransport([path], alerts=alerts, kinds=kinds(of), tasks=of.tasks, batch_size=500)
    run(files, of, stop=threading.Event())
    assert _values(of, alerts) == {task: [m.value for m in end.alerts] for task, end in expected.items()}


def _keyed(record: Written) -> Written:
    """kafka-python writes no record that has neither key nor value."""
    return replace(record, key=b"k") if record.value is None else record


def _values(of: Config, alerts: io.BytesIO) -> dict[int, list[bytes | None]]:
    messages = [Message(None, line) for line in alerts.getvalue().splitlines()]
    return {task: [m.value for m in found] for task, found in sorted(_by_task(of, messages).items())}


def test_a_task_is_restored_while_the_others_of_its_worker_go_on(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    with held(service(servers, unique)) as worker:
        worker.opened(0, 1)
        write(servers, unique, 0, b"a0")
        write(servers, unique, 1, b"a1")
        worker.until(lambda: worker.values == {0: [b"a0"], 1: [b"a1"]}, "a record of each")
        other = KafkaProducer(bootstrap_servers=servers, transactional_id=f"{unique}-0")
        other.init_transactions()  # as a second owner of task 0 would
        other.close()
        with pytest.raises(TaskLost):
            worker.commit(0, b"fenced")
        write(servers, unique, 1, b"b1")
        worker.until(lambda: worker.values[1] == [b"a1", b"b1"], "task 1 goes on")
        worker.commit(1, b"one", k=b"1")
        worker.until(lambda: 0 in worker.open and worker.values[0] == [b"a0"], "task 0 is back")
        worker.commit(0, b"zero")
        write(servers, unique, 1, b"c1")
        worker.until(lambda: worker.values[1] == [b"a1", b"b1", b"c1"], "task 1 still goes on")
    assert [one.task for one in worker.happenings if isinstance(one, Closed)] == [0]
    assert [r.value for r in read_committed(servers, f"{unique}-alerts", at_least=2)] == [b"one", b"zero"]


def test_what_was_processed_before_a_task_was_opened_anew_cannot_be_committed(
    broker: SharedBroker, unique: str
) -> None:
    """While one task waits for its commit another may be lost and restored, and the loop does not know yet: its state
    is the old one."""
    servers = broker.bootstrap_servers
    with held(service(servers, unique)) as worker:
        write(servers, unique, 1, b"a1")
        worker.until(lambda: worker.values.get(1) == [b"a1"], "a record")
        worker.transport._drop(1, "as if it were lost")
        wait_until(
            lambda: worker.transport._turn(0.25) or worker.transport._is_to_be_told(1), 30.0, "it is closed"
        )
        wait_until(
            lambda: worker.transport._turn(0.25) or worker.transport._tasks[1].opened, 30.0, "it is opened"
        )
        with pytest.raises(TaskLost):
            worker.commit(1, b"old")
        worker.until(lambda: worker.values[1] == [b"a1"], "it is told, and read again")
        worker.commit(1, b"new")
    assert [r.value for r in read_committed(servers, f"{unique}-alerts", at_least=1)] == [b"new"]


def test_a_topic_that_gets_more_partitions_ends_the_service_with_what_to_do(
    broker: SharedBroker, unique: str
) -> None:
    """And it is refused again at the next start: keys lie in other partitions than their state."""
    servers = broker.bootstrap_servers
    of = service(servers, unique)
    with held(of, metadata_max_age_s=1.0) as worker:
        worker.opened(0, 1)
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_partitions({f"{unique}-in": 3})
        admin.close()
        with pytest.raises(StartRefused, match=r"-in has 3 partitions now, .*new service name"):
            worker.until(lambda: False, "it is refused")
    told = "\n".join(map(str, check_start(of.kafka, needed(of)).findings))
    assert f"state topic '{unique}-state' has 2 partitions, and there is 1 for each task: 3" in told


def test_topics_of_different_shape_are_found_before_the_start(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    create_topic(servers, f"{unique}-labels", 3)
    create_topic(servers, f"{unique}-control", 1)
    inputs = [{"topics": [f"{unique}-in"]}, {"topics": [f"{unique}-labels"], "kind": "labels"}]
    of = service(servers, unique, inputs=inputs)
    told = [str(finding) for finding in check_start(of.kafka, needed(of)).findings]
    assert any(f"{unique}-in has 2, {unique}-labels has 3" in text and "tasks: one" in text for text in told)
    assert any(f"control topic '{unique}-control' has 1 partitions" in text for text in told)
    with pytest.raises(StartRefused):
        KafkaTransport(of).poll(1.0)
    with pytest.raises(StartRefused, match="not equally many"):
        ReadOnlyTransport(of, Span("earliest", "now")).poll(1.0)


def test_a_stream_key_in_two_partitions_is_listed_by_the_owner_of_task_0(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    of = service(servers, unique)
    fraud, price = 'stream:["fraud","3",[["country","DE"]]]', 'stream:["price",null,[]]'
    with held(of) as worker:
        worker.opened(0, 1)
        worker.commit(0, b"0", **{fraud: b"x", price: b"x"})
        worker.commit(1, b"1", **{fraud: b"x"})
    with held(of) as worker:
        worker.until(lambda: any(isinstance(one, Listed) for one in worker.happenings), "the list")
        (listed,) = [one for one in worker.happenings if isinstance(one, Listed)]
        worker.commit(1, b"2", **{fraud: None})  # type: ignore[arg-type]
    assert listed.task == 0
    assert listed.models["price"] == ""
    assert "fraud version 3 (country=DE) in partitions 0, 1 of" in listed.models["fraud"]
    with held(of) as worker:
        worker.until(lambda: any(isinstance(one, Listed) for one in worker.happenings), "the list")
        assert [one.models for one in worker.happenings if isinstance(one, Listed)] == [
            {"fraud": "", "price": ""}
        ]


@pytest.mark.parametrize(
    ("mode", "tasks", "task"), [("one", 1, 0), ("per_partition", 3, 0), ("per_partition", 2, 1)]
)
def test_state_of_another_cut_is_refused_with_what_to_do(mode: str, tasks: int, task: int) -> None:
    """Another mode, another number of tasks, another task's."""
    of = config("localhost:1", "s", tasks="per_partition")
    good = Mark(service="s", mode="per_partition", tasks=2, task=0, offsets=(), engine=b"")
    refuse_foreign(good, of, 0, 2, "s-state-0 offset 7")
    mark = Mark(service="s", mode=mode, tasks=tasks, task=task, offsets=(), engine=b"")
    with pytest.raises(StateForeign, match=rf"offset 7: .*tasks: {mode} \({tasks} .*new service name"):
        refuse_foreign(mark, of, 0, 2, "s-state-0 offset 7")


def test_the_rights_of_tasks_that_only_the_broker_can_count_are_granted_by_their_prefix() -> None:
    of = config("localhost:1", "s", tasks="per_partition")
    (text,) = [text for text in grants(of.kafka, needed(of)) if "--transactional-id" in text]
    assert text.endswith("--operation Write --resource-pattern-type prefixed --transactional-id s-")
