"""From what is fetched to batches in the order of the task: the wait for quiet partitions, stalls, valves, places.

The order itself is `transports.order`. Here stands when a partition without a record may be passed: by records that
arrived `idle` before a moment at which an answer to "where does it end" says that nothing of it is left to fetch.

A partition of commands is almost always quiet, and every alert would wait `idle` for it: a tenth of that is enough.
`idle` makes up for clocks and ways that differ from one producer to the other; the time of a command is set by the
broker that takes it (`topics.CONTROL_CONFIGS`). In any case a command that was acknowledged before an event was sent
comes before it: the question is asked after the event has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from streamwatch.config import Config
from streamwatch.records import Batch, Source
from streamwatch.transports.base import Stalled
from streamwatch.transports.kafka.columns import Columns
from streamwatch.transports.kafka.lagging import Lag
from streamwatch.transports.order import CONTROL, Merge, kinds

# A partition is paused when so many of its records wait for others, and goes on at half of it.
FULL = 40_000
# How often ends are asked: while a record waits (a busy partition beside a quiet one would ask at every fetch),
# after no answer, and while nothing waits (only to see a partition that stalls).
ASK_EVERY_S = 0.02
ASK_AGAIN_S = 1.0
ASK_IDLE_S = 5.0
POLL_S = 0.25
COMMANDS_SHARE = 0.1  # of `idle`
# In catch-up each answer costs a wait and tells nothing: a partition that gave records this recently, and has more by
# the last answer to a fetch, is not asked about. The time bounds it, because that answer counts what is not committed.
BUSY_S = 0.25


class Flow:
    """One task. Only what is in `sources` holds the others back."""

    def __init__(self, config: Config, task: int) -> None:
        self.task = task
        self._idle_s = config.idle
        self._stall_s = config.stall
        self._kinds = kinds(config)
        self._merge = Merge(task, ())
        self._overtaken = 0
        self._begun: dict[Source, int] = {}
        self._more = False
        self._paused: set[Source] = set()
        self._passed: dict[Source, float] = {}
        self._ask_at = self._ask_idle_at = float("-inf")
        self._fed_at: dict[Source, float] = {}
        self._behind: dict[Source, tuple[int | None, float]] = {}
        self._stalled: set[Source] = set()
        self._ended = False
        self._until: dict[Source, int] = {}
        self._reached: set[Source] = set()
        self.lag = Lag(task, config.sight.lag)

    # Places

    def begin(
        self,
        sources: Iterable[Source],
        positions: Mapping[Source, int],
        said_to: Mapping[Source, int] | None = None,
    ) -> None:
        """Start here, or again, perhaps with other partitions: what is buffered is dropped and will be fetched anew.

        The running maxima of merge keys are dropped, too: they place only records that are overtaken anyway.

        `said_to`: the records before it are given first, and those behind it then (None: as it was said before). They
        came so when their alerts were written, and one behind it may have come too late to stand among them.
        """
        self._overtaken += self._merge.overtaken
        self._begun = {source: positions[source] for source in sources}
        # Whoever goes on in the middle forgets what has passed: nobody can say any more that nothing came too late.
        self._merge = Merge(self.task, self._begun, self._kinds, self._merge.late + 1)
        said_to = self._until if said_to is None else said_to
        ahead = any(said_to.get(source, at) > at for source, at in self._begun.items())
        self._until = (
            {source: max(at, said_to.get(source, at)) for source, at in self._begun.items()} if ahead else {}
        )
        self._reached = {source for source, at in self._until.items() if at == self._begun[source]}
        self._more = False
        self._paused.clear()
        self._passed.clear()
        self._behind = {source: at for source, at in self._behind.items() if source in self._stalled}

    @property
    def sources(self) -> tuple[Source, ...]:
        return self._merge.sources

    @property
    def positions(self) -> dict[Source, int]:
        """The next offset to be handed out, by partition."""
        places = {source: self._merge.next_offset(source) for source in self._begun}
        return {source: self._begun[source] if at is None else at for source, at in places.items()}

    @property
    def overtaken(self) -> int:
        return self._overtaken + self._merge.overtaken

    def buffered(self, source: Source) -> int:
        return self._merge.buffered(source)

    # Records

    def feed(self, fetched: Mapping[Source, Sequence[Columns]], now: float) -> None:
        for source, pieces in fetched.items():
            for whole in pieces:
                piece = self._within(source, whole) if self._until else whole
                self._merge.add(
                    source,
                    piece.offsets,
                    piece.timestamps_ms,
                    piece.keys,
                    piece.values,
                    piece.headers,
                    now,
                )
            self._behind.pop(source, None)
            self._fed_at[source] = now

    def _within(self, source: Source, piece: Columns) -> Columns:
        """What is to come first; the rest is fetched again when its time has come."""
        until = self._until[source]
        count = int(np.searchsorted(piece.offsets, until))
        if count < len(piece) or (count and int(piece.offsets[-1]) == until - 1):
            self._reached.add(source)
        return piece.first(count)

    def take(self, limit: int) -> Batch | None:
        passed = dict.fromkeys(self._reached, float("inf")) if self._until else self._passed
        batch = self._merge.take(limit, passed)
        self._more = batch is not None and len(batch) == limit
        return batch

    def take_repeated(self) -> bool:
        """Whether all that is to come first has just been taken: the partitions are then to go on from `positions`."""
        over = (
            bool(self._until) and len(self._reached) == len(self._until) and self._merge.next_arrived is None
        )
        if over:
            self._until, self._reached = {}, set()
            self._passed.clear()  # it was said of where the partitions were, and they go back
        return over

    # Quiet partitions

    def wait_s(self, now: float) -> float:
        """How long the next poll may wait for records at most."""
        if self._more:
            return 0.0
        if self._merge.next_arrived is None:
            return POLL_S
        return max(0.0, self._due() - now)

    def to_ask(self, now: float, has_more: Callable[[Source], bool]) -> tuple[Source, ...]:
        """Partitions of which to ask the ends now. All of them: the next to run dry is then known already.
        `has_more`: whether there is more to fetch, by the last answer to a fetch."""
        if now < self._due():
            return ()
        dry = self._merge.headless()
        dry = [source for source in dry if not self._commands(source)] or dry
        if self._merge.next_arrived is not None and all(
            now - self._fed_at.get(source, float("-inf")) < BUSY_S and has_more(source) for source in dry
        ):
            self._ask_at = now + ASK_EVERY_S
            return ()
        return self.sources

    def _due(self) -> float:
        arrived = self._merge.next_arrived
        if arrived is None:
            return self._ask_idle_at
        wait_s = max(map(self._wait_s, self._merge.headless()), default=self._idle_s)
        return max(arrived + wait_s, self._ask_at)

    def _wait_s(self, source: Source) -> float:
        """How long a partition must have been at its end."""
        return self._idle_s * (COMMANDS_SHARE if self._commands(source) else 1.0)

    def _commands(self, source: Source) -> bool:
        return self._kinds[source.topic] == CONTROL

    def answer(
        self, now: float, ends: Mapping[Source, int] | None, positions: Mapping[Source, int | None]
    ) -> None:
        """`ends` asked at `now`, None if nobody answered; `positions`: fetched and fed up to there."""
        # Two moments: a record that arrives while nothing waited is not to wait for the next leisurely question.
        self._ask_at = now + (ASK_AGAIN_S if ends is None else ASK_EVERY_S)
        self._ask_idle_at = now + ASK_IDLE_S
        self._ended = ends is not None
        for source in self.sources:
            position = positions.get(source)
            if self._until and position is not None and position >= self._until[source]:
                self._reached.add(source)
            if ends is not None and position is not None and position >= ends[source]:
                self._passed[source] = now - self._wait_s(source)
                self._behind.pop(source, None)
                continue
            self._ended = False
            if not self._merge.buffered(source):
                at, since = self._behind.get(source, (position, now))
                self._behind[source] = (position, since if at == position else now)

    def take_ended(self) -> bool:
        """Whether the last answer, if it is new, said that all is read, and nothing waits any more."""
        ended, self._ended = self._ended, False
        return ended and not self._until and self._merge.next_arrived is None

    def stalls(self, now: float) -> Iterator[Stalled]:
        """Partitions that have given nothing for `stall` although they are not at their end, and those that do
        again."""
        for source, (position, since) in self._behind.items():
            if now - since >= self._stall_s and source not in self._stalled:
                self._stalled.add(source)
                text = f"nothing fetched behind offset {position} for {now - since:.0f} s"
                yield Stalled(self.task, source, True, text)
        for source in sorted(self._stalled - self._behind.keys()):
            self._stalled.discard(source)
            yield Stalled(self.task, source, False)

    def valves(self) -> tuple[list[Source], list[Source]]:
        """Partitions to pause and to resume, so that what waits for others fits into memory, and nothing is fetched
        that is to come later."""
        pause = [
            s
            for s in self.sources
            if s not in self._paused and (self._merge.buffered(s) >= FULL or s in self._reached)
        ]
        resume = [s for s in self._paused if self._merge.buffered(s) < FULL // 2 and s not in self._reached]
        self._paused.update(pause)
        self._paused.difference_update(resume)
        return pause, resume
