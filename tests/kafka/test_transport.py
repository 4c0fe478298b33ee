"""The Kafka transport on a real broker: order, starts, commits, restores, owners."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streamwatch.errors import MarkMismatch, PlatformError, StateDamaged, StateForeign, TaskLost
from streamwatch.records import Commit, Source
from streamwatch.transports.base import Closed, Opened
from streamwatch.transports.kafka import flow, restore
from streamwatch.transports.kafka.membership import Membership
from streamwatch.transports.kafka.producer import TaskProducer
from streamwatch.transports.kafka.state_topic import MARK_KEY, PART_BYTES
from tests.broker import Broker, wait_until
from tests.conftest import SharedBroker
from tests.kafka.drive import Driven, config, driven, meanwhile, service
from tests.topics import Written, create_topic, produce, read_committed

ROOT = Path(__file__).parents[2]


def write(servers: str, name: str, values: list[bytes], partition: int = 0, first_ms: int = 1_000) -> None:
    produce(servers, f"{name}-in", [Written(v, None, partition, first_ms + i) for i, v in enumerate(values)])


def numbered(first: int, count: int) -> list[bytes]:
    return [b"%d" % n for n in range(first, first + count)]


def alerts(servers: str, name: str) -> list[bytes]:
    return [record.value for record in read_committed(servers, f"{name}-alerts")]


def group_offsets(servers: str, name: str, partitions: int = 1, topic: str = "in") -> list[int | None]:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=name, isolation_level="read_committed")
    try:
        return [consumer.committed(TopicPartition(f"{name}-{topic}", n)) for n in range(partitions)]
    finally:
        consumer.close()


def set_group_offset(servers: str, name: str, offset: int, partition: int = 0) -> None:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=name, enable_auto_commit=False)
    try:
        part = TopicPartition(f"{name}-in", partition)
        consumer.assign([part])
        consumer.commit({part: OffsetAndMetadata(offset, "", -1)})
    finally:
        consumer.close()


def delete_before(servers: str, name: str, offset: int, partition: int = 0, topic: str = "in") -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        admin.delete_records({TopicPartition(f"{name}-{topic}", partition): offset})
    finally:
        admin.close()


def membership_of(worker: Driven) -> Membership:
    """For what a process cannot do to itself from outside: its session ends, its fetches stop."""
    assert worker.transport._clients is not None
    return worker.transport._clients.membership


# Order


def test_partitions_are_merged_by_record_time(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    records = [
        Written(b"%d" % n, b"k%d" % n, n * 7 % 4, 1_000 + n, (("h", b"%d" % n),)) for n in range(2_000)
    ]
    with driven(service(servers, unique, 4)) as worker:
        produce(servers, f"{unique}-in", records)
        worker.read(2_000)
        assert worker.values == numbered(0, 2_000)
        batch = next(h for h in worker.happenings if hasattr(h, "value"))
        assert list(batch.key[:2]) == [b"k0", b"k1"]
        assert list(batch.headers[1]) == [("h", b"1")]
        assert [int(t) for t in batch.timestamp_ms[:3]] == [1_000, 1_001, 1_002]
        assert [batch.sources[i] for i in batch.source[:2]] == [(f"{unique}-in", 0), (f"{unique}-in", 3)]
        assert worker.transport.progress().overtaken == 0


def test_the_next_record_waits_for_quiet_partitions_no_longer_than_idle(
    broker: SharedBroker, unique: str
) -> None:
    """From the write to the loop: idle, one question, one fetch. 250 ms is what DESIGN allows up to the alert."""
    servers = broker.bootstrap_servers
    with driven(service(servers, unique, 4, idle="100ms")) as worker:
        worker.opened()
        took = []
        for n in range(8):
            write(servers, unique, [b"x"], n % 4, 1_000 + n)
            written = time.monotonic()
            worker.read(n + 1)
            took.append(time.monotonic() - written)
        assert sorted(took)[4] < 0.25, took


def test_control_markers_and_aborted_records_do_not_hold_back_the_others(
    broker: SharedBroker, unique: str
) -> None:
    """Partition 1 ends in markers of transactions, partition 2 in an aborted one: their ends are beyond any record."""
    servers = broker.bootstrap_servers
    with driven(service(servers, unique, 3)) as worker:
        producer = KafkaProducer(bootstrap_servers=servers, transactional_id=unique, retry_backoff_ms=5)
        producer.init_transactions()
        for n in range(4):
            producer.begin_transaction()
            producer.send(f"{unique}-in", b"t%d" % n, partition=1 + n % 2, timestamp_ms=1_000 + n)
            producer.commit_transaction() if n % 2 == 0 else producer.abort_transaction()
        write(servers, unique, [b"plain"], 0, 2_000)
        worker.read(3, within_s=15)
        assert worker.values == [b"t0", b"t2", b"plain"]
        wait_until(
            lambda: worker.poll() is not None and not any(worker.transport.progress().lag.values()), 10
        )
        producer.close()


def test_an_open_transaction_in_the_input_holds_back_only_what_is_in_it(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    with driven(service(servers, unique, 2)) as worker:
        producer = KafkaProducer(bootstrap_servers=servers, transactional_id=unique, retry_backoff_ms=5)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(f"{unique}-in", b"open", partition=1, timestamp_ms=1_000).get(timeout=10)
        write(servers, unique, [b"plain"], 0, 2_000)
        assert worker.read(1).values == [b"plain"]
        producer.commit_transaction()
        assert worker.read(2).values == [b"plain", b"open"]
        assert worker.transport.progress().overtaken == 1
        producer.close()


def test_a_partition_that_is_paused_because_others_are_behind_goes_on_later(
    broker: SharedBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uneven partitions, far more records than may wait; with a limit on its polls kafka-python forgets the rest."""
    monkeypatch.setattr(flow, "FULL", 500)
    servers = broker.bootstrap_servers
    settings = service(servers, unique, 4)
    partition = [0 if n % 10 < 6 else n % 4 for n in range(12_000)]
    produce(
        servers, f"{unique}-in", [Written(b"%d" % n, None, p, 1_000 + n) for n, p in enumerate(partition)]
    )
    with driven(settings) as worker:
        assert worker.read(12_000).values == numbered(0, 12_000)
        assert worker.transport.progress().overtaken == 0


# Starts


def test_earliest_begins_at_the_first_record(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a", b"b"])
    delete_before(servers, unique, 1)
    with driven(settings) as worker:
        assert worker.read(1).values == [b"b"]
        opened = worker.happenings[0]
        assert isinstance(opened, Opened)
        assert (opened.state, opened.mark, opened.lost) == ({}, b"", {})


def test_latest_is_chosen_once_and_a_crash_does_not_move_it(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique, start="latest")
    write(servers, unique, [b"before"])
    with driven(settings) as worker:
        worker.opened()
    write(servers, unique, [b"between"])
    with driven(settings) as worker:
        assert worker.read(1).values == [b"between"]


def control(servers: str, name: str, *values: bytes) -> None:
    produce(servers, f"{name}-control", [Written(value, None, 0, 900) for value in values])


def test_commands_are_read_from_the_first_one_on_whatever_start_says(
    broker: SharedBroker, unique: str
) -> None:
    """Also from a topic of commands that is new to a service that ran before."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique, start="latest")
    write(servers, unique, [b"before"])
    control(servers, unique, b"silence", b"accept")
    with driven(settings) as worker:
        assert worker.read(2).values == [b"silence", b"accept"]
        assert worker.offsets == {(f"{unique}-in", 0): 1, (f"{unique}-control", 0): 2}
        worker.commit()
        wait_until(
            lambda: (
                worker.poll() is not None
                and worker.transport.progress().lag[Source(f"{unique}-control", 0)] == 0
            )
        )
    assert group_offsets(servers, unique, topic="control") == [2]
    create_topic(servers, f"{unique}-2-control")
    control(servers, f"{unique}-2", b"pause")
    with driven(
        config(servers, unique, start="latest", outputs={"control": f"{unique}-2-control"})
    ) as worker:
        assert worker.read(1).values == [b"pause"]


def test_commands_that_were_deleted_before_they_were_read_are_counted_as_lost(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique, start="latest")
    control(servers, unique, b"one")
    with driven(settings) as worker:
        worker.read(1).commit()
    control(servers, unique, b"two", b"three", b"four")
    delete_before(servers, unique, 3, topic="control")
    with driven(settings) as worker:
        assert worker.read(1).values == [b"four"]
        opened = worker.happenings[0]
        assert isinstance(opened, Opened)
        assert opened.lost == {(f"{unique}-control", 0): 2}


# Commits


def test_a_restart_goes_on_behind_the_last_commit_with_its_state(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique, 2)
    large = os.urandom(3 * PART_BYTES)
    write(servers, unique, numbered(0, 10), 0)
    with driven(settings) as worker:
        worker.read(10).commit([b"one"], {"large": large, "gone": b"x", "a": b"1"}, b"first")
        worker.commit([], {"gone": None, "large": large[: PART_BYTES + 1]}, b"second")
        write(servers, unique, numbered(10, 5), 1, 2_000)
        worker.read(15)  # never committed
    with driven(settings) as worker:
        worker.opened()
        assert worker.state == {"large": large[: PART_BYTES + 1], "a": b"1"}
        assert worker.mark == b"second"
        assert worker.read(5).values == numbered(10, 5)
        worker.commit([], {"large": None}, b"third")
    with driven(settings) as worker:
        worker.opened()
        assert (worker.state, worker.mark) == ({"a": b"1"}, b"third")
    assert alerts(servers, unique) == [b"one"]
    assert group_offsets(servers, unique, 2) == [10, 5]


@pytest.mark.parametrize(
    ("step", "expected"), [("offsets", "first"), ("commit", "first"), ("committed", "both")]
)
def test_a_kill_in_a_transaction_leaves_all_of_it_or_nothing(
    broker: SharedBroker, unique: str, step: str, expected: str
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 3))
    crash = subprocess.Popen(
        [sys.executable, "-m", "tests.kafka.crash", servers, unique, "3", "2", step], cwd=ROOT
    )
    wait_until(
        lambda: crash.poll() is not None or group_offsets(servers, unique) == [3], what="the good commit"
    )
    write(servers, unique, numbered(3, 2))
    assert crash.wait(60) == -signal.SIGKILL
    with driven(settings) as worker:
        worker.opened(within_s=60)
        if expected == "first":
            assert (worker.state, worker.mark) == ({"seen": b"1"}, b"one")
            assert worker.read(2).values == numbered(3, 2)
            assert alerts(servers, unique) == [b"1:0", b"1:1", b"1:2"]
        else:
            assert (worker.state, worker.mark) == ({"seen": b"2"}, b"two")
            assert alerts(servers, unique) == [b"1:0", b"1:1", b"1:2", b"2:3", b"2:4"]
    assert group_offsets(servers, unique) == [3 if expected == "first" else 5]


@pytest.mark.parametrize("who", ["kafka-python", "the broker"])
def test_a_record_that_is_refused_takes_the_whole_transaction_with_it(
    broker: SharedBroker, unique: str, who: str
) -> None:
    """kafka-python alone would commit the rest; what the broker refuses only the record's own answer tells."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique, outputs={"alerts": f"{unique}-out"})
    limit = {"max_message_bytes": "10000"} if who == "the broker" else {}
    create_topic(servers, f"{unique}-out", **limit)
    write(servers, unique, [b"a"])
    with driven(settings) as worker:
        worker.read(1)
        with pytest.raises(Exception, match="commit task 0"):
            worker.commit([b"small", os.urandom(20_000 if limit else 2_000_000)], {"k": b"v"})
        worker.poll()
        assert isinstance(worker.happenings[-1], Closed)
        worker.read(1)
        assert (worker.state, worker.mark) == ({}, b"")
        worker.commit([b"again"])
    assert [record.value for record in read_committed(servers, f"{unique}-out")] == [b"again"]


class Hanging(TaskProducer):
    """send_offsets hangs once, longer than its deadline, and is then let go."""

    hang: Callable[[], None] | None = None

    def send_offsets(self, offsets: Any, group: Any) -> None:
        if (hang := Hanging.hang) is not None:
            Hanging.hang = None
            self._within("sending the offsets", hang)
        super().send_offsets(offsets, group)


def test_a_call_that_hangs_is_left_behind_and_never_committed(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    release = threading.Event()
    with driven(settings, make_producer=lambda make, name: Hanging(make, name, call_s=1.0)) as worker:
        worker.read(1)
        Hanging.hang = lambda: release.wait(30) and None
        with pytest.raises(PlatformError, match="outcome is unknown"):
            worker.commit([b"hung"])
        release.set()
        worker.poll()
        assert isinstance(worker.happenings[-1], Closed)
        worker.read(1).commit([b"good"])
    assert alerts(servers, unique) == [b"good"]


# Owners


def test_who_is_fenced_loses_the_task_and_gets_it_back_if_it_is_still_its_own(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings) as worker:
        worker.read(1)
        other = KafkaProducer(bootstrap_servers=servers, transactional_id=f"{unique}-0")
        other.init_transactions()
        with pytest.raises(TaskLost):
            worker.commit([b"fenced"])
        worker.read(1).commit([b"good"])
        other.close()
        assert [type(h).__name__ for h in worker.happenings] == [
            "Opened",
            "Batch",
            "Closed",
            "Opened",
            "Batch",
        ]
    assert alerts(servers, unique) == [b"good"]


def test_an_owner_whose_session_ended_cannot_commit(broker: SharedBroker, unique: str) -> None:
    """Its membership is ended behind its back, as by a long stop of the process; a standby takes over."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings) as old, driven(settings) as new:
        old.read(1)
        membership_of(old).close(5)
        new.read(1).commit([b"new"])
        with pytest.raises(TaskLost):
            old.commit([b"old"])
    assert alerts(servers, unique) == [b"new"]


def test_the_group_alone_fences_an_owner_that_nobody_replaced(broker: SharedBroker, unique: str) -> None:
    """Without the group's metadata in the transaction this commit would go through."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings) as old:
        old.read(1)
        membership_of(old).close(5)
        with pytest.raises(TaskLost):
            old.commit([b"old"])
    with driven(settings) as new:  # ends what the old one left open: it holds back every reader
        new.read(1)
    assert alerts(servers, unique) == []


def test_a_standby_is_ready_and_takes_over_when_the_owner_leaves(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 4))
    owner = driven(settings).read(4)
    with driven(settings) as standby:
        with meanwhile(owner):
            standby.until(lambda: standby.transport.progress().detail == "standby")
        assert standby.transport.progress().ready
        assert not standby.is_open
        owner.commit([b"x"], {"k": b"v"})
        owner.transport.close()
        standby.opened()
        assert standby.state == {"k": b"v"}
        write(servers, unique, numbered(4, 1))
        assert standby.read(1).values == [b"4"]


def test_a_worker_that_joins_does_not_disturb_the_owner(broker: SharedBroker, unique: str) -> None:
    """The owner keeps its task, its state and its place, and commits in the new generation."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique, 2)
    write(servers, unique, numbered(0, 4))
    with driven(settings) as owner, driven(settings) as late:
        owner.read(4).commit([b"one"])
        write(servers, unique, numbered(4, 2), 0, 2_000)
        owner.read(6)  # processed, not committed: must be kept over the change of generation
        with meanwhile(owner):
            late.until(lambda: late.transport.progress().detail == "standby")
        write(servers, unique, numbered(6, 2), 1, 3_000)
        with meanwhile(late):  # the group may change once more, and waits for all of its members then
            owner.read(8).commit([b"two"])
        assert owner.values == numbered(0, 8)
        assert [type(h) for h in owner.happenings if isinstance(h, Opened | Closed)] == [Opened]
        assert not late.is_open
    assert alerts(servers, unique) == [b"one", b"two"]
    assert group_offsets(servers, unique, 2) == [6, 2]


def test_a_commit_during_a_rebalance_waits_for_it(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 4))
    with driven(settings) as owner, driven(settings) as late:
        owner.read(4)
        membership = membership_of(owner)
        with meanwhile(late):
            # The newcomer's join reaches the broker; the owner's heartbeat is told; its next poll gives up its share.
            deadline = time.monotonic() + 10
            while membership.settled and time.monotonic() < deadline:
                membership._poll(0.0)
            assert not membership.settled
            owner.commit([b"in the middle"])
        assert owner.is_open
        assert [type(h) for h in owner.happenings if isinstance(h, Opened | Closed)] == [Opened]
    assert alerts(servers, unique) == [b"in the middle"]


def test_who_finds_a_foreign_commit_after_a_rebalance_restores(
    broker: SharedBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 9: an owner that was away for one generation must not go on with the state that it has in memory."""
    monkeypatch.setattr(restore, "AGAIN_S", 0.5)
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 4))
    with driven(settings, resume_from="committed") as owner, driven(settings) as late:
        owner.read(4).commit([b"one"], {"k": b"v"})
        owner.transport._resume_from = "committed"  # the foreign commit has no mark
        commit_within(owner, 2)
        with meanwhile(owner):
            late.until(lambda: Closed in map(type, owner.happenings))
        assert "another worker committed" in str([h for h in owner.happenings if isinstance(h, Closed)])
        with meanwhile(late):
            owner.until(lambda: len(owner.values) == 2)
        assert owner.values == numbered(2, 2)


def commit_within(worker: Driven, offset: int) -> None:
    """Commit an offset from within the group, as a second owner would."""
    membership = membership_of(worker)
    (part,) = (part for part in membership._consumer.assignment() if part.topic.endswith("-in"))
    membership._consumer.commit({part: OffsetAndMetadata(offset, "", -1)})


def test_new_partitions_are_read_from_their_first_record(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique, start="latest")
    with driven(settings, metadata_max_age_s=1.0) as worker:
        worker.opened()
        write(servers, unique, [b"old"])
        worker.read(1)
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_partitions({f"{unique}-in": 2})
        admin.close()
        write(servers, unique, [b"new"], 1, 2_000)
        worker.read(2).commit()
        assert worker.values == [b"old", b"new"]
        assert [type(h) for h in worker.happenings if isinstance(h, Opened | Closed)] == [Opened]
    assert group_offsets(servers, unique, 2) == [1, 1]


# Lost and foreign things


def test_records_that_expired_while_it_was_down_are_counted_as_lost(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 10))
    with driven(settings) as worker:
        worker.read(10)
        worker.offsets = {Source(f"{unique}-in", 0): 3}
        worker.commit()
    delete_before(servers, unique, 8)
    for _ in range(
        2
    ):  # the second time as after a crash before the first commit: it is lost again, not forgotten
        with driven(settings) as worker:
            worker.read(2)
            opened = worker.happenings[0]
            assert isinstance(opened, Opened)
            assert opened.lost == {(f"{unique}-in", 0): 5}
            assert worker.values == numbered(8, 2)


def test_records_that_are_deleted_under_a_running_task_are_counted_as_lost(
    broker: SharedBroker, unique: str
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique, 2)
    with driven(settings) as worker:
        worker.opened()
        membership = membership_of(worker)
        membership.pause(membership.sources)
        write(servers, unique, numbered(0, 10))
        delete_before(servers, unique, 4)
        membership.resume(membership.sources)
        worker.until(lambda: Closed in map(type, worker.happenings))
        worker.read(6)
        opened = [h for h in worker.happenings if isinstance(h, Opened)][-1]
        assert opened.lost == {(f"{unique}-in", 0): 4}
        assert worker.values == numbered(4, 6)


def test_a_mark_without_committed_offsets_is_the_truth(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 4))
    with driven(settings) as worker:
        worker.read(2).commit([], {"k": b"v"})
        at = worker.offsets[Source(f"{unique}-in", 0)]
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_groups([unique])
    admin.close()
    assert group_offsets(servers, unique) == [None]
    with driven(settings) as worker:
        worker.opened()
        assert worker.state == {"k": b"v"}
        assert worker.offsets == {(f"{unique}-in", 0): at, (f"{unique}-control", 0): 0}


def test_mark_and_committed_offsets_that_differ_are_for_a_person_to_choose(
    broker: SharedBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "AGAIN_S", 0.5)
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 10))
    with driven(settings) as worker:
        worker.read(10).commit([], {"k": b"v"})
    set_group_offset(servers, unique, 4)
    with driven(settings) as worker:
        with pytest.raises(MarkMismatch, match=r"mark 10, committed 4.*--resume-from mark") as raised:
            worker.opened()
        assert f"{unique}-state-0" in str(raised.value)
    with driven(settings, resume_from="committed") as worker:
        assert worker.read(6).values == numbered(4, 6)
        assert worker.state == {"k": b"v"}
    with driven(settings) as worker:  # the choice was committed: no question the next time
        assert worker.read(6).values == numbered(4, 6)
    set_group_offset(servers, unique, 1)
    with driven(settings, resume_from="mark") as worker:
        assert worker.read(6).values == numbered(4, 6)
    assert group_offsets(servers, unique) == [4]


@pytest.mark.parametrize(("choice", "kept"), [("mark", {7}), ("committed", set())])
def test_a_person_who_chooses_the_mark_keeps_what_was_said_ahead_of_it(
    choice: Literal["mark", "committed"], kept: set[int], broker: SharedBroker, unique: str
) -> None:
    """With the group's offsets it is wanted anew."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 10))
    source = Source(f"{unique}-in", 0)
    with driven(settings) as worker:
        worker.read(4).commit([], {"k": b"v"})
        worker.transport.commit(Commit(0, {source: 4}, said_to={source: 7}))
    with driven(settings) as worker:
        assert worker.opened().said_to == {source: 7}
    set_group_offset(servers, unique, 2)
    with driven(settings, resume_from=choice) as worker:
        assert set(worker.opened().said_to.values()) == kept


def test_a_commit_that_becomes_visible_late_is_waited_for(broker: SharedBroker, unique: str) -> None:
    """Mark and offsets that differ only for a while are no reason to stop."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, numbered(0, 10))
    with driven(settings) as worker:
        worker.read(10).commit()
    set_group_offset(servers, unique, 4)
    with driven(settings) as worker:
        deadline = time.monotonic() + 1.5
        worker.until(lambda: time.monotonic() > deadline)
        assert not worker.is_open
        commit_within(worker, 10)
        worker.opened()
        assert worker.offsets == {(f"{unique}-in", 0): 10, (f"{unique}-control", 0): 0}


def test_the_state_of_another_service_is_refused(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    with driven(service(servers, unique)) as worker:
        worker.opened()
    other = service(servers, f"{unique}-2", outputs={"state": f"{unique}-state"})
    with (
        driven(other) as worker,
        pytest.raises(StateForeign, match=f"service '{unique}', not of '{unique}-2'"),
    ):
        worker.opened()


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (Written(b'{"not": "ours"}', b"order-1"), StateForeign),
        (Written(b"SW\x01M" + bytes(20), MARK_KEY), StateDamaged),
    ],
)
def test_a_record_on_the_state_topic_that_cannot_be_used_is_named(
    broker: SharedBroker, unique: str, record: Written, error: type[Exception]
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    (_, offset), *_ = produce(servers, f"{unique}-state", [record])
    with driven(settings) as worker, pytest.raises(error, match=f"{unique}-state-0 offset {offset}"):
        worker.opened()


# A broker that goes away


def test_a_broker_that_is_killed_and_comes_back_costs_nothing_but_time(
    own_broker: Broker, unique: str
) -> None:
    servers = own_broker.bootstrap_servers
    settings = service(servers, unique, 2)
    write(servers, unique, numbered(0, 4))
    made: list[TaskProducer] = []

    def impatient(make: Callable[[], Any], name: str) -> TaskProducer:
        made.append(TaskProducer(make, name, call_s=3.0))
        return made[-1]

    with driven(settings, make_producer=impatient) as worker:
        worker.read(4).commit([b"one"], {"k": b"1"})
        own_broker.kill()
        with pytest.raises(PlatformError):
            worker.commit([b"two"], {"k": b"2"})
        with pytest.raises(PlatformError):
            worker.until(lambda: False, within_s=60)
        assert not worker.transport.progress().ready
        own_broker.start()
        worker.until(lambda: worker.is_open, within_s=60, forgive=True)
        assert worker.state["k"] == b"1"
        write(servers, unique, numbered(4, 2), 1, 2_000)
        worker.read(2).commit([b"three"], {"k": b"3"})
        assert worker.values == numbered(4, 2)
        # A commit for which it comes back in time goes through: kafka-python would wait for ever.
        made[-1].call_s = 30.0
        own_broker.kill()
        with ThreadPoolExecutor() as beside:
            beside.submit(own_broker.start)
            worker.commit([b"four"], {"k": b"4"})
    assert alerts(servers, unique) == [b"one", b"three", b"four"]


def test_who_starts_before_the_broker_waits_for_it(plain_broker: Broker, unique: str) -> None:
    servers = plain_broker.bootstrap_servers
    settings = service(servers, unique)
    plain_broker.stop()
    with driven(config(servers, unique)) as worker:
        with pytest.raises(PlatformError):
            worker.poll()
        plain_broker.start()
        worker.until(lambda: worker.is_open, within_s=60, forgive=True)
    assert settings.service == unique
