"""The Kafka transport: tasks by the consumer group, records in the order of the task, commits as one transaction.

Exactly-once lives here and nowhere else. In the order of one turn:

1. Poll the group (never with a transaction open). A loss of the membership drops every task; a new assignment drops
   what is another's, starts what is new, and checks what stays: somebody else may have committed in between.
2. Push on what is being restored or checked, in slices, its partitions paused.
3. Hand out records of open tasks in their order.

After any failed commit the task is dropped with its producer and restored from the topic: the outcome is read there,
never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka.errors import RetriableError

from streamwatch.config import Config
from streamwatch.errors import TaskLost
from streamwatch.records import Commit, Source
from streamwatch.transports.base import Closed, Happening, Opened, Progress
from streamwatch.transports.kafka import connect
from streamwatch.transports.kafka.assignor import TaskAssignor
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.flow import Flow
from streamwatch.transports.kafka.membership import JOIN_POLL_S, Membership, RecordsGoneError
from streamwatch.transports.kafka.producer import Outgoing, TaskProducer
from streamwatch.transports.kafka.restore import (
    Restored,
    ResumeFrom,
    Steps,
    begin,
    committed_offsets,
    disagreement,
    restore,
)
from streamwatch.transports.kafka.state_topic import Mark, encode

CLOSE_S = 5.0
# How long a commit may wait for a rebalance that is under way.
SETTLE_S = 10.0
RECORDS = 5_000
LAG_EVERY_S = 0.5
PRODUCER: dict[str, Any] = {"compression_type": "lz4", "max_block_ms": 10_000}
CONSUMER: dict[str, Any] = {
    "max_poll_records": 5_000,
    "fetch_max_wait_ms": 100,  # a seek or a resume takes effect only when the fetch that waits has returned
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    "max_poll_interval_ms": 60_000,
}
READER: dict[str, Any] = {
    "max_poll_records": 2_000,
    "fetch_max_wait_ms": 50,
    "max_partition_fetch_bytes": 8 * 1024 * 1024,
}

MakeProducer = Callable[[Callable[[], Any], str], TaskProducer]


class _Task:
    """A task that the group gave us. `steps`: what is still to be done before its records may be handed out."""

    def __init__(self, number: int, sources: frozenset[Source], producer: TaskProducer, flow: Flow) -> None:
        self.number = number
        self.sources = sources
        self.producer = producer
        self.flow = flow
        self.parts: dict[str, int] = {}
        self.committed: dict[Source, int] = {}
        self.opened = False
        self.steps: Steps[None] | None = None


class KafkaTransport:
    """`resume_from` is a person's answer to a MarkMismatch, used for the first restore only.

    `make_producer` gets a function that builds kafka-python's producer, and the transactional id.
    `metadata_max_age_s`: new partitions are noticed within it.
    """

    def __init__(
        self,
        config: Config,
        *,
        resume_from: ResumeFrom | None = None,
        make_producer: MakeProducer = TaskProducer,
        metadata_max_age_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._resume_from = resume_from
        self._make_producer = make_producer
        self._metadata_max_age_s = metadata_max_age_s
        self._clock = clock
        self._membership: Membership | None = None
        self._clients: list[Any] = []
        self._tasks: dict[int, _Task] = {}
        self._out: list[Happening] = []
        self._round = 0
        self._losses = 0
        self._overtaken = 0
        self._handed_at: float | None = None
        self._progress = Progress(ready=False, detail="not connected")
        self._lag_at = float("-inf")

    # What the loop calls

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        deadline = self._clock() + timeout_s
        while True:
            self._turn(max(0.0, deadline - self._clock()))
            if self._out or self._clock() >= deadline:
                break
        self._observe()
        out, self._out = self._out, []
        return out

    def commit(self, commit: Commit) -> None:
        task = self._tasks.get(commit.task)
        if task is None or not task.opened:
            raise TaskLost(f"task {commit.task} is not ours any more")
        try:
            self._settle(task)
            self._write(task, commit)
        except BaseException as error:
            self._drop(commit.task, f"its commit failed: {error}")
            raise

    def progress(self) -> Progress:
        return self._progress

    @property
    def finished(self) -> bool:
        return False

    def close(self) -> None:
        membership, self._membership = self._membership, None
        for task in self._tasks.values():
            task.producer.discard()
        self._tasks.clear()
        if membership is not None:
            with suppress(Exception):  # the group finds out by the session's timeout
                membership.close(CLOSE_S)
        clients, self._clients = self._clients, []
        for client in clients:
            with suppress(Exception):
                client.close()
        self._progress = Progress(ready=False, detail="closed")

    # One turn

    def _turn(self, wait_s: float) -> None:
        membership = self._connected()
        try:
            with translated(f"poll the group {self._config.service!r}"):
                fetched = membership.poll(
                    min(wait_s, *(self._patience(task) for task in self._tasks.values()), wait_s)
                )
        except RecordsGoneError as error:
            for number in list(self._tasks):
                self._drop(number, f"records that were to be read next are gone: {error}")
            fetched = {}
        self._follow(membership)
        for task in list(self._tasks.values()):
            if task.steps is not None:
                self._step(task)
            elif membership.settled:
                self._hand_out(membership, task, fetched)

    def _patience(self, task: _Task) -> float:
        return self._hint_s if task.steps is not None else task.flow.wait_s(self._clock())

    _hint_s = 0.0

    def _follow(self, membership: Membership) -> None:
        """Do what the group decided."""
        if membership.losses != self._losses:
            self._losses = membership.losses
            for number in list(self._tasks):
                self._drop(number, "the membership in the consumer group was lost")
        if not membership.settled:
            return
        complete = {source.topic for source in membership.sources} >= set(self._config.input_topics)
        owned = membership.tasks if complete else ()
        if membership.round != self._round:
            self._round = membership.round
            for number, task in list(self._tasks.items()):
                if number not in owned:
                    self._drop(
                        number, "it was assigned to another worker" if complete else "a topic is missing"
                    )
                elif not task.opened:
                    self._drop(number, "the group changed while it was restored")
                else:
                    task.sources = membership.sources
                    task.steps = self._check(membership, task)
        for number in owned:
            if number not in self._tasks:
                self._start(membership, number)

    def _step(self, task: _Task) -> None:
        assert task.steps is not None
        try:
            with translated(f"restore task {task.number}"):
                self._hint_s = next(task.steps)
        except StopIteration:
            task.steps = None
        except BaseException as error:
            self._drop(task.number, f"it could not be restored: {error}")
            raise

    def _hand_out(self, membership: Membership, task: _Task, fetched: Any) -> None:
        flow = task.flow
        now = self._clock()
        flow.feed(fetched, now)
        if asked := flow.to_ask(now):
            ends = self._stable_ends(asked)
            flow.answer(now, ends, {source: membership.position(source) for source in asked})
        self._out.extend(flow.stalls(now))
        while (batch := flow.take(RECORDS)) is not None:
            self._out.append(batch)
            self._handed_at = now
        paused, resumed = flow.valves()
        membership.pause(paused)
        membership.resume(resumed)

    def _stable_ends(self, sources: Iterable[Source]) -> dict[Source, int] | None:
        """None if the broker does not answer: a partition then counts as not at its end, and stalls after a while."""
        try:
            return self._ends.stable_end(sources)
        except RetriableError:
            return None

    # A task's life

    def _start(self, membership: Membership, number: int) -> None:
        sources = membership.sources
        # A position of any kind keeps kafka-python from asking for one; nothing is fetched while it is paused.
        membership.pause(sources)
        membership.seek(dict.fromkeys(sources, 0))
        name = f"{self._config.service}-{number}"
        producer = self._make_producer(lambda: connect.producer(self._config.kafka, name, **PRODUCER), name)
        task = _Task(number, sources, producer, Flow(self._config, number))
        task.steps = self._open(membership, task)
        self._tasks[number] = task

    def _open(self, membership: Membership, task: _Task) -> Steps[None]:
        restored = yield from restore(
            self._config,
            task.number,
            task.sources,
            task.producer,
            membership,
            self._ends,
            self._reader,
            self._resume_from,
            self._clock,
        )
        task.parts, task.committed = restored.parts, restored.marked
        if restored.chosen:
            self._mark(task, restored)
        self._resume_from = None
        task.flow.begin(task.sources, restored.positions, restored.merge_keys)
        self._go_on(membership, task)
        task.opened = True
        offsets = {source: restored.positions[source] for source in task.sources}
        self._out.append(Opened(task.number, restored.state, restored.engine, offsets, restored.lost))

    def _check(self, membership: Membership, task: _Task) -> Steps[None]:
        """A new generation left us the task: it goes on only if nobody else committed for it."""
        membership.pause(task.sources)
        committed = yield from committed_offsets(membership, task.sources, self._clock)
        if disagreement(task.committed, committed):
            self._drop(task.number, "another worker committed for it")
            return
        flow = task.flow
        known = {**task.committed, **flow.positions}
        new = frozenset(task.sources - known.keys())
        positions, lost = yield from begin(self._config.start, new, known, self._ends, self._clock)
        if lost:
            self._drop(task.number, "the first records of a new partition are gone")
            return
        flow.begin(task.sources, {**known, **positions}, flow.keys_at(flow.positions))
        self._go_on(membership, task)

    def _go_on(self, membership: Membership, task: _Task) -> None:
        membership.seek({source: task.flow.positions[source] for source in task.sources})
        membership.resume(task.sources)

    def _drop(self, number: int, reason: str) -> None:
        task = self._tasks.pop(number, None)
        if task is None:
            return
        task.producer.discard()
        self._overtaken += task.flow.overtaken
        self._out = [happening for happening in self._out if getattr(happening, "task", None) != number]
        if task.opened:
            self._out.append(Closed(number, reason))

    # Commits

    def _settle(self, task: _Task) -> None:
        """A commit of one generation must come before the join of the next: while a rebalance is under way, wait."""
        deadline = self._clock() + SETTLE_S
        membership = self._connected()
        while not membership.settled or task.steps is not None:
            self._turn(JOIN_POLL_S)
            if self._tasks.get(task.number) is not task:
                raise TaskLost(f"task {task.number} was lost before its commit")
            if self._clock() > deadline:
                raise TaskLost(f"the consumer group has been rebalancing for {SETTLE_S:g} s")

    def _write(self, task: _Task, commit: Commit) -> None:
        offsets = {**task.committed, **commit.offsets}
        keys = task.flow.keys_at(offsets)
        mark = self._mark_of(task, offsets, keys, commit.mark)
        records, counts = encode(commit.state, mark, task.parts)
        config = self._config
        outgoing = [Outgoing(config.alerts_topic, m.key, m.value, m.headers) for m in commit.alerts]
        outgoing += [
            Outgoing(config.dead_letters_topic, m.key, m.value, m.headers) for m in commit.dead_letters
        ]
        outgoing += [Outgoing(config.state_topic, key, value, (), task.number) for key, value in records]
        self._transact(task, outgoing, offsets)
        task.committed = offsets
        task.flow.committed(offsets, keys)
        for name, count in counts.items():
            if count:
                task.parts[name] = count
            else:
                task.parts.pop(name, None)

    def _mark(self, task: _Task, restored: Restored) -> None:
        """A choice that was made once (where to start, which offsets to believe) must outlive a crash."""
        mark = self._mark_of(task, restored.marked, restored.merge_keys, restored.engine)
        records, _ = encode({}, mark, task.parts)
        outgoing = [Outgoing(self._config.state_topic, key, value, (), task.number) for key, value in records]
        self._transact(task, outgoing, restored.marked)

    def _mark_of(
        self, task: _Task, offsets: Mapping[Source, int], keys: Mapping[Source, int], engine: bytes
    ) -> Mark:
        return Mark(
            service=self._config.service,
            mode=self._config.tasks,
            tasks=1,
            task=task.number,
            offsets=tuple((*source, offset) for source, offset in sorted(offsets.items())),
            merge_keys=tuple((*source, key) for source, key in sorted(keys.items())),
            engine=engine,
        )

    def _transact(self, task: _Task, outgoing: Sequence[Outgoing], offsets: dict[Source, int]) -> None:
        membership = self._connected()
        with translated(f"commit task {task.number}", transactional=True):
            task.producer.write(outgoing)
            task.producer.send_offsets(offsets, membership.group)
            task.producer.commit()

    # Clients

    def _connected(self) -> Membership:
        if self._membership is not None:
            return self._membership
        kafka, config = self._config.kafka, self._config
        made: list[Any] = []
        try:
            with translated("start"):
                reader = connect.consumer(kafka, **READER)
                made.append(reader)
                uncommitted = connect.consumer(kafka, isolation_level="read_uncommitted")
                made.append(uncommitted)
                assignor = TaskAssignor()
                consumer = connect.consumer(
                    kafka,
                    group_id=config.service,
                    partition_assignment_strategy=[assignor],
                    metadata_max_age_ms=int(self._metadata_max_age_s * 1000),
                    **CONSUMER,
                )
                membership = Membership(consumer, config.input_topics, assignor)
                made.append(consumer)
                membership.join()
        except BaseException:
            for client in made:
                client.close()
            raise
        self._reader, self._ends = reader, Ends(reader, uncommitted)
        self._clients = [reader, uncommitted]
        self._membership = membership
        return membership

    def _observe(self) -> None:
        now = self._clock()
        if now - self._lag_at < LAG_EVERY_S and not self._out:
            return
        self._lag_at = now
        membership = self._connected()
        lag = {
            source: self._lag(membership, task, source)
            for task in self._tasks.values()
            for source in task.flow.sources
        }
        fetched = [at for at in (membership.fetched_at, self._handed_at) if at is not None]
        restoring = [number for number, task in self._tasks.items() if task.steps is not None]
        if not membership.settled:
            detail = f"the group has been rebalancing for {now - membership.unsettled_since:.0f} s"
        elif restoring:
            detail = f"restoring {', '.join(f'task {number}' for number in restoring)}"
        elif (
            missing := set(self._config.input_topics) - {s.topic for s in membership.sources}
            if membership.sources
            else ()
        ):
            detail = f"no partitions of {', '.join(sorted(missing))}"
        else:
            detail = "" if self._tasks else "standby"
        self._progress = Progress(
            lag,
            self._overtaken + sum(task.flow.overtaken for task in self._tasks.values()),
            max(fetched, default=None) if self._tasks else membership.heard_at,
            detail in ("", "standby"),
            detail,
        )

    def _lag(self, membership: Membership, task: _Task, source: Source) -> int:
        """Counted from positions: control markers have offsets too, so the difference of offsets says more."""
        buffered = task.flow.buffered(source)
        end = membership.highwater(source)
        position = membership.position(source) if end is not None else None
        return buffered + (max(0, end - position) if end is not None and position is not None else 0)
