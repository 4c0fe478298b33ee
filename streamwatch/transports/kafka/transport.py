"""The Kafka transport: tasks by the consumer group, records in the order of the task, commits as one transaction.

Exactly-once lives here and nowhere else. In the order of one turn:

1. Poll the group (never with a transaction open), and give the records to the tasks that are open. A loss of the
   membership drops every task; a new assignment drops what is another's, starts what is new, and checks what stays:
   somebody else may have committed in between.
2. Hand out records of open tasks in their order.
3. Push on what is being restored or checked, in slices, its partitions paused: the other tasks go on.

After any failed commit the task is dropped with its producer and restored from the topic: the outcome is read there,
never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from streamwatch.config import Config
from streamwatch.errors import BrokerUnreachable, StartRefused, TaskLost
from streamwatch.records import Batch, Commit, Source
from streamwatch.transports.base import Closed, Happening, Listed, Opened, Progress
from streamwatch.transports.kafka.clients import (
    MAX_POLL_S,
    Clients,
    clients,
    prepared,
    producer,
)
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.intake import feed, hand_out
from streamwatch.transports.kafka.listing import Listing
from streamwatch.transports.kafka.membership import JOIN_POLL_S, Membership
from streamwatch.transports.kafka.partitions import Fetched, RecordsGoneError
from streamwatch.transports.kafka.producer import TaskProducer
from streamwatch.transports.kafka.restore import ResumeFrom
from streamwatch.transports.kafka.task import Task
from streamwatch.transports.kafka.topics import transactional_id
from streamwatch.transports.order import kinds
from streamwatch.transports.tasks import by_task

# How long a commit may wait for a rebalance that is under way.
SETTLE_S = 10.0
# A join may take until the slowest member has polled; one that takes longer hangs, and is begun anew.
JOIN_S = MAX_POLL_S + 30.0
# A coordinator that has not answered a heartbeat for so long: only a new connection says why.
SILENT_S = 30.0
# A partition's lag costs 12 us: with many of them it is asked now and then only.
LAG_EVERY_S = 0.25
FEW_SOURCES = 16

MakeProducer = Callable[[Callable[[], Any], str], TaskProducer]


class KafkaTransport:
    """`resume_from` is a person's answer to a MarkMismatch, used for the tasks of the first assignment only.

    `make_producer` gets a function that builds kafka-python's producer, and the transactional id.
    `metadata_max_age_s`: new partitions are noticed within it. `batch_records`: a batch has at most so many.
    """

    def __init__(
        self,
        config: Config,
        *,
        resume_from: ResumeFrom | None = None,
        make_producer: MakeProducer = TaskProducer,
        metadata_max_age_s: float = 30.0,
        batch_records: int = 8_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._resume_from = resume_from
        self._make_producer = make_producer
        self._metadata_max_age_s = metadata_max_age_s
        self._batch_records = batch_records
        self._clock = clock
        self._clients: Clients | None = None
        self._count = 0  # of all tasks of the service; 0 = not known yet
        self._tasks: dict[int, Task] = {}
        self._out: list[Happening] = []
        self._round = 0
        self._losses = 0
        self._listing: Listing | None = None
        self._overtaken = 0
        self._handed_at: float | None = None
        self._progress = Progress(ready=False, detail="not connected")
        self._lag: dict[Source, int] = {}
        self._lag_at = float("-inf")

    # What the loop calls

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        deadline = self._clock() + timeout_s
        try:
            while True:
                self._turn(max(0.0, deadline - self._clock()))
                if self._out or self._clock() >= deadline:
                    break
        finally:
            self._observe()
        out, self._out = self._out, []
        return out

    def commit(self, commit: Commit) -> None:
        task = self._tasks.get(commit.task)
        if task is None or not task.opened or self._is_to_be_told(commit.task):
            raise TaskLost(f"task {commit.task} is not ours any more")
        try:
            self._settle(task)
            task.commit(commit)
        except BaseException as error:
            self._drop(commit.task, f"its commit failed: {error}")
            raise

    def progress(self) -> Progress:
        return self._progress

    @property
    def finished(self) -> bool:
        return False

    def close(self) -> None:
        self._leave("the transport is closed")
        if self._listing is not None:
            self._listing.stop()
            self._listing = None
        self._out.clear()
        self._progress = Progress(ready=False, detail="closed")

    # One turn

    def _turn(self, wait_s: float) -> None:
        held = self._connected()
        now = self._clock()
        waits = [task.wait_s(now) for task in self._tasks.values()]
        fetched: Fetched = {}
        try:
            with translated(f"poll the group {self._config.service!r}"):
                fetched = held.membership.poll(min([wait_s, *waits]))
        except RecordsGoneError as error:
            self._drop_all(f"records that were to be read next are gone: {error}")
        feed([task.flow for task in self._tasks.values() if task.steps is None], fetched, self._clock())
        self._follow(held)
        self._lively(held.membership)
        if held.membership.settled:
            self._hand_out(held, [task for task in self._tasks.values() if task.steps is None])
        for task in list(self._tasks.values()):
            if task.steps is not None:
                self._step(task)
        self._list(held.membership)

    def _connected(self) -> Clients:
        if self._clients is None:
            if not self._count:
                self._count = prepared(self._config)
            self._clients = clients(self._config, self._metadata_max_age_s)
            self._round = self._losses = 0
        return self._clients

    def _follow(self, held: Clients) -> None:
        """Do what the group decided."""
        membership = held.membership
        if membership.losses != self._losses:
            self._losses = membership.losses
            self._drop_all("the membership in the consumer group was lost")
        if not membership.settled:
            return
        owned = () if self._missing(membership) else membership.tasks
        if membership.round != self._round:
            self._round = membership.round
            self._refuse_other_cut(membership)
            for number, task in list(self._tasks.items()):
                if number not in owned:
                    self._drop(number, "it was assigned to another worker")
                elif not task.opened:
                    self._drop(number, "the group changed while it was restored")
                else:
                    task.steps = task.check(self._sources(membership, number))
            if not self._tasks:
                self._hold(membership, membership.sources)
        for number in owned:
            if number not in self._tasks:
                self._start(held, number)

    def _missing(self, membership: Membership) -> set[str]:
        """Topics of which we have no partition although we have others: their records would be overtaken."""
        have = {source.topic for source in membership.sources}
        return kinds(self._config).keys() - have if have else set()

    def _refuse_other_cut(self, membership: Membership) -> None:
        """StartRefused if topics have other partitions than when the service began: keys now lie in other ones."""
        if self._config.tasks == "one":
            return
        other = {topic: n for topic, n in sorted(membership.partitions.items()) if n not in (0, self._count)}
        if other:
            told = ", ".join(f"{topic} has {n}" for topic, n in other.items())
            self._leave("the work is cut in another way")
            raise StartRefused(
                f"{told} partitions now, and the work is cut into {self._count} tasks: a key lies in another partition "
                "now than the state of its monitors, and state is not cut anew. To do: give all inputs equally many "
                "partitions and start under a new service name (its monitors begin anew; outputs.alerts may stay)"
            )

    def _sources(self, membership: Membership, number: int) -> frozenset[Source]:
        return frozenset(by_task(self._config.tasks, membership.sources).get(number, ()))

    def _hold(self, membership: Membership, sources: frozenset[Source]) -> None:
        # A position of any kind keeps kafka-python from asking for one; nothing is fetched while it is paused.
        membership.pause(sources)
        membership.seek(dict.fromkeys(sources, 0))

    def _start(self, held: Clients, number: int) -> None:
        sources = self._sources(held.membership, number)
        self._hold(held.membership, sources)
        name = transactional_id(self._config.service, number)
        made = self._make_producer(lambda: producer(self._config, name), name)
        task = Task(self._config, number, self._count, held, made, self._clock)
        task.steps = task.open(sources, self._resume_from)
        self._tasks[number] = task

    def _step(self, task: Task) -> None:
        try:
            result = task.step()
        except BaseException as error:
            self._drop(task.number, f"it could not be restored: {error}")
            raise
        if isinstance(result, str):
            self._drop(task.number, result)
        elif result is not None:
            self._out.append(result)
            if all(one.steps is None for one in self._tasks.values()):
                self._resume_from = None

    def _list(self, membership: Membership) -> None:
        task = self._tasks.get(0)
        if self._config.tasks == "one" or task is None or task.steps is not None:
            return
        if self._listing is None:
            self._listing = Listing(self._config, self._count)
        if (models := self._listing.look(membership.round, self._clock())) is not None:
            self._out.append(Listed(0, models))

    def _hand_out(self, held: Clients, tasks: Sequence[Task]) -> None:
        flows = [task.flow for task in tasks]
        ask, now = held.ends.stable_end_if_told, self._clock()
        happenings = hand_out(flows, held.membership, self._batch_records, now, ask)
        self._out.extend(happenings)
        if any(isinstance(happening, Batch) for happening in happenings):
            self._handed_at = self._clock()

    def _is_to_be_told(self, number: int) -> bool:
        """Whether the loop does not know yet that the task was opened anew, or closed, since it processed: that
        happens while another task waits for its commit."""
        return any(isinstance(one, Opened | Closed) and one.task == number for one in self._out)

    # Ends of tasks and of memberships

    def _drop(self, number: int, reason: str) -> None:
        task = self._tasks.pop(number, None)
        if task is None:
            return
        task.discard()
        self._overtaken += task.flow.overtaken
        self._out = [one for one in self._out if one.task != number or isinstance(one, Closed)]
        if task.opened:
            self._out.append(Closed(number, reason))

    def _drop_all(self, reason: str) -> None:
        for number in list(self._tasks):
            self._drop(number, reason)

    def _leave(self, reason: str) -> None:
        self._drop_all(reason)
        held, self._clients = self._clients, None
        if held is not None:
            held.close()

    def _lively(self, membership: Membership) -> None:
        """kafka-python polls on in silence when its password is refused, and when a join hangs: connect anew."""
        now = self._clock()
        if not membership.settled:
            quiet, limit, what = now - membership.unsettled_since, JOIN_S, "rebalancing"
        else:
            quiet, limit, what = now - membership.heard_at, SILENT_S, "giving no answer"
        if quiet > limit:
            reason = f"the group {self._config.service!r} has been {what} for {quiet:.0f} s"
            self._leave(reason)
            raise BrokerUnreachable(f"{reason}: joining anew")

    def _settle(self, task: Task) -> None:
        """A commit of one generation must come before the join of the next: while a rebalance is under way, wait."""
        deadline = self._clock() + SETTLE_S
        while not self._connected().membership.settled or task.steps is not None:
            self._turn(JOIN_POLL_S)
            if self._tasks.get(task.number) is not task:
                raise TaskLost(f"task {task.number} was lost before its commit")
            if self._clock() > deadline:
                raise TaskLost(f"the consumer group has been rebalancing for {SETTLE_S:g} s")

    def _observe(self) -> None:
        now = self._clock()
        if self._clients is None:
            self._progress = Progress(ready=False, detail="not connected")
            return
        if now - self._lag_at >= LAG_EVERY_S or len(self._lag) <= FEW_SOURCES:
            self._lag_at = now
            self._lag = {source: lag for task in self._tasks.values() for source, lag in task.lag().items()}
        membership = self._clients.membership
        detail = self._detail(membership, now)
        fetched = [at for at in (membership.fetched_at, self._handed_at) if at is not None]
        self._progress = Progress(
            self._lag,
            self._overtaken + sum(task.flow.overtaken for task in self._tasks.values()),
            max(fetched, default=None) if self._tasks else membership.heard_at,
            detail in ("", "standby"),
            detail,
        )

    def _detail(self, membership: Membership, now: float) -> str:
        if not membership.settled:
            return f"the consumer group has been rebalancing for {now - membership.unsettled_since:.0f} s"
        if missing := self._missing(membership):
            return f"there are no partitions of {', '.join(sorted(missing))}"
        opened = [number for number, task in self._tasks.items() if task.steps is None]
        if waiting := set(membership.tasks) - set(opened):
            return f"task {', '.join(map(str, sorted(waiting)))} is not restored yet"
        return "" if opened else "standby"
