"""What a task's producer refuses before the commit. The broker's part is in test_transport.py."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.future import Future
from kafka.structs import ConsumerGroupMetadata

from streamwatch.errors import TaskLost, TransactionTimeout
from streamwatch.transports.kafka.producer import Outgoing, TaskProducer


class Broken:
    """Stands for kafka-python's producer when a record expires: every call succeeds but the record's own answer."""

    def __init__(self, answer: Future) -> None:
        self.answer = answer
        self.calls: list[str] = []
        self._sender = None

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.calls.append(name)

    def send(self, topic: str, **_: Any) -> Future:
        return self.answer if topic == "bad" else Future().success(None)


def opened(producer: Broken, **more: Any) -> TaskProducer:
    task = TaskProducer(lambda: producer, "s-0", **more)
    task.open().result(10)
    return task


def test_a_record_that_expired_fails_the_transaction() -> None:
    """kafka-python's commit_transaction says OK although the record is lost."""
    task = opened(Broken(Future().failure(KafkaTimeoutError("expired"))))
    with pytest.raises(KafkaTimeoutError, match="expired"):
        task.write([Outgoing("good", b"k", b"v"), Outgoing("bad", b"k", b"v")])


def test_a_record_without_an_answer_fails_the_transaction() -> None:
    task = opened(Broken(Future()), call_s=0.5)
    with pytest.raises(TransactionTimeout, match="a record for bad was not acknowledged"):
        task.write([Outgoing("bad", b"k", b"v")])


@pytest.mark.parametrize(("generation", "member"), [(-1, "m"), (3, ""), (-1, "")])
def test_offsets_of_no_member_are_refused(generation: int, member: str) -> None:
    """The broker takes them without any fencing."""
    producer = Broken(Future())
    with pytest.raises(TaskLost):
        opened(producer).send_offsets({}, ConsumerGroupMetadata("g", generation, member, None))
    assert "send_offsets_to_transaction" not in producer.calls


def test_a_producer_that_was_given_up_while_it_connected_fences_nobody() -> None:
    """Else it would end the producer that came after it."""
    connecting, connected = threading.Event(), threading.Event()
    producer = Broken(Future())

    def make() -> Broken:
        connecting.set()
        connected.wait(10)
        return producer

    task = TaskProducer(make, "s-0")
    future = task.open()
    assert connecting.wait(10)
    task.discard()
    connected.set()
    future.result(10)
    assert producer.calls == ["close"]
