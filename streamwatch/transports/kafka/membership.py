"""A member of the consumer group: what it polls, what it owns, and in which generation.

kafka-python calls back on its own thread while poll blocks, and raises if a callback asks it anything: callbacks only
mark. What they marked is taken over after the poll.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import LogTruncationError, NoOffsetForPartitionError, OffsetOutOfRangeError
from kafka.structs import MemberState

from streamwatch.records import Source
from streamwatch.transports.kafka.assignor import TaskAssignor
from streamwatch.transports.kafka.partitions import (
    Fetched,
    Partitions,
    Pulse,
    RecordsGoneError,
    by_source,
    felt,
)

# While a join is under way there is nothing else to do, and every poll that ends before it risks an orphan (below).
JOIN_POLL_S = 0.25


class _Marks(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no type information
    def __init__(self, marks: deque[tuple[str, frozenset[Source]]]) -> None:
        self._marks = marks

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self._marks.append(("revoked", _sources(revoked)))

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._marks.append(("assigned", _sources(assigned)))

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        self._marks.append(("lost", _sources(lost)))


class Membership(Partitions):
    """`round` counts the assignments that came, `losses` how often the membership itself was lost.

    settled   an assignment holds; between a revocation and the next assignment it does not
    sources   the partitions of the last assignment
    tasks     the tasks of the last assignment
    partitions  how many each topic had when its leader cut the work
    group     the group's metadata right after the last poll. Only this may go into a transaction: after
              max_poll_interval the consumer's own has generation -1, which no broker fences
    """

    def __init__(self, consumer: Any, topics: Iterable[str], assignor: TaskAssignor) -> None:
        super().__init__(consumer)
        self._topics = tuple(topics)
        self._assignor = assignor
        self._marks: deque[tuple[str, frozenset[Source]]] = deque()
        self._heartbeat = Pulse()
        self.round = 0
        self.losses = 0
        self.settled = False
        self.unsettled_since = self._settled_at = time.monotonic()
        self.sources: frozenset[Source] = frozenset()
        self.tasks: tuple[int, ...] = ()
        self.partitions: Mapping[str, int] = {}
        self.group: Any = None

    def join(self) -> None:
        self._consumer.subscribe(topics=list(self._topics), listener=_Marks(self._marks))
        self.feel()
        felt(self._consumer, "heartbeat-latency", self._heartbeat)

    @property
    def stable(self) -> bool:
        return self.group is not None and self.group.state == MemberState.STABLE

    @property
    def heard_at(self) -> float:
        """When the group's coordinator last answered: a heartbeat, or a join."""
        return max(self._heartbeat.at or 0.0, self._settled_at)

    def poll(self, timeout_s: float) -> Fetched:
        """Records by partition. RecordsGoneError; else what kafka-python raises."""
        fetched = self._poll(timeout_s if self.stable else max(timeout_s, JOIN_POLL_S))
        if not self.stable and not fetched and timeout_s < JOIN_POLL_S:
            fetched = self._poll(JOIN_POLL_S)
        return fetched

    def _poll(self, timeout_s: float) -> Fetched:
        before = self.round
        fetched: Mapping[Any, Sequence[Any]] = {}
        try:
            fetched = self._consumer.poll(timeout_ms=max(0, int(timeout_s * 1000)))
        except NoOffsetForPartitionError:
            pass  # just assigned: whoever restores the task says where it begins
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            raise RecordsGoneError(str(error)) from error
        finally:
            self.group = self._consumer.group_metadata()
            self._adopt_orphan()
            self._take_marks()
        if self.round != before:
            return {}  # the poll that brings an assignment may bring records too: they are fetched again
        return by_source(fetched)

    def _adopt_orphan(self) -> None:
        """kafka-python forgets a join that began because the metadata changed and ended between two polls: by then
        the metadata is as the assignor saw it, so it sees no need to join, while the group waits for it to take its
        assignment, for ever. (Measured on a busy machine, polls of 250 ms: 4 of 60 first joins hung; 0 of 90 with
        this.) A member that is not stable and sees no need to join is told to."""
        coordinator = self._consumer._coordinator
        if self.group.state == MemberState.REBALANCING and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _take_marks(self) -> None:
        while self._marks:
            mark, sources = self._marks.popleft()
            if mark == "assigned":
                self.round += 1
                self._settled_at = time.monotonic()
                self.sources, self.tasks, self.settled = sources, self._assignor.claim.tasks, True
                self.partitions = self._assignor.partitions
                continue
            if mark == "lost":
                self.losses += 1
                self._assignor.forget()
            if self.settled:
                self.settled, self.unsettled_since = False, time.monotonic()

    def committed(self, source: Source, timeout_s: float) -> int | None:
        """The group's committed offset; waits while a transaction with offsets of it is open."""
        offset: int | None = self._consumer.committed(
            TopicPartition(*source), timeout_ms=int(timeout_s * 1000)
        )
        return offset

    def close(self, timeout_s: float) -> None:
        self._consumer.close(autocommit=False, timeout_ms=int(timeout_s * 1000))


def _sources(parts: Iterable[Any]) -> frozenset[Source]:
    return frozenset(Source(part.topic, part.partition) for part in parts)
