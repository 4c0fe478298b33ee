"""The Kafka transport for the contract of all transports, on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kafka import KafkaProducer, TopicPartition

from streamwatch.records import Batch, Commit, Header, Source
from streamwatch.transports.base import Happening, Opened, Progress, Transport
from streamwatch.transports.kafka.state_topic import Fold
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.transports.memory import Record
from tests.contract.harness import SAID, Committed
from tests.kafka.drive import service
from tests.topics import create_topic, read_committed


class Uncounted(list[Header]):
    """kafka-python writes a header without a value, but fails to add up its size: to that it is no list at all."""

    def __bool__(self) -> bool:
        return False


@dataclass
class KafkaHarness:
    """A broker holds a topic of one name once, and tests share it: each harness has names of its own, and its
    transports tell the contract's."""

    records: Sequence[Record]
    servers: str
    batch_size: int
    finishes: bool = False

    def __post_init__(self) -> None:
        self.name = f"t-{uuid.uuid4().hex[:12]}"
        partitions: dict[str, int] = {}
        for record in self.records:
            partitions[record.topic] = max(partitions.get(record.topic, 0), record.partition + 1)
        for topic, count in partitions.items():
            create_topic(self.servers, f"{self.name}-{topic}", count)
        inputs = [f"{self.name}-{topic}" for topic in partitions if topic != SAID]
        self._config = service(
            self.servers,
            self.name,
            inputs=[{"topics": inputs, "kind": "predictions"}],
            outputs={"control": f"{self.name}-{SAID}"},
        )
        self._transport: KafkaTransport | None = None
        self._write()

    def _write(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self.servers)
        for topic in {record.topic for record in self.records}:
            producer.partitions_for(f"{self.name}-{topic}")
        futures = []
        for record in self.records:
            part = TopicPartition(f"{self.name}-{record.topic}", record.partition)
            headers = Uncounted((name, v.encode() if isinstance(v, str) else v) for name, v in record.headers)
            # Beside the front door: `send` refuses what Kafka allows, a header without a value, a record without
            # key and value.
            future, *_ = producer._accumulator.append(
                part, record.timestamp_ms, record.key, record.value, headers, abort_on_new_batch=False
            )
            futures.append(future)
        producer.flush(timeout=30)
        assert all(future.succeeded() for future in futures)
        producer.close(timeout=5)

    def transport(self) -> Transport:
        if self._transport is not None:
            self._transport.close()
        self._transport = KafkaTransport(self._config, batch_records=self.batch_size)
        return Renamed(self._transport, f"{self.name}-")

    def committed(self) -> Committed:
        fold = Fold(f"{self.name}-state", 0)
        for record in read_committed(self.servers, f"{self.name}-state"):
            fold.take(record.offset, record.key, record.value)
        state, mark, _ = fold.state()
        return Committed(
            [record.value for record in read_committed(self.servers, f"{self.name}-alerts")],
            [record.value for record in read_committed(self.servers, f"{self.name}-dead-letters")],
            state,
            mark,
            {_without(self.name + "-", s): at for s, at in fold.mark.positions.items() if at}
            if fold.mark
            else {},
        )

    def wait_s(self) -> float:
        return 30.0


@dataclass
class Renamed:
    """A transport whose topics are told without a prefix."""

    inner: KafkaTransport
    prefix: str

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        return [self._told(happening) for happening in self.inner.poll(timeout_s)]

    def _told(self, happening: Happening) -> Happening:
        match happening:
            case Opened():
                return replace(
                    happening,
                    offsets=self._all(happening.offsets),
                    lost=self._all(happening.lost),
                    said_to=self._all(happening.said_to),
                )
            case Batch():
                return replace(happening, sources=tuple(self._all(dict.fromkeys(happening.sources, 0))))
        return happening

    def _all(self, values: Mapping[Source, int]) -> dict[Source, int]:
        return {_without(self.prefix, source): value for source, value in values.items()}

    def commit(self, commit: Commit) -> None:
        offsets, said_to = (
            {Source(self.prefix + s.topic, s.partition): at for s, at in places.items()}
            for places in (commit.offsets, commit.said_to)
        )
        self.inner.commit(replace(commit, offsets=offsets, said_to=said_to))

    def progress(self) -> Progress:
        progress = self.inner.progress()
        return replace(progress, lag=self._all(progress.lag))

    @property
    def finished(self) -> bool:
        return self.inner.finished

    def close(self) -> None:
        self.inner.close()


def _without(prefix: str, source: Source) -> Source:
    return Source(source.topic.removeprefix(prefix), source.partition)
