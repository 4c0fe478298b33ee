"""The loop: poll, process, commit. Live and offline are this one loop; only the transport differs.

It owns no thread, no signal and no log: who calls `run` gives it a stop and an observer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamwatch.alerts import Alert
from streamwatch.conditions import About
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import PlatformError
from streamwatch.events import DeadLetter, StreamKey
from streamwatch.execute import Obeyed
from streamwatch.observer import Observer, Silent, Work
from streamwatch.plan import Unwatched
from streamwatch.records import Batch, Commit, Source
from streamwatch.segments import Slicing
from streamwatch.transports.base import Closed, Idle, Lagging, Listed, Opened, Stalled, Transport

# With 50 or 100 ms a join of the group hung for ever in 4 of 90 starts; with 200 ms and more in none.
POLL_S = 0.25
# So many records are processed at once, and the rest of a batch is a part of its own. A transaction holds the output of
# fewer than twice as many: of dead letters 6 MB.
MOST_RECORDS = 8_000
# A dead letter with 4 KiB of payload has 6 KB, and 25 KB if these are codes of control: fewer than twice as many of
# them are 12 MB, at most 50 MB. In parts so small records cost 5 % more.
MOST_WITH_PAYLOAD = 1_000
# While there are more records than can be processed, what there is to say is committed this often: a commit costs
# 10 ms, in which 3,000 events are read.
GATHER_S = 0.1
# While more state than this has changed, alerts and dead letters do not wait for it. They are committed by themselves,
# with how far they go (`Commit.said_to`): whoever goes on from the state before processes these records again, in the
# same order, and says nothing of them again.
LITTLE_STATE_BYTES = 500_000
# Nor is a commit larger for much more state than this (and that of one part): all of it has to be at the broker within
# the deadline of a transaction, or it would fail again and again.
MOST_STATE_BYTES = 64_000_000
BACKOFF_S = (0.2, 5.0)
FORGIVEN_S = 60.0


class Stop(Protocol):
    """A `threading.Event` is one."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Total:
    """What a run did: sums over its commits. `committed` is False if its end could not be committed."""

    records: int = 0
    events: int = 0
    labels: int = 0
    ignored: int = 0
    tombstones: int = 0
    alerts: int = 0
    dead_letters: int = 0
    commits: int = 0
    failures: int = 0
    committed: bool = True


def backoff_s(failures: int) -> float:
    """The wait after so many failures in a row: doubling, with a jitter that is the same in every run.

    >>> [round(backoff_s(n), 2) for n in (1, 2, 3, 9)]
    [0.21, 0.36, 0.91, 5.0]
    """
    first, last = BACKOFF_S
    jitter = 0.8 + 0.4 * (failures * 0.6180339887498949 % 1.0)
    return min(last, first * 2.0 ** min(failures - 1, 16) * jitter)


def run(
    transport: Transport,
    config: Config,
    *,
    stop: Stop,
    observe: Observer | None = None,
    commit_every_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    most_records: int = MOST_RECORDS,
    sketch: bool = False,
    wall: Callable[[], float] = time.time,
    little_state_bytes: int = LITTLE_STATE_BYTES,
) -> Total:
    """Run until `stop` is set or the transport is finished; then commit what is processed, and close it.

    An OperatorError ends it. A PlatformError never does: the task is dropped and, after a backoff, restored
    by the transport's next Opened. Commits at once when there is something to say (in catch-up within GATHER_S), else
    every `commit_every_s` (default: the config's), if anything was processed; what there is to say without the state
    where more than `little_state_bytes` of that have changed. `sketch`: engines draw what they read.
    """
    if config.outputs.dead_letters.payload == "head":
        most_records = min(most_records, MOST_WITH_PAYLOAD)
    loop = _Loop(
        transport,
        config,
        observe or Silent(),
        commit_every_s,
        clock,
        most_records,
        sketch,
        wall,
        little_state_bytes,
    )
    try:
        while not stop.is_set():
            loop.turn()
            if transport.finished and loop.flush() and transport.finished:
                break
            if loop.retry_in_s:
                stop.wait(loop.retry_in_s)
        committed = loop.flush() and not loop.dropped
    finally:
        transport.close()
    return loop.total(committed)


class _Task:
    """A task that is ours: its engine, its next offsets, and what is processed but not committed. `saved`, `mark`: the
    offsets and the mark of the last committed state."""

    def __init__(self, engine: Engine, opened: Opened, now: float) -> None:
        self.engine = engine
        self.offsets: dict[Source, int] = dict(opened.offsets)
        self.committed_at = now
        self.standing: list[About] = []
        self.more = False  # the last batch was as large as one can be
        self.said_to = opened.said_to
        self.late: int | None = None
        self.begin_state(now, opened.mark)
        self.begin()

    def begin_state(self, now: float, mark: bytes) -> None:
        self.saved_at = now
        self.saved = dict(self.offsets)
        self.mark = mark
        self.unsaved = False
        self.repeatable = True

    def begin(self) -> None:
        self.alerts: list[Alert] = []
        self.dead_letters: list[DeadLetter] = []
        self.evicted: list[StreamKey] = []
        self.retired: list[StreamKey] = []
        self.unwatched: list[Unwatched] = []
        self.pooled: list[Slicing] = []
        self.obeyed: list[Obeyed] = []
        self.counts: Counter[str] = Counter()
        self.unusable: Counter[str] = Counter()
        self.joined: Counter[str] = Counter()

    def said(self, batch: Batch) -> int:
        """How many of its first records were processed before, and what they gave is written."""
        if not self.said_to:
            return 0
        until = np.array([self.said_to.get(source, 0) for source in batch.sources], dtype=np.int64)
        new = batch.offset >= until[batch.source]
        if new.any():
            self.said_to = {}
            return int(np.argmax(new))
        return len(batch)

    def repeat(self, batch: Batch) -> None:
        self.engine.process(batch)
        self.offsets.update(batch.next_offsets())
        self.unsaved, self.repeatable = True, False

    def say(self, alerts: Sequence[Alert]) -> None:
        """What no record gives: it would not be said again."""
        if alerts:
            self.alerts.extend(alerts)
            self.repeatable = False

    def process(self, batch: Batch) -> None:
        self.unsaved = True
        output = self.engine.process(batch)
        self.offsets.update(batch.next_offsets())
        self.alerts.extend(output.alerts)
        self.dead_letters.extend(output.dead_letters)
        self.evicted.extend(output.evicted)
        self.retired.extend(output.retired)
        self.unwatched.extend(output.unwatched)
        self.pooled.extend(output.pooled)
        self.obeyed.extend(output.obeyed)
        self.unusable.update(output.unusable)
        self.joined.update(output.joined)
        self.counts.update(
            records=len(batch),
            events=output.events,
            labels=output.labels,
            ignored=output.ignored,
            tombstones=output.tombstones,
        )

    @property
    def outputs(self) -> int:
        return len(self.alerts) + len(self.dead_letters)

    @property
    def says_something(self) -> bool:
        return bool(self.alerts or self.dead_letters or self.obeyed)

    @property
    def uncommitted(self) -> bool:
        return self.says_something or self.unsaved

    def work(self, task: int) -> Work:
        return Work(
            task,
            self.counts["records"],
            self.counts["events"],
            self.counts["ignored"],
            self.counts["tombstones"],
            tuple(self.alerts),
            tuple(self.dead_letters),
            dict(self.unusable),
            tuple(self.evicted),
            tuple(self.retired),
            tuple(self.unwatched),
            tuple(self.obeyed),
            self.counts["labels"],
            dict(self.joined),
            tuple(self.pooled),
        )


class _Loop:
    def __init__(
        self,
        transport: Transport,
        config: Config,
        observe: Observer,
        commit_every_s: float | None,
        clock: Callable[[], float],
        most_records: int,
        sketch: bool,
        wall: Callable[[], float],
        little_state_bytes: int,
    ) -> None:
        self.transport = transport
        self.config = config
        self.observe = observe
        self.commit_every_s = config.commit_every if commit_every_s is None else commit_every_s
        self.clock = clock
        self.most_records = most_records
        self.sketch = sketch
        self.wall = wall
        self.little_state_bytes = little_state_bytes
        self.tasks: dict[int, _Task] = {}
        # Dropped by us, after a failed commit: their records are void until the next Opened.
        self.dropped: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.failures_in_row = 0
        self.failed_at = float("-inf")
        self.retry_in_s = 0.0

    def turn(self) -> None:
        self.retry_in_s = 0.0
        try:
            gathering = any(task.more and task.says_something for task in self.tasks.values())
            happenings = self.transport.poll(0.0 if gathering else POLL_S)
        except PlatformError as error:
            # The tasks stay: the transport says by Closed or Opened if they are not to go on as they are.
            self.fail(error, None)
            happenings = ()
        for task in self.tasks.values():
            task.more = False
        for happening in happenings:
            match happening:
                case Opened():
                    self.open(happening)
                case Closed():
                    self.tasks.pop(happening.task, None)
                    self.dropped.discard(happening.task)
                    self.observe.closed(happening)
                case Stalled():
                    self.observe.stalled(happening)
                    about = About("stalled", place=_place(happening.source))
                    self.notice(happening.task, about, happening.stalled, _stalled(happening))
                case Lagging():
                    self.notice(
                        happening.task, self.lag_of(happening.task), happening.lagging, happening.detail
                    )
                case Listed():
                    self.listed(happening)
                case Idle():
                    if happening.task in self.tasks:
                        task = self.tasks[happening.task]
                        task.say(task.engine.on_clock(happening.at_s))
                        for about in task.standing:  # all is read: nothing is stalled, nothing is late
                            what = "all that there is has been read"
                            task.say(task.engine.on_input(about, False, what, self.wall()))
                        task.standing = []
                case Batch():
                    self.process(happening)
        now = self.clock()
        for number, task in list(self.tasks.items()):
            self.commit_due(number, task, now)
        engines = {number: task.engine for number, task in self.tasks.items()}
        self.observe.turned(self.transport.progress(), engines, not self.retry_in_s)

    def commit_due(self, number: int, task: _Task, now: float) -> None:
        if not task.uncommitted:
            return
        pending_bytes = task.engine.pending_bytes
        due = pending_bytes >= MOST_STATE_BYTES or now - task.saved_at >= self.commit_every_s
        if task.says_something and (
            due or not task.more or task.outputs >= self.most_records or now - task.committed_at >= GATHER_S
        ):
            whole = not task.repeatable or pending_bytes <= self.little_state_bytes
            self.commit(number, task, whole)
            due = due and not whole and number in self.tasks
        if due:
            self.commit(number, task)

    def open(self, opened: Opened) -> None:
        self.observe.opened(opened)
        began = self.clock()
        self.tasks.pop(opened.task, None)  # two states of one task need not fit into memory
        engine = Engine.restore(self.config, opened.task, opened.state, opened.mark, self.sketch)
        task = self.tasks[opened.task] = _Task(engine, opened, self.clock())
        self.dropped.discard(opened.task)
        self.observe.restored(opened.task, engine.restored, self.clock() - began)
        task.say(engine.restored.alerts)
        for source, count in sorted(opened.lost.items()):
            detail = f"{count:,} records of {_place(source)} were deleted before they were read"
            # Each loss is one of its own: an older one may still stand.
            lost = About("lost", place=f"{_place(source)} before {opened.offsets.get(source, 0)}")
            task.say(engine.on_input(lost, True, detail, self.wall()))
        task.standing = engine.blind_inputs()
        if task.says_something:
            self.commit(opened.task, task)

    def process(self, batch: Batch) -> None:
        for start in range(0, len(batch), self.most_records):
            task = self.tasks.get(batch.task)
            if task is None:
                if batch.task in self.dropped:
                    return
                raise RuntimeError(f"the transport gave records of task {batch.task}, which is not open")
            part = batch.rows(start, min(start + self.most_records, len(batch)))
            task.more = len(part) == self.most_records
            if said := task.said(part):
                task.repeat(part.rows(0, said))
                part = part.rows(said, len(part))
            if len(part):
                self.moves(task, part)
                if task.late not in (None, batch.late):
                    task.repeatable = False
                task.process(part)
            self.commit_due(batch.task, task, self.clock())
        if (task := self.tasks.get(batch.task)) is not None:
            task.late = batch.late

    def lag_of(self, task: int) -> About:
        """Several tasks are behind, and caught up again, each for itself."""
        return About("lag", place="" if self.config.tasks == "one" else f"task {task}")

    def listed(self, listed: Listed) -> None:
        task = self.tasks.get(listed.task)
        if task is None:
            return
        said = {
            one.alert.data.model for one in task.engine.open() if one.alert.data.signal["kind"] == "partition"
        }
        for model in sorted(said | listed.models.keys()):
            wrong = listed.models.get(model, "")
            detail = wrong or f"the stream keys of {model} lie in one partition each"
            self.notice(listed.task, About("partition", model), bool(wrong), detail)

    def notice(self, number: int, about: About, blind: bool, detail: str) -> None:
        task = self.tasks.get(number)
        if task is not None:
            task.say(task.engine.on_input(about, blind, detail, self.wall()))

    def moves(self, task: _Task, batch: Batch) -> None:
        """What was blind when the task was opened, and whoever would tell its end may be gone with the last owner: it
        ends when its partition is read on, or when what is read is young."""
        if not task.standing:
            return
        read = {_place(batch.sources[index]) for index in np.unique(batch.source)}
        age_s = self.wall() - float(batch.timestamp_ms.max()) / 1000.0
        for about in task.standing:
            young = about.kind == "lag" and age_s <= self.config.sight.lag
            if young or about.place.partition(" before ")[0] in read:
                what = f"{about.place} is read on" if about.place else "records are read as they are written"
                task.say(task.engine.on_input(about, False, what, self.wall()))
        standing = set(task.engine.blind_inputs())
        task.standing = [about for about in task.standing if about in standing]

    def commit(self, number: int, task: _Task, whole: bool = True) -> None:
        """All that is processed; or, not `whole`, what there is to say, and the state stays what it was."""
        work = task.work(number)
        saved = task.offsets if whole else task.saved
        said_to = {**task.said_to, **({} if whole else task.offsets)}
        commit = Commit(
            number,
            dict(saved),
            [alert.message() for alert in work.alerts],
            [letter.message(self.config.service) for letter in work.dead_letters],
            task.engine.changes() if whole else {},
            task.engine.mark() if whole else task.mark,
            {source: offset for source, offset in said_to.items() if offset > saved.get(source, 0)},
        )
        began = self.clock()
        try:
            self.transport.commit(commit)
        except PlatformError as error:
            del self.tasks[number]
            self.dropped.add(number)
            self.fail(error, number)
            return
        task.committed_at = self.clock()
        if whole:
            task.begin_state(task.committed_at, commit.mark)
        task.begin()
        self.failures_in_row = 0
        self.counts.update(work.counts)
        self.observe.committed(work, task.committed_at - began)

    def flush(self) -> bool:
        """Commit all that is processed; False if some of it could not be."""
        failures = self.counts["failures"]
        for number, task in list(self.tasks.items()):
            if task.uncommitted:
                self.commit(number, task)
        return self.counts["failures"] == failures

    def fail(self, error: PlatformError, task: int | None) -> None:
        now = self.clock()
        self.failures_in_row = 1 if now - self.failed_at > FORGIVEN_S else self.failures_in_row + 1
        self.failed_at = now
        self.retry_in_s = backoff_s(self.failures_in_row)
        self.counts["failures"] += 1
        self.observe.failed(error, task, self.retry_in_s)

    def total(self, committed: bool) -> Total:
        return Total(**self.counts, committed=committed)


def _place(source: Source) -> str:
    return f"{source.topic}/{source.partition}"


def _stalled(happening: Stalled) -> str:
    place = _place(happening.source)
    if not happening.stalled:
        return f"{place} gives records again, or is at its end"
    return f"{place} gives nothing and holds all others back: {happening.detail}"
