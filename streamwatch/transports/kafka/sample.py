"""A sample of a topic: its last committed records, read by a bystander that leaves no trace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import numpy as np

from streamwatch.errors import OperatorError, StartRefused
from streamwatch.records import Batch, Source
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.bystander import CLIENT, bystander, partitions
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.topics import meant
from streamwatch.transports.sample import Limits, Partition, Sample


def sample_topic(settings: KafkaSettings, topic: str, limits: Limits = Limits()) -> Sample:  # noqa: B008
    """The last records of each partition, as many of each.

    StartRefused: there is no such topic, or no right to read it. BrokerUnreachable: no answer. OperatorError: the
    topic is empty.
    """
    sources = partitions(settings, {topic: ("Read",)})[topic]
    if not sources:
        raise StartRefused(
            f"there is no topic {topic!r}, or no right to see it. To do: name another ({_near(settings, topic)})"
        )
    with bystander(settings) as reader:
        bounds = reader.bounds(sources)
        if all(first == end for first, end in bounds.values()):
            raise OperatorError(_empty(topic, sum(end for _, end in bounds.values())))
        each = max(1, min(limits.per_partition, limits.records // len(sources)))
        starts = {source: (max(first, end - each), end) for source, (first, end) in bounds.items()}
        records, cut = _bounded(reader.between(starts), limits)
    if not records:
        raise OperatorError(
            f"the topic {topic} holds no committed record. To do: try again when it has records"
        )
    taken = Counter(record.partition for record in records)
    return Sample(
        topic,
        f"topic {topic} at {settings.bootstrap_servers}",
        f"the last {each:,} records of each partition{cut}",
        [
            Partition(source.partition, first, end, end - first, taken[source.partition])
            for source, (first, end) in bounds.items()
        ],
        _batch(topic, records),
    )


def _bounded(given: Iterable[Any], limits: Limits) -> tuple[list[Any], str]:
    """kafka-python's records; and, if they are not all, why."""
    deadline = time.monotonic() + limits.within_s
    records: list[Any] = []
    size = 0
    for record in given:
        records.append(record)
        size += len(record.key or b"") + len(record.value or b"")
        if size >= limits.size:
            return records, f", as far as they went into {limits.size / 1024 / 1024:g} MiB"
        if time.monotonic() >= deadline:
            return records, f", as far as they came within {limits.within_s:g} s"
    return records, ""


def _near(settings: KafkaSettings, topic: str) -> str:
    with translated("ask for the names of topics"), closing(connect.admin(settings, CLIENT)) as client:
        return meant(topic, client.list_topics())


def _empty(topic: str, ended: int) -> str:
    gone = f": of its {ended:,} records none is left, retention deleted them" if ended else ""
    return f"the topic {topic} is empty{gone}. To do: try again when it has records, or give a file of recorded events"


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
