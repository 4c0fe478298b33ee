"""A sample of a topic: its last records, read by a bystander that leaves no trace.

No group, no transaction, and no topic is made, also where the broker would make one at the first question for it.
"""

from __future__ import annotations

import time
from contextlib import closing
from difflib import get_close_matches
from typing import Any

import numpy as np
from kafka import TopicPartition
from kafka import errors as kafka

from streamwatch.errors import BrokerUnreachable, OperatorError, StartRefused
from streamwatch.records import Batch, Source
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.follow import close
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.topics import grant_command
from streamwatch.transports.sample import Limits, Partition, Sample

CLIENT = "streamwatch-look"
POLL_S = 0.25
QUESTION_S = 5.0


def sample_topic(settings: KafkaSettings, topic: str, limits: Limits = Limits()) -> Sample:  # noqa: B008 - frozen
    """The last committed records of each partition, as many of each.

    StartRefused: there is no such topic, or no right to read it. BrokerUnreachable: no answer. OperatorError: the
    topic is empty.
    """
    numbers = _readable(settings, topic)
    doing = f"read the topic {topic}"
    consumer = connect.consumer(
        settings,
        client_id=CLIENT,
        auto_offset_reset="earliest",  # what retention deletes meanwhile is passed over
        max_poll_records=1_000_000,
        fetch_max_bytes=4 * 1024 * 1024,
        max_partition_fetch_bytes=1024 * 1024,
        fetch_max_wait_ms=100,
    )
    try:
        with translated(doing):
            parts = [TopicPartition(topic, number) for number in numbers]
            begins = consumer.beginning_offsets(parts, timeout_ms=int(QUESTION_S * 1000))
            ends = consumer.end_offsets(parts, timeout_ms=int(QUESTION_S * 1000))
            if begins == ends:
                raise OperatorError(_empty(topic, sum(ends.values())))
            each = max(1, min(limits.per_partition, limits.records // len(parts)))
            starts = {part: max(begins[part], ends[part] - each) for part in parts}
            consumer.assign(parts)
            for part in parts:
                consumer.seek(part, starts[part])
            records, cut = _read(consumer, ends, limits)
    finally:
        close(consumer)
    if not records:
        raise BrokerUnreachable(
            f"the topic {topic} holds records, and none came within {limits.within_s:g} s. To do: try again; if it "
            "stays so, the brokers that lead its partitions cannot be reached, or its records are not committed"
        )
    batch = _batch(topic, records)
    taken = np.bincount([record.partition for record in records], minlength=max(numbers) + 1)
    partitions = [
        Partition(p.partition, begins[p], ends[p], ends[p] - begins[p], int(taken[p.partition]))
        for p in parts
    ]
    what = f"the last {each:,} records of each partition{cut}"
    return Sample(topic, f"topic {topic} at {settings.bootstrap_servers}", what, partitions, batch)


def _readable(settings: KafkaSettings, topic: str) -> list[int]:
    """The numbers of the partitions, if we may read them. A consumer without the right would wait for ever."""
    with translated("ask the broker"), closing(connect.admin(settings, CLIENT)) as client:
        (entry,) = client.describe_topics([topic])
        error = kafka.for_code(entry["error_code"]) if entry["error_code"] else None
        if error is kafka.UnknownTopicOrPartitionError:
            others = sorted(name for name in client.list_topics() if not name.startswith("__"))
            near = get_close_matches(topic, others, n=3, cutoff=0.5)
            there = f"did you mean {' or '.join(near)}?" if near else _few(others)
            raise StartRefused(f"there is no topic {topic}, or no right to see it: {there}")
        allowed = entry.get("authorized_operations")
        if error is kafka.TopicAuthorizationFailedError or (allowed and "READ" not in allowed):
            grant = grant_command(settings, ("Read",), "topic", topic)
            raise StartRefused(f"{settings.principal} may not read the topic {topic}. To do: {grant}")
        if error is not None:
            raise error
    return sorted(part["partition_index"] for part in entry["partitions"])


def _few(topics: list[str]) -> str:
    if not topics:
        return "there are no topics that we may see"
    more = f" and {len(topics) - 10} more" if len(topics) > 10 else ""
    return f"there are {', '.join(topics[:10])}{more}"


def _empty(topic: str, ended: int) -> str:
    gone = f" (of its {ended:,} records none is left: retention deleted them)" if ended else ""
    return f"the topic {topic} is empty{gone}. To do: try again when it has records, or give a file of recorded events"


def _read(consumer: Any, ends: dict[Any, int], limits: Limits) -> tuple[list[Any], str]:
    """kafka-python's records before these ends; and, if they are not all, why."""
    deadline = time.monotonic() + limits.within_s
    records: list[Any] = []
    size = 0
    waiting = {part for part, end in ends.items() if consumer.position(part) < end}
    consumer.pause(*(part for part in ends if part not in waiting))
    while waiting:
        if time.monotonic() >= deadline:
            return records, f", as far as they came within {limits.within_s:g} s"
        if size >= limits.size:
            return records, f", as far as they went into {limits.size / 1024 / 1024:g} MiB"
        for part, found in consumer.poll(timeout_ms=int(POLL_S * 1000)).items():
            kept = [record for record in found if record.offset < ends[part]]
            records += kept
            size += sum(len(record.key or b"") + len(record.value or b"") for record in kept)
        done = {part for part in waiting if consumer.position(part) >= ends[part]}
        consumer.pause(*done)
        waiting -= done
    return records, ""


def _batch(topic: str, records: list[Any]) -> Batch:
    records.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
    numbers = sorted({record.partition for record in records})
    return Batch(
        0,
        tuple(Source(topic, number) for number in numbers),
        np.array([numbers.index(record.partition) for record in records], dtype=np.int32),
        np.array([record.offset for record in records], dtype=np.int64),
        np.array([record.timestamp for record in records], dtype=np.int64),
        [record.key for record in records],
        [record.value for record in records],
        [tuple(record.headers) for record in records],
    )
