"""The Kafka transport of a bystander: the records that the service would read, in its order, and no trace of it.

No group, no transaction, no topic made, nothing written to the broker. The state is the caller's memory: what is
lost on the way (retention) is told and passed, and a connection that is lost is made again where the order stood.

All tasks are read as one order and then told apart: that is each task's own order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from kafka import TopicPartition
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from streamwatch.config import Config
from streamwatch.errors import OperatorError, StartRefused, TaskLost
from streamwatch.logs import log
from streamwatch.records import Batch, Commit, Source
from streamwatch.transports.base import Happening, Idle, Lagging, Opened, Progress, Stalled
from streamwatch.transports.jsonl import write
from streamwatch.transports.kafka import connect, span
from streamwatch.transports.kafka.clients import GROUP, read_columns
from streamwatch.transports.kafka.columns import Columns
from streamwatch.transports.kafka.ends import Ends
from streamwatch.transports.kafka.errors import translated
from streamwatch.transports.kafka.flow import Flow
from streamwatch.transports.kafka.follow import close
from streamwatch.transports.kafka.intake import feed, hand_out, lag
from streamwatch.transports.kafka.partitions import Fetched, Partitions, by_source
from streamwatch.transports.kafka.span import Span
from streamwatch.transports.kafka.start import uneven
from streamwatch.transports.tasks import by_task, split, task_of

ALL = 0  # the flow of all tasks together
ANSWER_S = 5.0
# kafka-python polls on in silence when a broker is gone or refuses us: connecting anew says why.
SILENT_S = 15.0
QUIET_S = 5.0


class ReadOnlyTransport:
    """`topics`: which of the config's inputs; default: all. `alerts`, `dead_letters`: see `FilesTransport`. New
    partitions (and a new control topic) are looked for every `partitions_every_s`, if there is no end."""

    def __init__(
        self,
        config: Config,
        part: Span,
        *,
        topics: Sequence[str] | None = None,
        alerts: BinaryIO | None = None,
        dead_letters: BinaryIO | None = None,
        batch_records: int = 5_000,
        partitions_every_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._span = part
        self._topics = config.input_topics if topics is None else tuple(topics)
        self._outputs = (alerts, dead_letters)
        self._batch_records = batch_records
        self._partitions_every_s = partitions_every_s
        self._clock = clock
        self._client_id = f"streamwatch-{config.service}-bystander"
        self._flow = Flow(config, ALL)
        self._tasks: tuple[int, ...] = ()
        self._begun = False
        self._first: dict[Source, int] = {}
        self._stops: dict[Source, int] | None = None
        self._clients: tuple[Any, Any] | None = None
        self._partitions: Partitions | None = None
        self._ends: Ends | None = None
        self._connected_at = self._looked_at = self._handed_at = 0.0
        self._progress = Progress(ready=False, detail="not connected")

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        deadline = self._clock() + timeout_s
        try:
            if self._partitions is None and (opened := self._connect()):
                return opened
            while True:
                out = self._turn(max(0.0, deadline - self._clock()))
                if out or self.finished or self._clock() >= deadline:
                    return out
        finally:
            self._observe()

    def commit(self, commit: Commit) -> None:
        """Writes alerts and dead letters where the caller wants them: never to the broker."""
        if commit.task not in self._tasks:
            raise TaskLost(f"task {commit.task} is not open")
        for stream, messages in zip(self._outputs, (commit.alerts, commit.dead_letters), strict=True):
            if stream is not None and messages:
                write(stream, messages)

    def progress(self) -> Progress:
        return self._progress

    def offsets_read(self) -> tuple[int, int]:
        """(done, total) from where it began to where it is to end, for a progress bar; (0, 0) before the first poll,
        and where there is no end."""
        if self._stops is None:
            return 0, 0
        total = sum(self._stops.values()) - sum(self._first.values())
        return (total if self.finished else total - sum(self._progress.lag.values())), total

    @property
    def finished(self) -> bool:
        if not self._begun or self._stops is None or self._partitions is None:
            return False
        return all(
            self._at_its_stop(source) and not self._flow.buffered(source) for source in self._flow.sources
        )

    def close(self) -> None:
        clients, self._clients = self._clients, None
        self._partitions = self._ends = None
        for client in clients or ():
            close(client)

    # One turn

    def _turn(self, wait_s: float) -> list[Happening]:
        assert self._partitions is not None
        assert self._ends is not None
        now = self._clock()
        with translated("read the input topics"):
            fetched = self._poll(min(wait_s, self._flow.wait_s(now)))
            if self._stops is not None:
                fetched = self._before_stops(fetched)
            feed([self._flow], fetched, self._clock())
            out = hand_out(
                [self._flow],
                self._partitions,
                self._batch_records,
                self._clock(),
                self._ends.stable_end_if_told if self._stops is None else lambda _: self._stops,
            )
            if self._stops is not None:
                # What was written is read: the clock says nothing of it.
                out = [happening for happening in out if not isinstance(happening, Idle | Lagging)]
                self._partitions.pause([source for source in self._flow.sources if self._at_its_stop(source)])
        if any(isinstance(happening, Batch) for happening in out):
            self._handed_at = self._clock()
        self._lively()
        return [told for happening in out for told in self._by_task(happening)]

    def _by_task(self, happening: Happening) -> Sequence[Happening]:
        match happening:
            case Batch():
                return split(self._config.tasks, happening)
            case Stalled():
                return [replace(happening, task=task_of(self._config.tasks, happening.source))]
            case _:
                return [replace(happening, task=task) for task in self._tasks]

    def _poll(self, wait_s: float) -> Fetched:
        assert self._clients is not None
        try:
            return by_source(self._clients[0].poll(timeout_ms=max(0, int(wait_s * 1000))))
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            self._pass_lost(error)
            return {}

    def _pass_lost(self, error: Exception) -> None:
        """Go on at the first record that is there. (kafka-python is told to reset nothing: it would say nothing.)"""
        assert self._partitions is not None
        assert self._ends is not None
        lost = 0
        for source, first in self._ends.begin(self._flow.sources).items():
            position = self._partitions.position(source)
            if position is not None and position < first:
                lost += first - position
                self._partitions.seek({source: first})
                log().warning(
                    "lost",
                    topic=source.topic,
                    partition=source.partition,
                    records=first - position,
                    detail="the broker deleted them (retention) before they were read",
                )
        if not lost:
            raise OperatorError(
                f"the records that were to be read next are not there: {error}. To do: start anew; if it comes again, "
                "see whether somebody made the topic anew"
            ) from error

    def _before_stops(self, fetched: Fetched) -> Fetched:
        assert self._stops is not None
        return {
            source: [_before(piece, self._stops[source]) for piece in pieces]
            for source, pieces in fetched.items()
        }

    def _at_its_stop(self, source: Source) -> bool:
        assert self._stops is not None
        position = None if self._partitions is None else self._partitions.position(source)
        return position is not None and position >= self._stops[source]

    # Connections

    def _connect(self) -> list[Opened]:
        """Empty if only the connection is new, or partitions have come."""
        there = span.partitions(self._config, self._topics, self._client_id)
        self._refuse_uneven(there.sources)
        if there.hidden and not self._begun:
            log().warning("commands are not read", detail=there.hidden)
        made: list[Any] = []
        try:
            with translated("connect"):
                reader = connect.consumer(self._config.kafka, self._client_id, **GROUP)
                made.append(reader)
                asker = connect.consumer(self._config.kafka, self._client_id)
                made.append(asker)
                self._begin(reader, Ends(asker, asker, ANSWER_S), there.sources)
        except BaseException:
            for client in made:
                close(client)
            raise
        self._clients = (reader, asker)
        self._connected_at = self._looked_at = self._handed_at = self._clock()
        begun, self._begun = self._begun, True
        if begun:
            return []
        cut = by_task(self._config.tasks, self._first)
        self._tasks = tuple(cut)
        return [
            Opened(task, {}, b"", {source: self._first[source] for source in sources})
            for task, sources in cut.items()
        ]

    def _refuse_uneven(self, sources: frozenset[Source]) -> None:
        """As the service does."""
        if self._config.tasks == "one":
            return
        findings = list(uneven(Counter(source.topic for source in sources)))
        if findings:
            raise StartRefused("\n".join(map(str, findings)))
        if self._tasks and (new := by_task(self._config.tasks, sources).keys() - set(self._tasks)):
            raise StartRefused(
                f"there are new partitions ({', '.join(map(str, sorted(new)))}): keys now lie in "
                "others, and so in other tasks (tasks: per_partition). To do: start anew"
            )

    def _begin(self, reader: Any, ends: Ends, sources: frozenset[Source]) -> None:
        positions = self._flow.positions
        if not self._begun:
            self._first = positions = span.starts(self._config, self._span, sources, ends)
            self._stops = span.stops(self._span, sources, ends, positions)
        elif self._stops is None and (new := sources - positions.keys()):
            positions |= ends.begin(new)  # nothing of them was there before
        reader.assign([TopicPartition(*source) for source in positions])
        read_columns(reader)
        held = Partitions(reader)
        held.feel()
        held.seek(positions)
        self._flow.begin(positions, positions)
        self._partitions, self._ends = held, ends

    def _lively(self) -> None:
        now = self._clock()
        if now - max(self._heard_at, self._handed_at) > SILENT_S and not self.finished:
            self.close()
            self._connect()
        elif self._stops is None and now - self._looked_at > self._partitions_every_s:
            self._looked_at = now
            if (
                span.partitions(self._config, self._topics, self._client_id).sources
                - self._flow.positions.keys()
            ):
                self.close()
                self._connect()

    @property
    def _heard_at(self) -> float:
        fetched_at = None if self._partitions is None else self._partitions.fetched_at
        return self._connected_at if fetched_at is None else fetched_at

    def _observe(self) -> None:
        if self._partitions is None:
            self._progress = Progress(ready=False, detail="not connected")
            return
        silent_s = self._clock() - self._heard_at
        detail = f"the broker has given no answer for {silent_s:.0f} s" if silent_s > QUIET_S else ""
        waiting = (
            lag(self._flow, self._partitions)
            if self._stops is None
            else {s: max(0, self._stops[s] - at) for s, at in self._flow.positions.items()}
        )
        self._progress = Progress(waiting, self._flow.overtaken, self._heard_at, not detail, detail)


def _before(piece: Columns, stop: int) -> Columns:
    if not len(piece) or piece.offsets[-1] < stop:
        return piece
    n = int(np.searchsorted(piece.offsets, stop))
    return Columns(
        piece.offsets[:n], piece.timestamps_ms[:n], piece.keys[:n], piece.values[:n], piece.headers[:n]
    )
