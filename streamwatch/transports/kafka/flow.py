"""From what is fetched to batches in the order of the task: buffers, the wait for quiet partitions, stalls, lag.

The order itself is `transports.order`. Here stands when a partition without a record may be passed: an answer to
"where does it end", asked at least `idle` after the waiting record arrived, says that nothing is left to fetch.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streamwatch.config import Config
from streamwatch.records import Batch, Source
from streamwatch.transports.base import Stalled

# A partition is paused when so many of its records wait for others, and resumed at half of it.
FULL = 40_000
# End offsets are asked at most so often: a busy partition beside a quiet one would ask at every fetch.
ASK_EVERY_S = 0.02
POLL_S = 0.25


class Flow:
    """One task. `positions`: the next offset to be handed out, by partition."""

    def __init__(self, config: Config, task: int) -> None:
        self._task = task
        self._idle_s = config.idle
        self._stall_s = config.stall
        kinds = {topic: entry.kind for entry in config.inputs for topic in entry.topics}
        self._ranks = {topic: 0 if kind == "predictions" else 1 for topic, kind in kinds.items()}
        self.positions: dict[Source, int] = {}
        self.merge_keys: dict[Source, int] = {}
        self.overtaken = 0
        self._heads: dict[Source, deque[tuple[float, Any]]] = {}
        self._last_key = -1
        self._paused: set[Source] = set()
        self._quiet: dict[Source, float] = {}
        self._asked_at = float("-inf")
        self._behind: dict[Source, tuple[int, float]] = {}
        self._stalled: set[Source] = set()

    def begin(self, positions: Mapping[Source, int], merge_keys: Mapping[Source, int]) -> None:
        """Start here, or again: what is buffered is dropped and will be fetched anew."""
        self.positions = dict(positions)
        self.merge_keys = dict(merge_keys)
        self._heads = {source: deque() for source in positions}
        self._paused.clear()
        self._quiet.clear()
        self._behind.clear()

    def feed(self, fetched: Mapping[Source, Sequence[Any]], now: float) -> None:
        for source, records in fetched.items():
            self._heads[source].extend((now, record) for record in records)
            self._behind.pop(source, None)

    def buffered(self, source: Source) -> int:
        return len(self._heads.get(source, ()))

    def _missing(self) -> list[Source]:
        return [source for source, head in self._heads.items() if not head]

    def _waiting_since(self) -> float | None:
        return min((head[0][0] for head in self._heads.values() if head), default=None)

    def wait_s(self, now: float) -> float:
        """How long the next poll may wait for records at most."""
        since = self._waiting_since()
        if since is None:
            return POLL_S
        return max(0.0, since + self._idle_s - now, self._asked_at + ASK_EVERY_S - now)

    def to_ask(self, now: float) -> list[Source]:
        since = self._waiting_since()
        if since is None or now < since + self._idle_s or now < self._asked_at + ASK_EVERY_S:
            return []
        return self._missing()

    def answer(self, now: float, ends: Mapping[Source, int], positions: Mapping[Source, int | None]) -> None:
        self._asked_at = now
        for source, end in ends.items():
            position = positions.get(source)
            if position is not None and position >= end:
                self._quiet[source] = now - self._idle_s
                self._behind.pop(source, None)
            else:
                at, since = self._behind.get(source, (-1, now))
                self._behind[source] = (position or 0, since if at == position else now)

    def changes(self, now: float) -> Iterable[Stalled]:
        for source, (position, since) in self._behind.items():
            if now - since > self._stall_s and source not in self._stalled:
                self._stalled.add(source)
                yield Stalled(
                    self._task, source, True, f"nothing fetched at offset {position} for {now - since:.0f} s"
                )
        for source in self._stalled - self._behind.keys():
            self._stalled.discard(source)
            yield Stalled(self._task, source, False)

    def take(self, limit: int) -> Batch | None:
        sources = tuple(sorted(self._heads, key=lambda s: (self._ranks.get(s.topic, 0), s)))
        keys = dict(self.merge_keys)
        heap = []
        missing = self._missing()
        cleared = min((self._quiet.get(source, float("-inf")) for source in missing), default=float("inf"))

        def push(index: int) -> None:
            head = self._heads[sources[index]]
            if head:
                key = max(keys.get(sources[index], -1), head[0][1].timestamp)
                heapq.heappush(heap, (key, index))

        for index in range(len(sources)):
            push(index)
        taken: list[Any] = []
        origin: list[int] = []
        while heap and len(taken) < limit:
            key, index = heap[0]
            source = sources[index]
            arrived, record = self._heads[source][0]
            if arrived > cleared:
                break
            heapq.heappop(heap)
            self._heads[source].popleft()
            if key < self._last_key:
                self.overtaken += 1
            self._last_key = max(self._last_key, key)
            keys[source] = key
            taken.append(record)
            origin.append(index)
            if not self._heads[source]:
                cleared = min(cleared, self._quiet.get(source, float("-inf")))
            push(index)
        if not taken:
            return None
        self.merge_keys = keys
        batch = Batch(
            self._task,
            sources,
            np.array(origin, np.int32),
            np.array([r.offset for r in taken], np.int64),
            np.array([r.timestamp for r in taken], np.int64),
            [r.key for r in taken],
            [r.value for r in taken],
            [r.headers for r in taken],
        )
        self.positions.update(batch.next_offsets())
        return batch

    def valves(self) -> tuple[list[Source], list[Source]]:
        """Partitions to pause and to resume, so that what waits fits into memory."""
        pause = [s for s, head in self._heads.items() if len(head) >= FULL and s not in self._paused]
        resume = [s for s in self._paused if len(self._heads.get(s, ())) < FULL // 2]
        self._paused.update(pause)
        self._paused.difference_update(resume)
        return pause, resume
