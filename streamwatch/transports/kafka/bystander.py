"""What a bystander may ask of a service's topics: what is committed in them by now. No group, no transaction, and no
topic is made, also where the broker would make one at the first question for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka

from streamwatch.errors import BrokerUnreachable, StartRefused
from streamwatch.records import Source
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.follow import close
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.topics import grant_command

CLIENT = "streamwatch-bystander"
ANSWER_S = 5.0
QUIET_S = 15.0
POLL_S = 0.1


def partitions(
    settings: KafkaSettings, topics: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[Source, ...]]:
    """The partitions of each topic; a topic that does not exist has none. `topics`: Kafka's names of the operations
    that we need on each; StartRefused with what to grant if they are not ours."""
    with translated("ask the broker"), closing(connect.admin(settings, CLIENT)) as client:
        found = {entry["name"]: entry for entry in client.describe_topics(list(topics))}
        lacking = [
            f"{settings.principal} may not {' or '.join(missing).lower()} the topic {topic!r} (or it does not exist). "
            f"To do: {grant_command(settings, missing, 'topic', topic)}"
            for topic, operations in topics.items()
            if (missing := _missing(operations, found[topic]))
        ]
    if lacking:
        raise StartRefused("\n".join(lacking))
    return {
        topic: tuple(
            Source(topic, number) for number in sorted(p["partition_index"] for p in entry["partitions"])
        )
        for topic, entry in found.items()
    }


def _missing(operations: tuple[str, ...], entry: Mapping[str, Any]) -> tuple[str, ...]:
    error = kafka.for_code(entry["error_code"]) if entry["error_code"] else None
    if error is kafka.TopicAuthorizationFailedError:
        return operations
    if error not in (None, kafka.UnknownTopicOrPartitionError):
        raise error(f"topic {entry['name']!r}")
    allowed = entry.get("authorized_operations")  # nothing: the broker does not say
    return () if error else tuple(name for name in operations if allowed and name.upper() not in allowed)


def members(settings: KafkaSettings, group: str) -> int | None:
    """How many processes are in the group; None if that is not ours to know."""
    with translated("ask the broker"), closing(connect.admin(settings, CLIENT)) as client:
        try:
            return len(client.describe_groups([group])[group]["members"])
        except kafka.GroupIdNotFoundError:
            return 0
        except (kafka.GroupAuthorizationFailedError, kafka.CoordinatorNotAvailableError):
            return None


@contextmanager
def bystander(settings: KafkaSettings) -> Iterator[Bystander]:
    consumer = connect.consumer(
        settings,
        CLIENT,
        auto_offset_reset="earliest",  # what is deleted meanwhile is passed over
        max_poll_records=2_000,
        fetch_max_wait_ms=50,
    )
    try:
        with translated("read what is committed"):
            yield Bystander(consumer)
    finally:
        close(consumer)


class Bystander:
    """Reads committed records, as kafka-python gives them."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def bounds(self, sources: Sequence[Source]) -> dict[Source, tuple[int, int]]:
        """Where each begins, and where what is committed ends."""
        parts = [TopicPartition(*source) for source in sources]
        if not parts:
            return {}
        begins = self._consumer.beginning_offsets(parts, timeout_ms=int(ANSWER_S * 1000))
        ends = self._consumer.end_offsets(parts, timeout_ms=int(ANSWER_S * 1000))
        return {Source(part.topic, part.partition): (begins[part], ends[part]) for part in parts}

    def count(self, sources: Sequence[Source], since_s: float) -> int:
        """Offsets of records from this time on, by their own timestamps; markers of transactions are among them."""
        wanted = {TopicPartition(*source): int(since_s * 1000) for source in sources}
        found = self._consumer.offsets_for_times(wanted, timeout_ms=int(ANSWER_S * 1000)) if wanted else {}
        first = {Source(*part): one.offset for part, one in found.items() if one and one.offset >= 0}
        bounds = self.bounds(sorted(first))
        return sum(max(0, stop - first[source]) for source, (_, stop) in bounds.items())

    def all(self, sources: Sequence[Source]) -> Iterator[Any]:
        """All that is committed by now."""
        yield from self.between(self.bounds(sources))

    def newest(self, sources: Sequence[Source], step: int) -> Iterator[list[Any]]:
        """All that is committed by now, in steps of at most so many offsets a partition, going back. Each step has
        its newest record first."""
        bounds = self.bounds(sources)
        while bounds := {source: (first, stop) for source, (first, stop) in bounds.items() if first < stop}:
            starts = {source: max(first, stop - step) for source, (first, stop) in bounds.items()}
            records = list(
                self.between({source: (starts[source], stop) for source, (_, stop) in bounds.items()})
            )
            yield sorted(records, key=lambda record: (record.timestamp, record.offset), reverse=True)
            bounds = {source: (first, starts[source]) for source, (first, _) in bounds.items()}

    def between(self, bounds: Mapping[Source, tuple[int, int]]) -> Iterator[Any]:
        """Of each partition the committed records [first, stop)."""
        stops = {TopicPartition(*source): stop for source, (first, stop) in bounds.items() if first < stop}
        self._consumer.unsubscribe()  # else partitions assigned once more stay paused
        self._consumer.assign(list(stops))
        for part in stops:
            self._consumer.seek(part, bounds[Source(part.topic, part.partition)][0])
        deadline = time.monotonic() + QUIET_S
        while stops:
            for part, records in self._consumer.poll(timeout_ms=int(POLL_S * 1000)).items():
                deadline = time.monotonic() + QUIET_S
                if part in stops:
                    yield from (record for record in records if record.offset < stops[part])
            done = [part for part, stop in stops.items() if self._consumer.position(part) >= stop]
            for part in done:
                del stops[part]
            if done:
                self._consumer.pause(*done)
            if time.monotonic() > deadline:
                raise BrokerUnreachable(
                    f"the rest of {', '.join(f'{part.topic}-{part.partition}' for part in stops)} did not come within "
                    f"{QUIET_S:g} s. To do: see whether the brokers that lead it are up, and try again"
                )
