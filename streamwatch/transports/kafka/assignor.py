"""Which member of the consumer group owns which tasks: whole tasks, even, and sticky.

kafka-python calls an assignor on the group's leader with every member's claim, and on each member with its share.
A claim is a preference only. Ownership is the group's assignment together with the task's transactional id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from streamwatch.config import Tasks
from streamwatch.records import Source
from streamwatch.transports.tasks import by_task

NO_GENERATION = -1


class Claim(NamedTuple):
    """What a member says that it owned, and in which generation of the group; -1 = it owned nothing, or lost it."""

    generation: int = NO_GENERATION
    tasks: tuple[int, ...] = ()


def share(tasks: Iterable[int], claims: Mapping[str, Claim]) -> dict[str, tuple[int, ...]]:
    """Tasks by member.

    1. A task stays with the member that claims it from the newest generation; claims of generation -1 are ignored.
    2. A task that nobody claims goes to the member with the fewest, the smallest member id among equals.
    3. While one member has two more than another, its last task moves.

    >>> share([0, 1, 2], {"a": Claim(7, (0, 1, 2)), "b": Claim()})
    {'a': (0, 1), 'b': (2,)}
    >>> share([0], {"a": Claim(4, (0,)), "b": Claim(5, (0,)), "c": Claim(-1, (0,))})
    {'a': (), 'b': (0,), 'c': ()}
    """
    shares: dict[str, list[int]] = {member: [] for member in sorted(claims)}
    for task in sorted(tasks):
        claimants = [m for m in shares if task in claims[m].tasks and claims[m].generation > NO_GENERATION]
        if claimants:
            owner = max(claimants, key=lambda m: (claims[m].generation, -len(shares[m])))
        else:
            owner = min(shares, key=lambda m: len(shares[m]))
        shares[owner].append(task)
    while True:
        most = max(shares, key=lambda m: len(shares[m]))
        least = min(shares, key=lambda m: len(shares[m]))
        if len(shares[most]) - len(shares[least]) < 2:
            return {member: tuple(sorted(owned)) for member, owned in shares.items()}
        shares[least].append(shares[most].pop())


class Share(NamedTuple):
    """What the leader gives a member: its tasks, and how many partitions each topic had when the work was cut."""

    tasks: tuple[int, ...] = ()
    partitions: Mapping[str, int] = MappingProxyType({})


# Members that cut the work in different ways have no assignor in common: the broker refuses the second kind.
NAMES: dict[Tasks, str] = {"one": "streamwatch-tasks", "per_partition": "streamwatch-partitions"}


class TaskAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # kafka-python has no type information
    """Eager: cooperative assignors claim lost partitions with generation -1 in JoinGroup.

    It is called on kafka-python's own thread; what it keeps is replaced as a whole, never changed in place.
    """

    def __init__(self, tasks: Tasks = "one") -> None:
        self.claim = Claim()
        self.partitions: Mapping[str, int] = {}
        self._tasks: Tasks = tasks

    @property
    def name(self) -> str:
        return NAMES[self._tasks]

    def metadata(self, topics: Iterable[str]) -> Any:
        return ConsumerProtocolSubscription(0, sorted(topics), msgspec.msgpack.encode(self.claim))

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        topics = sorted({topic for member in members for topic in member.metadata.topics})
        numbers = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        cut = by_task(self._tasks, [Source(topic, n) for topic in topics for n in numbers[topic]])
        shares = share(cut, {member.member_id: read_claim(member.metadata.user_data) for member in members})
        counts = {topic: len(of_topic) for topic, of_topic in numbers.items()}
        return {member: _assignment(Share(tasks, counts), cut) for member, tasks in shares.items()}

    def on_assignment(self, assignment: Any, generation: int) -> None:
        given = read_share(assignment.user_data)
        self.partitions = given.partitions
        self.claim = Claim(generation, given.tasks) if given.tasks else Claim()

    def forget(self) -> None:
        """The membership was lost: what was owned may be another's by now."""
        self.claim = Claim()


def read_claim(data: bytes | None) -> Claim:
    """The claim in a member's user data; what cannot be read claims nothing."""
    try:
        return msgspec.msgpack.decode(bytes(data or b""), type=Claim)
    except msgspec.DecodeError:
        return Claim()


def read_share(data: bytes | None) -> Share:
    return msgspec.msgpack.decode(bytes(data), type=Share) if data else Share()


def _assignment(given: Share, cut: Mapping[int, tuple[Source, ...]]) -> Any:
    by_topic: dict[str, list[int]] = {}
    for task in given.tasks:
        for source in cut[task]:
            by_topic.setdefault(source.topic, []).append(source.partition)
    parts = [(topic, sorted(numbers)) for topic, numbers in sorted(by_topic.items())]
    return ConsumerProtocolAssignment(0, parts, msgspec.msgpack.encode(given))
