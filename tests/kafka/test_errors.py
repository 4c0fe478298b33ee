"""The map of kafka-python's errors: complete, and each class in one group."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from kafka import errors as kafka

from streamwatch.errors import (
    BrokerUnreachable,
    PlatformError,
    StartRefused,
    StreamwatchError,
    TaskLost,
    TransactionTimeout,
)
from streamwatch.transports.kafka import errors

GROUPS = (
    errors.REFUSED,
    errors.LOST,
    errors.TIMEOUTS,
    errors.UNREACHABLE,
    errors.NOT_TRANSLATED,
    errors.NEVER_ASKED,
)
CLASSES = {
    name: found
    for name, found in inspect.getmembers(kafka, inspect.isclass)
    if issubclass(found, kafka.KafkaError) and found.__name__ == name
}


def test_every_error_of_kafka_python_is_in_one_group_and_no_other_name_is() -> None:
    sorted_once = Counter(name for group in GROUPS for name in group)
    assert sorted(CLASSES) == sorted(sorted_once)
    assert [name for name, count in sorted_once.items() if count > 1] == []


def test_no_error_that_kafka_python_would_retry_is_told_to_the_operator_or_ignored() -> None:
    retried = {name for name, found in CLASSES.items() if found.retriable}
    known = errors.UNREACHABLE | errors.TIMEOUTS | errors.LOST | {"UnknownTopicOrPartitionError"}
    assert (
        retried - known - {"ShareSessionNotFoundError", "InvalidShareSessionEpochError"} - errors.NEVER_ASKED
        == set()
    )


@pytest.mark.parametrize(
    ("error", "transactional", "ours", "says"),
    [
        (kafka.TopicAuthorizationFailedError("x"), False, StartRefused, "grant Read"),
        (kafka.GroupAuthorizationFailedError("x"), False, StartRefused, "grant Read on the group"),
        (kafka.TransactionalIdAuthorizationFailedError(), False, StartRefused, "transactional id"),
        (kafka.InvalidReplicationFactorError(), False, StartRefused, "replication_factor"),
        (kafka.ProducerFencedError(), True, TaskLost, "cannot commit"),
        (kafka.InvalidProducerEpochError(), True, TaskLost, "cannot commit"),
        (kafka.CommitFailedError(), True, TaskLost, "cannot commit"),
        (kafka.IllegalStateError("in state BUMPING_PRODUCER_EPOCH"), True, TaskLost, "BUMPING"),
        (kafka.KafkaTimeoutError("60 s"), True, TransactionTimeout, "outcome is unknown"),
        (kafka.KafkaTimeoutError("60 s"), False, BrokerUnreachable, "60 s"),
        (kafka.KafkaConnectionError("gone"), True, BrokerUnreachable, "gone"),
        (kafka.for_code(9999)(), False, PlatformError, "cannot commit"),
    ],
)
def test_an_error_becomes_that_of_who_must_act(
    error: kafka.KafkaError, transactional: bool, ours: type[StreamwatchError], says: str
) -> None:
    with pytest.raises(ours, match=says) as raised, errors.translated("commit", transactional=transactional):
        raise error
    assert raised.value.__cause__ is error


def test_lost_data_and_faults_of_the_program_are_not_translated() -> None:
    with pytest.raises(kafka.OffsetOutOfRangeError), errors.translated("poll"):
        raise kafka.OffsetOutOfRangeError({})
    with pytest.raises(kafka.IllegalStateError), errors.translated("poll"):
        raise kafka.IllegalStateError("a fault of the program")
