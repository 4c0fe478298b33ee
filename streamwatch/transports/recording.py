"""Recorded files: read once to know what each partition has, and once more to give it, in bounded memory.

The first pass checks every line, so that a wrong one ends a replay before it has said anything. It keeps, per
block of lines, which offsets of which partitions it holds. The second pass reads for a partition only the blocks
that hold it: files may be written in the order of arrival, one partition after the other, or one file per
partition, and a partition may go on from file to file.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from streamwatch.errors import OperatorError
from streamwatch.records import Source
from streamwatch.transports.lines import Lines, readable
from streamwatch.transports.order import Merge
from streamwatch.transports.recorded import Columns, parse

BLOCK_BYTES: Final = 1 << 20
# A partition that has so much waiting is not given more on the way: its block is read again when it is needed.
MOST_WAITING: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Block:
    file: int
    start: int
    length: int
    first_line: int


@dataclass(frozen=True, slots=True)
class _Segment:
    """The records of one partition in one block."""

    block: _Block
    first: int
    last: int
    count: int


class Recording:
    def __init__(self, paths: Sequence[Path], block_bytes: int = BLOCK_BYTES) -> None:
        self._paths = tuple(paths)
        self._block_bytes = block_bytes
        self._segments: dict[Source, list[_Segment]] = {}
        self._scan: Iterator[int] | None = self._blocks()
        self._scanned = 0
        self._size = 0  # on disk, of the files read through
        self._sizes = 0
        self._lengths: dict[int, int] = {}  # unpacked, by file
        self._total = 0
        self._next: dict[Source, int] = {}  # index of the segment that comes next
        self._skip: Mapping[Source, int] = {}
        self._left: dict[Source, int] = {}  # records in segments to come
        self._handles: list[tuple[int, Lines]] = []  # (file, at some place of it)

    def scan(self, until: float) -> bool:
        """Go on with the first pass until this time (of `time.monotonic`); True when it is done."""
        while self._scan is not None:
            try:
                done = next(self._scan, None)
                if done is None:
                    self._check()
            except OperatorError:  # a second try is to find the same again, not half of the files
                self._segments.clear()
                self._scan = self._blocks()
                raise
            if done is None:
                self._scan = None
            else:
                self._scanned = done
                if time.monotonic() >= until:
                    return False
        return True

    @property
    def first_offsets(self) -> dict[Source, int]:
        return {source: segments[0].first for source, segments in self._segments.items()}

    def open(self, offsets: Mapping[Source, int]) -> None:
        """The second pass, from these offsets."""
        self.close()
        self._skip = offsets
        for source, segments in self._segments.items():
            first = offsets.get(source, 0)
            self._next[source] = bisect_left(segments, first, key=lambda segment: segment.last)
            self._left[source] = sum(segment.count for segment in segments[self._next[source] :])

    def fill(self, merge: Merge) -> None:
        """Records for every partition that has none waiting and has not ended."""
        for source, segments in self._segments.items():
            while not merge.buffered(source) and self._next[source] < len(segments):
                self._read(source, segments[self._next[source]].block, merge)

    def ended(self) -> dict[Source, float]:
        return {
            source: math.inf
            for source, segments in self._segments.items()
            if self._next[source] >= len(segments)
        }

    def left(self) -> Mapping[Source, int]:
        """Per partition: records not read yet."""
        return self._left

    def progress(self) -> tuple[int, int]:
        """(done, total) bytes on disk; each of the two passes counts."""
        left = sum(self._left.values()) / self._total if self._total else 1.0
        given = 0.0 if self._scan is not None else (1.0 - left) * self._size
        return self._scanned + int(given), 2 * self._sizes

    def close(self) -> None:
        for _, handle in self._handles:
            handle.close()
        self._handles.clear()

    def _blocks(self) -> Iterator[int]:
        """The first pass; gives the bytes done after each block."""
        self._size, self._sizes, self._total = 0, 0, 0
        for path in self._paths:
            with readable(path):
                self._sizes += path.stat().st_size
        for file, path in enumerate(self._paths):
            lines, last, start, first_line = Lines(path), dict[Source, int](), 0, 1
            try:
                while data := lines.block(self._block_bytes):
                    block = _Block(file, start, len(data), first_line)
                    for source, columns in parse(data, path, first_line, last).items():
                        offsets = columns.offsets
                        segment = _Segment(block, offsets[0], offsets[-1], len(offsets))
                        self._segments.setdefault(source, []).append(segment)
                    start += len(data)
                    first_line += data.count(b"\n")
                    yield self._size + lines.done
                self._size += lines.size
                self._lengths[file] = start
            finally:
                lines.close()

    def _check(self) -> None:
        for source, segments in self._segments.items():
            segments.sort(key=lambda segment: segment.first)
            self._total += sum(segment.count for segment in segments)
            for before, after in pairwise(segments):
                if after.first <= before.last:
                    raise OperatorError(
                        f"{source.topic}/{source.partition}: offsets {before.first} to {before.last} in "
                        f"{self._paths[before.block.file]} and {after.first} to {after.last} in "
                        f"{self._paths[after.block.file]} overlap; expected each record once"
                    )

    def _read(self, wanted: Source, block: _Block, merge: Merge) -> None:
        """A block for the partition that wants it, and for all others for which it comes next."""
        for source, columns in parse(self._bytes(block), self._paths[block.file], block.first_line).items():
            segments, at = self._segments[source], self._next[source]
            due = at < len(segments) and segments[at].block is block
            if due and (source == wanted or merge.buffered(source) < MOST_WAITING):
                self._next[source] += 1
                self._left[source] -= segments[at].count
                self._add(source, columns, merge)

    def _add(self, source: Source, columns: Columns, merge: Merge) -> None:
        offsets, timestamps_ms = columns.arrays()
        skip = bisect_left(columns.offsets, self._skip.get(source, 0))
        merge.add(
            source,
            offsets[skip:],
            timestamps_ms[skip:],
            columns.key[skip:],
            columns.value[skip:],
            columns.headers[skip:],
        )

    def _bytes(self, block: _Block) -> bytes:
        """A packed file goes forward only: of those open, the one nearest before the block reads on."""
        near = [
            handle
            for file, handle in self._handles
            if file == block.file and (handle.place <= block.start or not handle.packed)
        ]
        if near:
            handle = max(near, key=lambda handle: handle.place)
        else:
            handle = Lines(self._paths[block.file])
            self._handles.append((block.file, handle))
        data = handle.at(block.start, block.length)
        if block.start + block.length == self._lengths[block.file]:
            self._handles.remove((block.file, handle))
            handle.close()
        return data
