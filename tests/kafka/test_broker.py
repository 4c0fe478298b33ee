"""The test broker itself: what the other tests of Kafka rest on."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import KafkaProducer

from tests.broker import Broker
from tests.topics import Written, create_topic, produce, read_committed


def test_data_outlives_kill_and_restart_on_the_same_address(plain_broker: Broker, unique: str) -> None:
    address = plain_broker.bootstrap_servers
    create_topic(address, unique, partitions=2)
    produce(address, unique, [Written(b"a", partition=0), Written(b"b", partition=1)])
    plain_broker.restart()
    assert plain_broker.bootstrap_servers == address
    assert [r.value for r in read_committed(address, unique, at_least=2)] == [b"a", b"b"]


def test_read_committed_hides_what_was_aborted(broker: Any, unique: str) -> None:
    create_topic(broker.bootstrap_servers, unique)
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        bootstrap_timeout_ms=10_000,
        transactional_id=unique,
        acks="all",
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(unique, b"aborted")
        producer.flush(10)
        producer.abort_transaction()
    finally:
        producer.close(timeout=5)
    produce(broker.bootstrap_servers, unique, [b"kept"])
    assert [r.value for r in read_committed(broker.bootstrap_servers, unique, at_least=1)] == [b"kept"]
    both = read_committed(broker.bootstrap_servers, unique, isolation_level="read_uncommitted")
    assert [r.value for r in both] == [b"aborted", b"kept"]


def test_an_open_transaction_is_said_and_not_waited_for_for_ever(broker: Any, unique: str) -> None:
    create_topic(broker.bootstrap_servers, unique)
    producer = KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        bootstrap_timeout_ms=10_000,
        transactional_id=unique,
        acks="all",
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(unique, b"open")
        producer.flush(10)
        with pytest.raises(AssertionError, match="short of the end"):
            read_committed(broker.bootstrap_servers, unique, within_s=1)
    finally:
        producer.close(timeout=5)


@pytest.mark.parametrize("number", range(2))
def test_the_shared_broker_is_there_for_each_worker(broker: Any, unique: str, number: int) -> None:
    create_topic(broker.bootstrap_servers, unique)
    produce(broker.bootstrap_servers, unique, [str(number).encode()])
    assert len(read_committed(broker.bootstrap_servers, unique, at_least=1)) == 1
