"""One suite for every transport: what `transports.base` promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from streamwatch.errors import TaskLost
from streamwatch.records import Batch, Commit, Header, Message, Source
from streamwatch.transports.base import Opened, Transport
from streamwatch.transports.memory import Record
from tests.contract.harness import HARNESSES, SAID, Harness
from tests.kafka.harness import KafkaHarness

Row = tuple[Source, int, int, bytes | None, bytes | None, tuple[Header, ...]]
Build = Callable[..., Harness]

T0 = 1_764_000_000_000
P = Source("predictions", 0)


def records(partitions: int = 3, each: int = 40) -> list[Record]:
    """Ties and steps back in time, every kind of key, value and header."""
    made = []
    for n in range(partitions * each):
        partition = n % partitions
        made.append(
            Record(
                "predictions",
                (b'{"n": %d}' % n, b"\xff\x00", None, b"", b"text", b'{"base64": "AA"}', b"null", b'"x"')[
                    n % 17 if n % 17 < 8 else 0
                ],
                (b"key", None, b"\xfe")[n % 3 if n % 5 else 0],
                T0 + 10 * (n // 4) - 35 * (n % 11 == 0),
                partition,
                (("a", b"1"), ("a", None), ("b", b"\xfd")) if n % 7 == 0 else (),
            )
        )
    return made


# Worked out by hand from the rules of `transports.order`, over all partitions: (partition, offset).
SMALL = [
    Record("predictions", b"a", None, T0 + 20, 0),
    Record("predictions", b"b", None, T0 + 10, 1),
    Record("predictions", b"c", None, T0 + 5, 0),
    Record("predictions", b"d", None, T0 + 20, 1),
    Record("predictions", b"e", None, T0 + 30, 0),
]
SMALL_ORDER = [b"b", b"a", b"c", b"d", b"e"]
# Commands: at an equal time before everything, and else at their own time.
COMMANDED = [
    *SMALL,
    Record(SAID, b"first of all", None, T0, 0),
    Record(SAID, b"before a and d", None, T0 + 20, 0),
    Record(SAID, b"last", None, T0 + 31, 0),
]
COMMANDED_ORDER = [b"first of all", b"b", b"before a and d", b"a", b"c", b"d", b"e", b"last"]


@pytest.fixture(params=[*HARNESSES, "kafka"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """A harness of each kind, over records: `build(records, batch_size=n)`."""

    def built(given: Sequence[Record], batch_size: int = 7) -> Harness:
        if request.param == "kafka":
            return KafkaHarness(given, request.getfixturevalue("broker").bootstrap_servers, batch_size)
        return HARNESSES[request.param](given, tmp_path, batch_size)

    return built


def rows(batch: Batch) -> list[Row]:
    return [
        (
            batch.sources[batch.source[row]],
            int(batch.offset[row]),
            int(batch.timestamp_ms[row]),
            batch.key[row],
            batch.value[row],
            tuple((name, value) for name, value in batch.headers[row]),
        )
        for row in range(len(batch))
    ]


def opened(harness: Harness, transport: Transport) -> Opened:
    """Poll up to the task's Opened, before which no records may come."""
    deadline = time.monotonic() + harness.wait_s()
    while time.monotonic() < deadline:
        for happening in transport.poll(0.25):
            assert not isinstance(happening, Batch), "records before Opened"
            if isinstance(happening, Opened):
                return happening
    raise AssertionError("the task was not opened")


def drain(harness: Harness, transport: Transport, count: int) -> list[Row]:
    """The next `count` records, or all until the transport is finished."""
    found: list[Row] = []
    deadline = time.monotonic() + harness.wait_s()
    while len(found) < count and not transport.finished:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records came"
        for happening in transport.poll(0.25):
            assert isinstance(happening, Batch), happening
            found += rows(happening)
    return found


def expected(given: Sequence[Record]) -> set[Row]:
    offsets: dict[Source, int] = {}
    found = set()
    for record in given:
        offset = offsets.get(record.source, 0)
        offsets[record.source] = offset + 1
        headers = tuple(record.headers)
        found.add((record.source, offset, record.timestamp_ms, record.key, record.value, headers))
    return found


def after(taken: Sequence[Row]) -> dict[Source, int]:
    return {source: offset + 1 for source, offset, *_ in taken}


def commit(taken: Sequence[Row], n: int = 1, **changed: object) -> Commit:
    content: dict[str, object] = {
        "offsets": after(taken),
        "alerts": [Message(b"m", b'{"alert":%d}' % n)],
        "dead_letters": [Message(b"p/0", b'{"dead":%d}' % n)],
        "state": {"one": b"\x00state %d" % n, "two": b"kept"},
        "mark": b"\xffmark %d" % n,
    }
    return Commit(0, **{**content, **changed})  # type: ignore[arg-type]


def test_every_record_comes_once_byte_by_byte_with_its_coordinates(build: Build) -> None:
    given = records()
    harness = build(given)
    transport = harness.transport()
    opened(harness, transport)
    found = drain(harness, transport, len(given))
    transport.close()
    assert len(found) == len(given)
    assert set(found) == expected(given)


def test_records_come_in_the_order_of_the_task(build: Build) -> None:
    harness = build(SMALL)
    transport = harness.transport()
    opened(harness, transport)
    assert [value for *_, value, _ in drain(harness, transport, len(SMALL))] == SMALL_ORDER
    transport.close()


@pytest.mark.parametrize("batch_size", [1, 100])
def test_commands_are_records_in_the_order_of_the_task(build: Build, batch_size: int) -> None:
    harness = build(COMMANDED, batch_size)
    transport = harness.transport()
    opened(harness, transport)
    found = drain(harness, transport, len(COMMANDED))
    assert [value for *_, value, _ in found] == COMMANDED_ORDER
    transport.commit(commit(found))
    transport.close()
    assert dict(harness.committed().offsets) == after(found)


@pytest.mark.parametrize("batch_size", [1, 13, 1000])
def test_the_order_is_that_of_the_memory_transport_in_any_batch_size(
    build: Build, batch_size: int, tmp_path: Path
) -> None:
    given = records()
    reference = HARNESSES["memory"](given, tmp_path, 1000)
    harness = build(given, batch_size)
    orders = []
    for one in (reference, harness):
        transport = one.transport()
        opened(one, transport)
        orders.append(drain(one, transport, len(given)))
        transport.close()
    assert orders[0] == orders[1]


def test_a_first_start_opens_empty(build: Build) -> None:
    harness = build(SMALL)
    transport = harness.transport()
    first = opened(harness, transport)
    transport.close()
    assert (first.task, dict(first.state), first.mark, dict(first.lost)) == (0, {}, b"", {})
    assert set(first.offsets.values()) <= {0}


def test_a_commit_is_visible_and_the_next_owner_gets_it_back(build: Build) -> None:
    given = records()
    harness = build(given)
    transport = harness.transport()
    opened(harness, transport)
    taken = drain(harness, transport, 30)
    transport.commit(commit(taken))
    transport.close()
    seen = harness.committed()
    assert seen.alerts == [b'{"alert":1}']
    assert seen.dead_letters == [b'{"dead":1}']
    assert dict(seen.state) == {"one": b"\x00state 1", "two": b"kept"}
    assert seen.mark == b"\xffmark 1"
    assert dict(seen.offsets) == after(taken)
    transport = harness.transport()
    again = opened(harness, transport)
    transport.close()
    assert dict(again.state) == {"one": b"\x00state 1", "two": b"kept"}
    assert again.mark == b"\xffmark 1"
    assert {source: again.offsets[source] for source in after(taken)} == after(taken)


def test_what_is_not_committed_is_given_again_in_the_same_order(build: Build) -> None:
    given = records()
    harness = build(given)
    transport = harness.transport()
    opened(harness, transport)
    first = drain(harness, transport, 30)
    transport.commit(commit(first))
    lost = drain(harness, transport, 20)
    transport.close()
    transport = harness.transport()
    opened(harness, transport)
    rest = drain(harness, transport, len(given) - len(first))
    transport.close()
    assert rest[: len(lost)] == lost
    assert len(first) + len(rest) == len(given)
    assert set(first) | set(rest) == expected(given)
    assert harness.committed().alerts == [b'{"alert":1}']


def test_what_was_said_ahead_of_the_state_is_told_and_its_records_come_first(build: Build) -> None:
    """In the order in which they came; then all others."""
    given = records()
    harness = build(given)
    transport = harness.transport()
    opened(harness, transport)
    first = drain(harness, transport, 20)
    transport.commit(commit(first))
    ahead = drain(harness, transport, 30)
    said_to = {**after(first), **after(ahead)}
    transport.commit(commit(first, 2, state={}, mark=b"\xffmark 1", said_to=said_to))
    transport.close()
    seen = harness.committed()
    assert seen.alerts == [b'{"alert":1}', b'{"alert":2}']
    assert dict(seen.offsets) == after(first)
    assert seen.mark == b"\xffmark 1"
    transport = harness.transport()
    again = opened(harness, transport)
    rest = drain(harness, transport, len(given) - len(first))
    transport.close()
    assert dict(again.said_to) == {
        source: at for source, at in said_to.items() if at > after(first).get(source, 0)
    }
    assert {source: again.offsets[source] for source in after(first)} == after(first)
    assert rest[: len(ahead)] == ahead
    assert set(first) | set(rest) == expected(given)
    assert len(first) + len(rest) == len(given)


def test_commits_add_up_the_later_state_stands_and_none_deletes(build: Build) -> None:
    given = records()
    harness = build(given)
    transport = harness.transport()
    opened(harness, transport)
    first = drain(harness, transport, 10)
    transport.commit(commit(first))
    second = drain(harness, transport, 10)
    transport.commit(commit([*first, *second], 2, state={"two": None, "three": b"3"}))
    transport.close()
    seen = harness.committed()
    assert seen.alerts == [b'{"alert":1}', b'{"alert":2}']
    assert seen.dead_letters == [b'{"dead":1}', b'{"dead":2}']
    assert dict(seen.state) == {"one": b"\x00state 1", "three": b"3"}
    assert seen.mark == b"\xffmark 2"
    transport = harness.transport()
    assert dict(opened(harness, transport).state) == {"one": b"\x00state 1", "three": b"3"}
    transport.close()


def test_a_commit_without_output_moves_offsets_and_state_only(build: Build) -> None:
    harness = build(SMALL)
    transport = harness.transport()
    opened(harness, transport)
    taken = drain(harness, transport, len(SMALL))
    transport.commit(commit(taken, alerts=(), dead_letters=()))
    transport.close()
    seen = harness.committed()
    assert (seen.alerts, seen.dead_letters, dict(seen.offsets)) == ([], [], after(taken))


def test_a_task_that_is_not_open_cannot_commit(build: Build) -> None:
    harness = build(SMALL)
    transport = harness.transport()
    with pytest.raises(TaskLost):
        transport.commit(commit([(P, 0, 0, None, b"", ())]))
    transport.close()
    assert harness.committed().alerts == []


def test_a_drained_transport_has_no_lag_and_before_it_had_all(build: Build) -> None:
    harness = build(SMALL, batch_size=1)
    transport = harness.transport()
    opened(harness, transport)
    drain(harness, transport, 1)
    assert sum(transport.progress().lag.values()) == len(SMALL) - 1
    drain(harness, transport, len(SMALL) - 1)
    progress = transport.progress()
    transport.close()
    assert sum(progress.lag.values()) == 0
    assert progress.ready
    assert progress.overtaken == 0


def test_what_has_an_end_is_finished_there_and_not_before(build: Build) -> None:
    harness = build(SMALL, batch_size=1)
    transport = harness.transport()
    seen = [transport.finished]
    opened(harness, transport)
    for _ in SMALL:
        seen.append(transport.finished)
        drain(harness, transport, 1)
    assert seen == [False] * (1 + len(SMALL))
    assert transport.finished == harness.finishes
    transport.close()


def test_it_can_be_closed_twice_and_before_anything_happened(build: Build) -> None:
    harness = build(SMALL)
    transport = harness.transport()
    transport.close()
    transport.close()
    transport = harness.transport()
    opened(harness, transport)
    transport.close()
    transport.close()
