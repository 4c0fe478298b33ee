"""Each rule of exactly-once by its own scenario: with it all is well, and without it something is lost or doubled.

Faults at random hit such a moment seldom, and most rules are doubled by another one: here each is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from streamwatch.errors import StreamwatchError
from streamwatch.records import Source
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.producer import TaskProducer
from streamwatch.transports.kafka.state_topic import Fold, Mark, encode
from tests.conftest import SharedBroker
from tests.kafka.drive import Driven, driven, service
from tests.kafka.test_transport import alerts, group_offsets, membership_of, write
from tests.kafka.violations import violating
from tests.topics import Written, produce


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a violation changes in the product is put back."""
    monkeypatch.setattr(Ends, "high_watermark", Ends.high_watermark)
    monkeypatch.setattr(Fold, "state", Fold.state)
    return


def committing(worker: Driven, *said: bytes) -> bool:
    """Whether it went through."""
    try:
        worker.commit(said)
    except StreamwatchError:
        return False
    return True


@pytest.mark.parametrize(("rules", "found"), [((), [b"again"]), (("3",), [b"small"])])
def test_3_without_asking_for_each_record_one_is_lost_and_the_rest_committed(
    broker: SharedBroker, unique: str, rules: Sequence[str], found: list[bytes]
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings, make_producer=violating(rules, TaskProducer)) as worker:
        if not committing(worker.read(1), b"small", b"x" * 2_000_000):
            worker.read(1).commit([b"again"])
    assert alerts(servers, unique) == found
    assert group_offsets(servers, unique) == [1]


@pytest.mark.parametrize(("rules", "found"), [((), [b"good"]), (("4",), [])])
def test_4_a_producer_that_is_used_again_after_a_failure_never_comes_back(
    broker: SharedBroker, unique: str, rules: Sequence[str], found: list[bytes]
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings, make_producer=violating(rules, TaskProducer)) as worker:
        worker.read(1)
        other = KafkaProducer(bootstrap_servers=servers, transactional_id=f"{unique}-0")
        other.init_transactions()
        other.close()
        assert not committing(worker, b"fenced")
        for _ in range(3):
            if committing(worker.read(1), b"good"):
                break
    assert alerts(servers, unique) == found


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ((), [b"new"]),
        (("7",), [b"new"]),
        (("8-fence",), [b"new"]),
        (("7", "8-fence"), [b"old", b"new"]),
    ],
)
def test_7_and_8_without_any_fence_an_owner_that_was_replaced_commits_the_same_again(
    broker: SharedBroker, unique: str, rules: Sequence[str], found: list[bytes]
) -> None:
    """The group's generation and the transactional id are a fence each: one alone holds."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    made: dict[str, Any] = {"make_producer": violating(rules, TaskProducer)}
    with driven(settings, **made) as old, driven(settings, **made) as new:
        old.read(1)
        membership_of(old).close(5)
        new.read(1)
        assert committing(old, b"old") == (b"old" in found)
        new.commit([b"new"])
    assert alerts(servers, unique) == found


@pytest.mark.parametrize(("rules", "begins"), [((), 2), (("8-watermark",), 1)])
def test_8_up_to_the_last_stable_offset_the_last_state_is_not_seen(
    broker: SharedBroker, unique: str, rules: Sequence[str], begins: int
) -> None:
    """Commit returned does not mean readable. Seen when the group's offsets have expired: the mark alone tells."""
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    other = KafkaProducer(bootstrap_servers=servers, transactional_id=f"{unique}-other")
    with driven(settings) as worker:
        write(servers, unique, [b"a"])
        worker.read(1).commit([b"a"])
        other.init_transactions()
        other.begin_transaction()
        other.send(settings.state_topic, key=b"open#0", value=b"open", partition=0)
        other.flush()
        write(servers, unique, [b"b"], first_ms=2_000)
        worker.read(2).commit([b"b"])
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_groups([unique])
    admin.close()
    with driven(settings, make_producer=violating(rules, TaskProducer)) as next_one:
        next_one.until(lambda: next_one.is_open or bool(restoring(next_one)), 30.0)
        for _ in range(8):
            next_one.poll()
        assert next_one.is_open == bool(rules)
        other.abort_transaction()
        next_one.opened()
        (opened,) = [h for h in next_one.happenings if hasattr(h, "lost")]
        assert opened.offsets == {Source(f"{unique}-in", 0): begins, Source(f"{unique}-control", 0): 0}
    with suppress(Exception):
        other.close(timeout=1)


def restoring(worker: Driven) -> list[int]:
    return [number for number, task in worker.transport._tasks.items() if task.steps is not None]


@pytest.mark.parametrize(("rules", "state"), [((), {"k": b"1"}), (("8-mark",), {"k": b"2"})])
def test_8_beyond_the_last_mark_is_no_whole_transaction(
    broker: SharedBroker, unique: str, rules: Sequence[str], state: dict[str, bytes]
) -> None:
    servers = broker.bootstrap_servers
    settings = service(servers, unique)
    write(servers, unique, [b"a"])
    with driven(settings) as worker:
        worker.read(1).commit([b"a"], {"k": b"1"})
    mark = Mark(service=unique, mode="one", tasks=1, task=0, offsets=(), engine=b"")
    *half, _ = encode({"k": b"2"}, mark, {})[0]
    produce(servers, settings.state_topic, [Written(value, key, 0) for key, value in half])
    with driven(settings, make_producer=violating(rules, TaskProducer)) as worker:
        worker.opened()
        assert worker.state == state
