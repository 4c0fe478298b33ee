"""The clients of one worker: the group's consumer, and two without a group."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from streamwatch.config import Config
from streamwatch.logs import log
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.assignor import TaskAssignor
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.membership import Membership
from streamwatch.transports.kafka.start import prepare_start
from streamwatch.transports.kafka.topics import Topics
from streamwatch.transports.order import kinds

CLOSE_S = 5.0
MAX_POLL_S = 60.0
GROUP: dict[str, Any] = {
    # A poll gives all that a fetch brought: of a partition that is paused with some of it left, kafka-python 3.0.12
    # never gives the rest and never fetches again. So the fetch is what bounds a poll.
    "max_poll_records": 1_000_000,
    "fetch_max_bytes": 2 * 1024 * 1024,
    "max_partition_fetch_bytes": 1024 * 1024,
    "fetch_max_wait_ms": 100,  # a seek or a resume takes effect only when the fetch that waits has returned
    "max_poll_interval_ms": int(MAX_POLL_S * 1000),
}
STATE: dict[str, Any] = {
    "max_poll_records": 2_000,
    "fetch_max_wait_ms": 50,
    "max_partition_fetch_bytes": 8 * 1024 * 1024,
}
TASK: dict[str, Any] = {"compression_type": "lz4", "max_block_ms": 10_000}


@dataclass(frozen=True, slots=True)
class Clients:
    """`reader` is for the state topic, of one task at a time (`reading`); `ends` asks where partitions begin and
    end."""

    membership: Membership
    reader: Any
    ends: Ends
    groupless: tuple[Any, ...]
    reading: Lock = field(default_factory=Lock)

    def close(self) -> None:
        with suppress(Exception):  # if it cannot be told, the group finds out by the session's timeout
            self.membership.close(CLOSE_S)
        for client in self.groupless:
            with suppress(Exception):
                client.close()


def clients(config: Config, metadata_max_age_s: float) -> Clients:
    """Connected, and joining the group. StartRefused or BrokerUnreachable."""
    made: list[Any] = []

    def consumer(**settings: Any) -> Any:
        made.append(connect.consumer(config.kafka, f"streamwatch-{config.service}", **settings))
        return made[-1]

    try:
        with translated("connect"):
            reader = consumer(**STATE)
            uncommitted = consumer(isolation_level="read_uncommitted")
            assignor = TaskAssignor(config.tasks)
            member = consumer(
                group_id=config.service,
                partition_assignment_strategy=[assignor],
                metadata_max_age_ms=int(metadata_max_age_s * 1000),
                **GROUP,
            )
            read_columns(member)
            membership = Membership(member, kinds(config), assignor)
            membership.join()
    except BaseException:
        for client in made:
            with suppress(Exception):
                client.close()
        raise
    return Clients(membership, reader, Ends(reader, uncommitted), (reader, uncommitted))


def read_columns(consumer: Any) -> None:
    """See `reader.columnar`, whose import fails when kafka-python has lost one of the names that it uses."""
    try:
        from streamwatch.transports.kafka.reader import columnar

        reason = columnar(consumer)
    except (ImportError, AttributeError) as error:
        reason = f"kafka-python has changed: {error}"
    if reason:
        detail = f"{reason}: a record costs four times as much to read"
        log().warning("kafka-python's own reader", detail=detail)


def producer(config: Config, transactional_id: str) -> Any:
    """kafka-python's producer of a task."""
    return connect.producer(config.kafka, transactional_id, f"streamwatch-{config.service}", **TASK)


def needed(config: Config) -> Topics:
    return Topics(
        inputs=config.input_topics,
        alerts=config.alerts_topic,
        dead_letters=config.dead_letters_topic,
        state=config.state_topic,
        control=config.control_topic,
        group=config.service,
        tasks=1 if config.tasks == "one" else None,
    )


def prepared(config: Config) -> int:
    """What would stop the service is found at its start, and its own topics are made. The number of tasks."""
    return prepare_start(config.kafka, needed(config)).tasks
