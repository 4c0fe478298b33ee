"""What tests do with topics on a real broker: create, write, read what is committed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition


@dataclass(frozen=True)
class Written:
    """One record to be written. `timestamp_ms` None: the time of writing."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    timestamp_ms: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def create_topic(bootstrap_servers: str, topic: str, partitions: int = 1, **configs: str) -> str:
    """Configs have underscores for dots. Kept for ever, else old timestamps are deleted within minutes. As many
    replicas as the brokers say."""
    settings = {"retention.ms": "-1", **{name.replace("_", "."): value for name, value in configs.items()}}
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=10_000)
    try:
        wanted = {topic: {"num_partitions": partitions, "replication_factor": -1, "configs": settings}}
        admin.create_topics(wanted, wait_for_metadata=True)
    finally:
        admin.close()
    return topic


def produce(
    bootstrap_servers: str, topic: str, records: Iterable[Written | bytes], **settings: Any
) -> list[tuple[int, int]]:
    """Write them in order, and wait until all are there; (partition, offset) of each."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=10_000, linger_ms=5, acks="all", **settings
    )
    try:
        futures = []
        for record in records:
            r = record if isinstance(record, Written) else Written(record)
            futures.append(
                producer.send(
                    topic, value=r.value, key=r.key, headers=list(r.headers),
                    partition=r.partition, timestamp_ms=r.timestamp_ms,
                )
            )  # fmt: skip
        producer.flush(timeout=30)
        return [(sent.partition, sent.offset) for sent in (future.get(timeout=30) for future in futures)]
    finally:
        producer.close(timeout=5)


def read_committed(
    bootstrap_servers: str,
    topic: str,
    at_least: int = 0,
    within_s: float = 30.0,
    since: Mapping[int, int] | None = None,
    isolation_level: str = "read_committed",
) -> list[Any]:
    """All committed records of the topic as kafka-python's ConsumerRecord, by partition and offset.

    Reads to the high watermark of now, and on until there are `at_least` so many: a commit returns before
    what it wrote can be read. AssertionError after `within_s`, also if an open transaction holds back the end.
    `since`: the offset to begin at, by partition.
    """
    deadline = time.monotonic() + within_s
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=10_000, isolation_level=isolation_level,
        enable_auto_commit=False, auto_offset_reset="earliest", group_id=None,
    )  # fmt: skip
    try:
        parts = [
            TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        assert parts, f"no such topic: {topic}"
        ends = high_watermarks(bootstrap_servers, topic)
        consumer.assign(parts)
        for part in parts:
            consumer.seek(part, (since or {}).get(part.partition, 0))
        found: dict[Any, list[Any]] = {part: [] for part in parts}
        while True:
            for part, records in consumer.poll(timeout_ms=100).items():
                found[part] += records
            count = sum(map(len, found.values()))
            behind = {p.partition: e for p, e in ends.items() if consumer.position(p) < e}
            if not behind and count >= at_least:
                return [record for part in parts for record in found[part]]
            missing = f"{count} records of at least {at_least}, short of the end in {behind}"
            assert time.monotonic() < deadline, f"{topic}: not within {within_s:g} s: {missing}"
    finally:
        consumer.close()


def high_watermarks(bootstrap_servers: str, topic: str) -> dict[Any, int]:
    """The end of each partition, records of open transactions included."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=10_000, group_id=None)
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        return dict(consumer.end_offsets(parts))
    finally:
        consumer.close()
