"""What waits of one partition until its place in the order comes: blocks of records with their merge keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamwatch.records import Header

HORIZON_MS: Final = 3_600_000
EARLIEST: Final = int(np.iinfo(np.int64).min)

Ints = npt.NDArray[np.int64]


def running(timestamps_ms: Ints, before: int) -> Ints:
    """The merge keys of a partition's records that follow one with the key `before` (rules 1 and 4).

    >>> running(np.array([5, 3, 4_000_000, 7]), 4).tolist()
    [5, 5, 4000000, 7]
    """
    keys = np.maximum(np.maximum.accumulate(timestamps_ms), before)
    if len(keys) and int((keys - timestamps_ms).max()) > HORIZON_MS:
        key = before
        for row, time_ms in enumerate(timestamps_ms.tolist()):
            key = time_ms if time_ms < key - HORIZON_MS else max(key, time_ms)
            keys[row] = key
    return keys


@dataclass(slots=True, eq=False)
class Block:
    """Records of one partition that arrived together; rows before `start` are taken."""

    offsets: Ints
    timestamps_ms: Ints
    keys: Ints
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    headers: Sequence[Sequence[Header]]
    arrived: float
    start: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - self.start


@dataclass(slots=True, eq=False)
class Queue:
    """What waits of one partition. `last_key`: of the last record added; `taken_key`: of the last one taken."""

    blocks: deque[Block] = field(default_factory=deque)
    waiting: int = 0
    last_key: int = EARLIEST
    taken_key: int = EARLIEST
    next_offset: int | None = None

    def append(self, block: Block) -> None:
        if not self.blocks:
            self.next_offset = int(block.offsets[0])
        self.last_key = int(block.keys[-1])
        self.waiting += len(block.offsets)
        self.blocks.append(block)

    def pieces(self, count: int) -> list[tuple[Block, int, int]]:
        """The first `count` records as (block, start, stop)."""
        found = []
        for block in self.blocks:
            stop = min(block.start + count, len(block.offsets))
            if count <= 0:
                break
            found.append((block, block.start, stop))
            count -= stop - block.start
        return found

    def advance(self, count: int) -> None:
        """The first `count` records are taken."""
        for block, _, stop in self.pieces(count):
            block.start = stop
            self.taken_key = int(block.keys[stop - 1])
            self.next_offset = int(block.offsets[stop - 1]) + 1
        self.waiting -= count
        while self.blocks and not len(self.blocks[0]):
            self.blocks.popleft()
        if self.blocks:
            head = self.blocks[0]
            self.next_offset = int(head.offsets[head.start])

    def drop(self) -> None:
        self.blocks.clear()
        self.waiting = 0
        self.last_key = self.taken_key

    def sort_keys(self, limit: int) -> Ints:
        """Of the first `limit` records: by these, non-monotone keys (rule 4) sort as a merge by heads takes them."""
        pieces = self.pieces(limit)
        return np.maximum.accumulate(joined([block.keys[start:stop] for block, start, stop in pieces]))

    def arrivals(self, count: int) -> npt.NDArray[np.float64]:
        pieces = self.pieces(count)
        moments = np.array([block.arrived for block, *_ in pieces], dtype=np.float64)
        return np.repeat(moments, [stop - start for _, start, stop in pieces])

    def arrived_by(self, count: int, moment: float) -> int:
        """How many of the first `count` records arrived by this moment."""
        found = 0
        for block, start, stop in self.pieces(count):
            if block.arrived > moment:
                break
            found += stop - start
        return found


def joined(arrays: list[Ints]) -> Ints:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def woven(pieces: list[Sequence[Any]], rows: npt.NDArray[np.intp] | None) -> Sequence[Any]:
    """The entries of all pieces in the order `rows` (None: as they are)."""
    column = pieces[0] if len(pieces) == 1 else list(chain.from_iterable(pieces))
    return column if rows is None or len(rows) < 2 else itemgetter(*rows.tolist())(column)
