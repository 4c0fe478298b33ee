"""One task while it is ours: opened from its last commit, checked after a rebalance, committed as one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from streamwatch.config import Config
from streamwatch.records import Commit, Source
from streamwatch.transports.base import Happening, Opened
from streamwatch.transports.kafka.clients import Clients
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.flow import Flow
from streamwatch.transports.kafka.intake import lag
from streamwatch.transports.kafka.producer import Outgoing, TaskProducer
from streamwatch.transports.kafka.restore import (
    ResumeFrom,
    Steps,
    begin,
    committed_offsets,
    disagreement,
    restore,
)
from streamwatch.transports.kafka.state_topic import Mark, encode, rows


class Task:
    """Number `number` of `tasks`.

    `steps`: what is still to be done before its records may be handed out; its result is what happened.

    `opened`: the loop was told, or will be with the next happenings. `wait_s`: how long there is nothing to do but
    wait.
    """

    def __init__(
        self,
        config: Config,
        number: int,
        tasks: int,
        clients: Clients,
        producer: TaskProducer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self.flow = Flow(config, number)
        self.opened = False
        self.steps: Steps[Happening | str | None] | None = None
        self._hint_s = 0.0
        self._config = config
        self._tasks = tasks
        self._clients = clients
        self._producer = producer
        self._clock = clock
        self._parts: dict[str, int] = {}
        self._committed: dict[Source, int] = {}

    def wait_s(self, now: float) -> float:
        return self._hint_s if self.steps is not None else self.flow.wait_s(now)

    def step(self) -> Happening | str | None:
        """One slice of `steps`. At their end: Opened, or why the task is not to go on as it is."""
        assert self.steps is not None
        try:
            with translated(f"restore task {self.number}"):
                self._hint_s = next(self.steps)
        except StopIteration as end:
            self.steps = None
            result: Happening | str | None = end.value
            return result
        return None

    def discard(self) -> None:
        if self.steps is not None:
            # It and this task hold each other: left to the collector, it would let go of the state's reader only
            # when the next task is reading with it.
            self.steps.close()
            self.steps = None
        self._producer.discard()

    # Coming to be ours, and staying so

    def open(
        self, sources: frozenset[Source], resume_from: ResumeFrom | None
    ) -> Steps[Happening | str | None]:
        membership = self._clients.membership
        restored = yield from restore(
            self._config,
            self.number,
            self._tasks,
            sources,
            self._producer,
            self._clients,
            resume_from,
            self._clock,
        )
        self._parts, self._committed = restored.parts, restored.marked
        if restored.chosen:
            # Where to start and which offsets to believe is chosen once: it must outlive a crash.
            mark = self._mark(restored.marked, restored.engine, restored.said_to)
            self._transact(self._state_records(encode({}, mark, self._parts)[0]), restored.marked)
        self.flow.begin(sources, restored.positions, restored.said_to)
        self.opened = True
        membership.seek(self.flow.positions)
        membership.resume(sources)
        return Opened(
            self.number,
            restored.state,
            restored.engine,
            self.flow.positions,
            restored.lost,
            restored.said_to,
        )

    def check(self, sources: frozenset[Source]) -> Steps[Happening | str | None]:
        """A new generation of the group left us the task: it goes on only if nobody else committed for it."""
        membership = self._clients.membership
        membership.pause(sources)
        committed = yield from committed_offsets(membership, sources, self._clock)
        if different := disagreement(self._committed, committed):
            return f"another worker committed for it ({', '.join(map(str, different))})"
        known = {**self._committed, **self.flow.positions}
        new = frozenset(sources - known.keys())
        positions, lost, _ = yield from begin(self._config, new, known, self._clients.ends, self._clock)
        if lost:
            return "the first records of a new partition are gone"
        self.flow.begin(sources, {**known, **positions})
        membership.seek(self.flow.positions)
        membership.resume(sources)
        return None

    # Records

    def lag(self) -> dict[Source, int]:
        return lag(self.flow, self._clients.membership)

    # Commits

    def commit(self, commit: Commit) -> None:
        offsets = {**self._committed, **commit.offsets}
        records, counts = encode(commit.state, self._mark(offsets, commit.mark, commit.said_to), self._parts)
        config = self._config
        outgoing = [Outgoing(config.alerts_topic, m.key, m.value, m.headers) for m in commit.alerts]
        outgoing += [
            Outgoing(config.dead_letters_topic, m.key, m.value, m.headers) for m in commit.dead_letters
        ]
        self._transact([*outgoing, *self._state_records(records)], offsets)
        self._committed = offsets
        self._parts.update(counts)
        for name in [name for name, count in counts.items() if not count]:
            del self._parts[name]

    def _state_records(self, records: Iterable[tuple[bytes, bytes | None]]) -> list[Outgoing]:
        return [Outgoing(self._config.state_topic, key, value, (), self.number) for key, value in records]

    def _mark(self, offsets: Mapping[Source, int], engine: bytes, said_to: Mapping[Source, int]) -> Mark:
        return Mark(
            service=self._config.service,
            mode=self._config.tasks,
            tasks=self._tasks,
            task=self.number,
            offsets=rows(offsets),
            engine=engine,
            said_to=rows(said_to),
        )

    def _transact(self, outgoing: Sequence[Outgoing], offsets: Mapping[Source, int]) -> None:
        with translated(f"commit task {self.number}", transactional=True):
            self._producer.write(outgoing)
            self._producer.send_offsets(offsets, self._clients.membership.group)
            self._producer.commit()
