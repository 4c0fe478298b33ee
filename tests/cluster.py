"""Three real brokers that replicate each other, to be killed and restarted one at a time.

Every topic has three replicas and takes a record when two have it, the broker's own included. The controller is a
process of its own, as `Broker.apart` has it, and outlives every fault: with brokers that are controllers, too, a kill
would be of a part of the quorum as well, and each of them could fall into the trap that `Broker.apart` tells of.
About 10 s until it is ready, and 300 MB for each of its four processes. A clean restart of one broker takes 3 s, one
after a kill 4 s, as its old session must end first; half a second later all replicas are in sync again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from tests.broker import Broker, brokers_known, wait_until

REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
SMALL = ("-Xmx256m",)


@dataclass
class Cluster:
    """`count` brokers, 1 or 3; one alone is as it is by itself. A context manager: started inside, gone after."""

    count: int = 3
    settings: Mapping[str, str] = field(default_factory=dict)
    brokers: list[Broker] = field(default_factory=list)
    _left: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Cluster:
        settings = {**(REPLICATED if self.count > 1 else {}), **self.settings}
        first: Broker | None = None
        for number in range(1, self.count + 1):
            broker = Broker(settings=settings, jvm=SMALL, apart=first is None, number=number, joins=first)
            first = first or broker
            # Also what has not come so far as to be ready is to be gone after.
            self._left.callback(broker.remove)
            self.brokers.append(broker)
            try:
                broker.start()
            except BaseException:
                self._left.close()
                raise
        wait_until(lambda: brokers_known(self.bootstrap_servers) == self.count, 30, "all brokers are known")
        return self

    def __exit__(self, *_: object) -> None:
        self._left.close()

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def mend(self) -> None:
        """Start those that are down."""
        for broker in self.brokers:
            if not broker.running:
                broker.start()

    def not_replicated(self) -> list[str]:
        """A line for each topic, the brokers' own included, that has other replicas than it should, or takes a record
        that fewer have than should."""
        if self.count == 1:
            return []
        topics = described(self.bootstrap_servers)
        counts = {t["name"]: {len(p["replica_nodes"]) for p in t["partitions"]} for t in topics}
        wanted = {**REPLICATED, **self.settings}["min.insync.replicas"]
        least = least_in_sync(self.bootstrap_servers, counts)
        return [
            f"topic {name} has {sorted(found)} replicas, not {self.count}"
            for name, found in counts.items()
            if found != {self.count}
        ] + [
            f"topic {name} takes what {found} replicas have, not {wanted}"
            for name, found in least.items()
            if found != wanted
        ]

    def in_sync(self) -> bool:
        """Whether every replica of every partition has caught up, so that any one broker may go. False too while the
        cluster does not answer."""
        if self.count == 1:
            return True
        try:
            return all(
                len(partition["isr_nodes"]) == len(partition["replica_nodes"]) == self.count
                for topic in described(self.bootstrap_servers)
                for partition in topic["partitions"]
            )
        except KafkaError:
            return False


def described(servers: str) -> list[dict[str, Any]]:
    """Of all topics, the broker's own included, what kafka-python's `describe_topics` says."""
    admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=10_000)
    try:
        topics: list[dict[str, Any]] = admin.describe_topics()
        return topics
    finally:
        admin.close()


def least_in_sync(servers: str, topics: Iterable[str]) -> dict[str, str]:
    """How many replicas must have a record before it is acknowledged, by topic."""
    name = "min.insync.replicas"
    admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=10_000)
    try:
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {name: None}) for topic in topics]
        found = admin.describe_configs(asked, config_filter="all")["topic"]
        return {topic: str(configs[name]["value"]) for topic, configs in found.items()}
    finally:
        admin.close()
