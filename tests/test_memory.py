"""The memory transport's own rules: records as users write them, and crashes inside the list."""

from __future__ import annotations

import json
import math

import pytest

from streamwatch.errors import BrokerUnreachable, TaskLost, TransactionTimeout
from streamwatch.records import Batch, Commit, Message, Source
from streamwatch.transports.base import Closed, Opened
from streamwatch.transports.memory import (
    ABORT,
    CRASH_AFTER_COMMIT,
    CRASH_BEFORE_COMMIT,
    Crash,
    Crashed,
    MemoryTransport,
    Record,
)

P = Source("p", 0)


def values(transport: MemoryTransport, polls: int = 20) -> list[bytes | None]:
    """All that comes in so many polls."""
    return [
        value
        for _ in range(polls)
        for happening in transport.poll()
        if isinstance(happening, Batch)
        for value in happening.value
    ]


def commit(next_offset: int, text: bytes = b'{"n": 1}') -> Commit:
    return Commit(0, {P: next_offset}, [Message(None, text)], state={"key": text}, mark=text)


def test_a_record_is_bytes_as_they_stand_text_as_utf8_a_dict_as_json_and_nan_stays_nan() -> None:
    items = [Record("p", b"\xff"), Record("p", "ä"), Record("p", {"x": math.nan}), Record("p", None)]
    assert values(MemoryTransport(items)) == [b"\xff", "ä".encode(), b'{"x": NaN}', None]


def test_keys_headers_time_and_offsets_are_given_as_they_were_written() -> None:
    headers = [("a", "x"), ("b", None), ("a", b"\xff")]
    transport = MemoryTransport([Record("p", "v", "k", 7, 3, headers, 5), Record("p", "w", partition=3)])
    transport.poll()
    (batch,) = transport.poll()
    assert isinstance(batch, Batch)
    assert batch.sources == (Source("p", 3),)
    assert batch.key == [b"k", None]
    assert batch.timestamp_ms.tolist() == [7, -1]
    assert batch.offset.tolist() == [5, 6]
    assert batch.headers[0] == (("a", b"x"), ("b", None), ("a", b"\xff"))


def test_offsets_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        MemoryTransport([Record("p", "v", offset=5), Record("p", "v", offset=5)]).poll()


def test_at_abort_the_poll_raises_after_the_records_before_it_were_given_and_once() -> None:
    transport = MemoryTransport([Record("p", "a"), Record("p", "b"), ABORT, Record("p", "c")])
    transport.poll()
    (batch,) = transport.poll()
    assert isinstance(batch, Batch)
    assert list(batch.value) == [b"a", b"b"]
    assert not transport.finished
    with pytest.raises(Crashed):
        transport.poll()
    assert values(transport) == [b"a", b"b", b"c"]
    assert transport.crashes_to_come == 0


def test_abort_at_the_end_of_the_list_comes_after_the_last_record() -> None:
    transport = MemoryTransport([Record("p", "a"), ABORT])
    assert values(transport, polls=2) == [b"a"]
    assert not transport.finished
    with pytest.raises(Crashed):
        transport.poll()
    assert values(transport) == [b"a"]
    assert transport.finished


def test_a_crash_stands_where_its_next_record_stands_in_the_order_of_the_task() -> None:
    late, early = Record("p", "late", timestamp_ms=9), Record("p", "early", timestamp_ms=1, partition=1)
    transport = MemoryTransport([late, ABORT, early])
    transport.poll()
    with pytest.raises(Crashed):
        transport.poll()
    assert values(transport) == [b"early", b"late"]


@pytest.mark.parametrize(("crash", "visible"), [(CRASH_BEFORE_COMMIT, False), (CRASH_AFTER_COMMIT, True)])
def test_a_crash_in_commit_leaves_all_of_it_or_nothing(crash: Crash, visible: bool) -> None:
    transport = MemoryTransport([Record("p", "a"), crash, Record("p", "b")])
    assert values(transport) == [b"a", b"b"]
    with pytest.raises(Crashed):
        transport.commit(commit(1))
    assert transport.alerts == ([{"n": 1}] if visible else [])
    assert transport.offsets == ({P: 1} if visible else {})
    assert transport.state == ({"key": b'{"n": 1}'} if visible else {})
    assert transport.mark == (b'{"n": 1}' if visible else b"")
    assert values(transport) == ([b"b"] if visible else [b"a", b"b"])
    transport.commit(commit(2))
    assert len(transport.alerts) == 1 + visible


def test_a_crash_in_commit_is_not_used_up_by_another_crash_before_it() -> None:
    transport = MemoryTransport([CRASH_BEFORE_COMMIT, Record("p", "a"), ABORT])
    with pytest.raises(Crashed):
        values(transport)
    assert transport.crashes_to_come == 1
    values(transport)
    with pytest.raises(Crashed):
        transport.commit(commit(1))


def test_a_failing_platform_closes_the_task_and_opens_it_again() -> None:
    outage = Crash("poll", BrokerUnreachable)
    unknown = Crash("after commit", TransactionTimeout)
    transport = MemoryTransport([Record("p", "a"), outage, unknown, Record("p", "b")])
    with pytest.raises(BrokerUnreachable):
        values(transport)
    closed, opened = transport.poll()
    assert isinstance(closed, Closed)
    assert isinstance(opened, Opened)
    assert values(transport) == [b"a", b"b"]
    with pytest.raises(TransactionTimeout):
        transport.commit(commit(2))
    with pytest.raises(TaskLost):
        transport.commit(commit(2))
    assert [type(happening) for happening in transport.poll()] == [Closed, Opened]
    assert transport.finished
    assert transport.commits == 1


def test_alerts_and_dead_letters_are_there_parsed() -> None:
    transport = MemoryTransport([Record("p", "a")])
    transport.poll()
    letter = Message(b"p/0", json.dumps({"code": "not json"}).encode())
    transport.commit(Commit(0, {P: 1}, [Message(b"m", b'{"id": "x"}')], [letter]))
    assert transport.alerts == [{"id": "x"}]
    assert transport.dead_letters == [{"code": "not json"}]


def test_progress_says_what_is_left_of_each_partition() -> None:
    records = [Record("p", "a", partition=n % 2) for n in range(5)]
    transport = MemoryTransport(records, batch_size=2)
    transport.poll()
    assert transport.progress().lag == {Source("p", 0): 3, Source("p", 1): 2}
    transport.poll()
    assert sum(transport.progress().lag.values()) == 3
