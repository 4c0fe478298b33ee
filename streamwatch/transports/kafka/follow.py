"""Reading a topic as a bystander: what is committed, from all partitions, without a group."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from kafka import TopicPartition

from streamwatch.errors import StartRefused
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.settings import KafkaSettings

POLL_S = 0.25


def follow(
    settings: KafkaSettings, topic: str, from_start: bool, done: Callable[[], bool] = lambda: False
) -> Iterator[bytes | None]:
    """The values of the topic's records, in the order of their times as far as they come together, until `done`,
    asked between two polls.

    StartRefused if there is no such topic. What retention deletes before it is read is passed over.
    """
    doing = f"read the topic {topic}"
    consumer = connect.consumer(settings, client_id="streamwatch-tail", auto_offset_reset="earliest")
    try:
        with translated(doing):
            numbers = sorted(consumer.partitions_for_topic(topic) or ())
        if not numbers:
            raise StartRefused(
                f"there is no topic {topic}, or no right to see it. To do: `streamwatch run` makes it at its "
                "first start; if it runs, check outputs.alerts and the right to describe and read the topic"
            )
        with translated(doing):
            parts = [TopicPartition(topic, number) for number in numbers]
            ends = consumer.end_offsets(parts)
            consumer.assign(parts)
            if from_start:
                consumer.seek_to_beginning(*parts)
            else:
                for part in parts:
                    consumer.seek(part, ends[part])
        while not done():
            with translated(doing):
                fetched = consumer.poll(timeout_ms=int(POLL_S * 1000))
            records = [record for part in fetched.values() for record in part]
            for record in sorted(records, key=lambda record: record.timestamp):
                yield record.value
    finally:
        close(consumer)


def close(consumer: Any) -> None:
    """What kafka-python breaks off when it closes (a metadata refresh, say) it logs as an error: nobody's concern."""
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        consumer.close()
    finally:
        logger.setLevel(level)
