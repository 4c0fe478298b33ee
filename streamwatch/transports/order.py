"""The order of a task: many partitions merged into one sequence that is fixed by the data, not by the network.

Rules:

1. A partition's own order is never broken. A record's merge key is the running maximum of its partition's record
   timestamps (never of payloads).
2. The next record is the one with the smallest key among the partitions' heads; at equal keys control goes before
   predictions before labels, then topic, then partition.
3. A partition without a head holds everything back, unless all that it had at a moment has been added: then it
   is passed by records that arrived at that moment or before.
4. A record more than 1 h behind its partition's running maximum starts it anew. So a clock that was ahead makes
   its partition wait until the others have come as far or to their ends, and spoils nothing after that.

A bad clock cannot be told from a quiet night by looking ahead of the smallest head: a head that is hours ahead is
most often the first event of the morning. Letting it go early would give a replay, which sees the morning's
event while the evening's still wait, another order than the live run, which does not. So it waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from streamwatch.config import Config
from streamwatch.records import Batch, Deferred, Header, Source
from streamwatch.transports.queue import EARLIEST, Block, Ints, Queue, joined, running, woven

CONTROL, PREDICTIONS, LABELS = 0, 1, 2

_NEVER: Final = float("-inf")


def kinds(config: Config) -> dict[str, int]:
    """Every topic that a task reads, with its rank in rule 2: the control topic is one more input."""
    ranks = {"predictions": PREDICTIONS, "labels": LABELS}
    read = {config.control_topic: CONTROL}
    for entry in config.inputs:
        for topic in entry.topics:  # one that holds both is a topic of predictions
            read[topic] = min(ranks[entry.kind], read.get(topic, LABELS))
    return read


class Merge:
    """The partitions of one task, all named from the start: one of which nothing is known yet holds back, too.

    `kinds`: CONTROL, PREDICTIONS (default) or LABELS by topic. `late`: where the count begins. The order of what `take`
    gives depends neither on how records were cut into `add` nor on `limit`.
    """

    def __init__(
        self, task: int, sources: Iterable[Source], kinds: Mapping[str, int] | None = None, late: int = 0
    ) -> None:
        kinds = kinds or {}
        rank = sorted(sources, key=lambda source: (kinds.get(source.topic, PREDICTIONS), source))
        self.sources: tuple[Source, ...] = tuple(rank)
        self.overtaken = 0
        self.late = late
        self._late_left = 0
        self._task = task
        self._queues = {source: Queue() for source in self.sources}
        self._rank = {source: rank for rank, source in enumerate(self.sources)}
        self._order = list(self._queues.values())
        self._passed_key = EARLIEST  # of the last record taken, over all partitions
        self._passed_rank = 0

    def add(
        self,
        source: Source,
        offsets: Ints,
        timestamps_ms: Ints,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Sequence[Sequence[Header]],
        arrived: float = 0.0,
    ) -> None:
        """Append records of one partition, in the order of their offsets; the arguments are kept, not copied.

        `arrived` is on the clock of `take`'s `passed`. Records whose key is below one already taken are counted
        in `overtaken`, and in `late` with those that a replay would put before others with their key.
        """
        if not len(offsets):
            return
        queue = self._queues[source]
        merge_keys = running(timestamps_ms, queue.last_key)
        overtaken = int((merge_keys < self._passed_key).sum())
        self.overtaken += overtaken
        before = self._rank[source] < self._passed_rank
        late = int((merge_keys <= self._passed_key).sum()) if before else overtaken
        self.late += late
        self._late_left += late
        queue.append(Block(offsets, timestamps_ms, merge_keys, keys, values, headers, arrived))

    def buffered(self, source: Source) -> int:
        return self._queues[source].waiting

    def next_offset(self, source: Source) -> int | None:
        """Of the first record not taken: the head's, else the one after the last taken; None if none ever came."""
        return self._queues[source].next_offset

    def headless(self) -> list[Source]:
        return [source for source, queue in self._queues.items() if not queue.waiting]

    @property
    def next_arrived(self) -> float | None:
        """When the record that would go next arrived; None if nothing waits. Passing a headless partition helps
        only with a moment that is not before it."""
        heads = [queue.blocks[0] for queue in self._order if queue.waiting]
        if not heads:
            return None
        return min(heads, key=lambda head: head.keys[head.start]).arrived  # the first of equals: by rank

    def drop(self, source: Source) -> None:
        """Forget what waits of a partition, as after a seek to its `next_offset`."""
        self._queues[source].drop()

    def clear(self) -> None:
        """Forget what waits of all partitions."""
        for queue in self._order:
            queue.drop()

    def take(self, limit: int, passed: Mapping[Source, float] | None = None) -> Batch | None:
        """At most `limit` of the next records, None if there are none that may go.

        `passed`: per partition a moment at which it had nothing that has not been added; infinity when it has
        ended. Partitions with and without a head may be named.
        """
        if limit <= 0 or not any(queue.waiting for queue in self._order):
            return None
        until = [(passed or {}).get(source, _NEVER) for source in self.sources]
        held = min(
            (at for at, queue in zip(until, self._order, strict=True) if not queue.waiting), default=np.inf
        )
        if held == _NEVER:
            return None
        ranks = [rank for rank, queue in enumerate(self._order) if queue.waiting]
        if len(ranks) == 1:
            queue = self._order[ranks[0]]
            count = queue.arrived_by(min(limit, queue.waiting), held)
            return self._batch(ranks, [count], None) if count else None
        return self._merge(ranks, limit, until, held)

    def _merge(self, ranks: list[int], limit: int, until: list[float], held: float) -> Batch | None:
        keys = [self._order[rank].sort_keys(limit) for rank in ranks]
        whole = [len(key) == self._order[rank].waiting for rank, key in zip(ranks, keys, strict=True)]
        ends = [
            (int(key[-1]), rank)
            for rank, key, all_of_it in zip(ranks, keys, whole, strict=True)
            if not all_of_it or until[rank] == _NEVER
        ]
        if ends:  # nothing can go behind the first of these ends: what is beyond need not be sorted
            last, at = min(ends)
            keys = [
                key[: np.searchsorted(key, last, side="right" if rank <= at else "left")]
                for rank, key in zip(ranks, keys, strict=True)
            ]
        counts = [len(key) for key in keys]
        rows = np.argsort(np.concatenate(keys), kind="stable")  # stable: by rank at equal keys
        piece = np.repeat(np.arange(len(ranks)), counts)[rows]
        stop = min(limit, len(rows))
        if held < np.inf or any(
            self._order[rank].waiting == n for rank, n in zip(ranks, counts, strict=True)
        ):
            stop = min(stop, self._held_back(ranks, counts, rows, piece, until, held))
        if not stop:
            return None
        taken = np.bincount(piece[:stop], minlength=len(ranks))
        starts = np.cumsum(counts) - counts
        moved = starts - (np.cumsum(taken) - taken)  # rows that are not taken leave gaps in the concatenation
        return self._batch(ranks, taken.tolist(), rows[:stop] - moved[piece[:stop]])

    def _held_back(
        self,
        ranks: list[int],
        counts: list[int],
        rows: npt.NDArray[np.intp],
        piece: npt.NDArray[np.intp],
        until: list[float],
        held: float,
    ) -> int:
        """The first position whose record arrived after a moment at which a partition, headless there, was asked."""
        limits = np.full(len(rows), held)
        for index, rank in enumerate(ranks):
            if counts[index] == self._order[rank].waiting:
                end = int(np.flatnonzero(piece == index)[-1]) + 1
                np.minimum(limits[end:], until[rank], out=limits[end:])
        arrived = np.concatenate(
            [self._order[rank].arrivals(n) for rank, n in zip(ranks, counts, strict=True)]
        )[rows]
        late = np.flatnonzero(arrived > limits)
        return int(late[0]) if len(late) else len(rows)

    def _batch(self, ranks: list[int], counts: list[int], rows: npt.NDArray[np.intp] | None) -> Batch:
        """Take `counts` records of the partitions, in the order `rows` (None: as they are)."""
        pieces = [
            (rank, *piece)
            for rank, count in zip(ranks, counts, strict=True)
            for piece in self._order[rank].pieces(count)
        ]
        source = np.repeat(
            np.array([rank for rank, *_ in pieces], dtype=np.int32),
            [stop - start for *_, start, stop in pieces],
        )
        offsets = joined([block.offsets[start:stop] for _, block, start, stop in pieces])
        times = joined([block.timestamps_ms[start:stop] for _, block, start, stop in pieces])
        merge_keys = joined([block.keys[start:stop] for _, block, start, stop in pieces])
        value = [block.value[start:stop] for _, block, start, stop in pieces]
        key = [block.key[start:stop] for _, block, start, stop in pieces]
        headers = [block.headers[start:stop] for _, block, start, stop in pieces]
        if rows is not None and len(rows) > 1:
            source, offsets, times, merge_keys = source[rows], offsets[rows], times[rows], merge_keys[rows]
        passed = running(merge_keys, self._passed_key)
        if passed[-1] == merge_keys[-1]:
            self._passed_rank = int(source[-1])
        self._passed_key = int(passed[-1])
        for rank, count in zip(ranks, counts, strict=True):
            if count:
                self._order[rank].advance(count)
        n = len(offsets)
        if self._late_left:
            # They go first; those that are left when a batch ends are late in the next one, too.
            self.late += 1
            self._late_left = max(0, self._late_left - n)
        return Batch(
            self._task,
            self.sources,
            source,
            offsets,
            times,
            Deferred(n, lambda: woven(key, rows)),
            woven(value, rows),
            Deferred(n, lambda: woven(headers, rows)),
            self.late,
        )
