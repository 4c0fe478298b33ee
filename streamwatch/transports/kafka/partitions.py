"""Partitions that a consumer has, in a group or without one: places, pauses, and when a fetch last succeeded."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError
from kafka.metrics.measurable_stat import AbstractMeasurableStat

from streamwatch.records import Source
from streamwatch.transports.kafka.columns import Columns, pieces

Fetched = Mapping[Source, Sequence[Columns]]


class RecordsGoneError(Exception):
    """The next record of these partitions is not there: deleted by retention, or the topic is another."""


class Pulse(AbstractMeasurableStat):  # type: ignore[misc]
    """When a sensor of kafka-python last recorded something."""

    def __init__(self) -> None:
        self.at: float | None = None

    def record(self, config: Any, value: float, time_ms: float) -> None:
        self.at = time.monotonic()

    def measure(self, config: Any, now: float) -> float:
        return self.at or 0.0


def felt(consumer: Any, sensor: str, pulse: Pulse) -> None:
    """Let the consumer's sensor give `pulse`."""
    name = consumer._metrics.metric_name(f"streamwatch-{sensor}", "streamwatch")
    consumer._metrics.get_sensor(sensor).add(name, pulse)


def by_source(fetched: Mapping[Any, Sequence[Any]]) -> Fetched:
    """What kafka-python's poll gave."""
    return {Source(part.topic, part.partition): pieces(records) for part, records in fetched.items()}


class Partitions:
    """What is asked or told of a partition that the consumer does not have is None, or has no effect."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._fetch = Pulse()

    def feel(self) -> None:
        """From now on `fetched_at` is known. kafka-python says it nowhere: its poll gives {} for ever when the
        password changed."""
        felt(self._consumer, "fetch-latency", self._fetch)

    @property
    def fetched_at(self) -> float | None:
        return self._fetch.at

    def pause(self, sources: Iterable[Source]) -> None:
        self._consumer.pause(*self._assigned(sources))

    def resume(self, sources: Iterable[Source]) -> None:
        self._consumer.resume(*self._assigned(sources))

    def seek(self, offsets: Mapping[Source, int]) -> None:
        for part in self._assigned(offsets):
            self._consumer.seek(part, offsets[Source(part.topic, part.partition)])

    def position(self, source: Source) -> int | None:
        """The next offset to be fetched; past control markers, which no record shows. None: not known just now, because
        a leader that has changed must be asked first, and nobody answers (a broker that was stopped, say); or this
        one, or another, was just assigned and has none yet."""
        part = TopicPartition(*source)
        if part not in self._consumer.assignment():
            return None
        try:
            position: int | None = self._consumer.position(part, timeout_ms=1000)
        except KafkaError as error:
            if not error.retriable and not isinstance(error, NoOffsetForPartitionError):
                raise
            return None
        return position

    def highwater(self, source: Source) -> int | None:
        """The end of the partition in the last answer to a fetch; costs nothing."""
        part = TopicPartition(*source)
        if part not in self._consumer.assignment():
            return None
        end: int | None = self._consumer.highwater(part)
        return end

    def has_more(self, source: Source) -> bool:
        """Whether the last answer to a fetch showed records behind what was polled; not all need be committed."""
        end, position = self.highwater(source), self.position(source)
        return end is not None and position is not None and position < end

    def _assigned(self, sources: Iterable[Source]) -> list[Any]:
        assigned = self._consumer.assignment()
        return [part for part in (TopicPartition(*source) for source in sources) if part in assigned]
