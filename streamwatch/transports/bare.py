"""Bare files of events: JSONL or CSV, one partition each, without the coordinates of a topic.

offset      the line, or row below the header, counting from 0; a blank line is skipped and keeps its number
timestamp   what `time_ms` reads from the event; else -1 (none): the event's own time counts, and is checked
            against nothing. So several files without `time_ms` come one after the other, in the order of topic
            and partition; with it they are merged by the events' times
value       JSONL: the line as it stands, whatever it holds. CSV: an object, see `csvrows`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from streamwatch.records import Source
from streamwatch.transports.csvrows import csv_rows
from streamwatch.transports.lines import Lines
from streamwatch.transports.order import Merge
from streamwatch.transports.recorded import BOM

BLOCK_BYTES: Final = 1 << 18
BLOCK_ROWS: Final = 1_000

TimeMs = Callable[[str, bytes], int]  # (topic, value) -> milliseconds since the epoch, or -1
Rows = list[tuple[int, bytes]]


@dataclass(slots=True)
class _Open:
    lines: Lines
    blocks: Iterator[Rows]


class Bare:
    """`as_text`: columns of a CSV whose cells stay text."""

    def __init__(
        self, files: Mapping[Source, Path], time_ms: TimeMs | None = None, as_text: Iterable[str] = ()
    ) -> None:
        self._files = dict(files)
        self._time_ms = time_ms
        self._as_text = frozenset(as_text)
        self._open: dict[Source, _Open] = {}
        self._skip: Mapping[Source, int] = {}
        self._done: dict[Source, int] = {}

    def scan(self, until: float) -> bool:
        return True

    @property
    def first_offsets(self) -> dict[Source, int]:
        return dict.fromkeys(self._files, 0)

    def open(self, offsets: Mapping[Source, int]) -> None:
        self.close()
        self._skip = offsets
        self._done = dict.fromkeys(self._files, 0)
        for source, path in self._files.items():
            lines = Lines(path)
            rows = csv_blocks(lines, self._as_text) if is_csv(path) else json_blocks(lines)
            self._open[source] = _Open(lines, rows)

    def fill(self, merge: Merge) -> None:
        """Records for every file that has none waiting and is not at its end."""
        for source, file in list(self._open.items()):
            while not merge.buffered(source):
                rows = next(file.blocks, None)
                self._done[source] = file.lines.done
                if rows is None:
                    file.lines.close()
                    del self._open[source]
                    break
                self._add(source, rows, merge)

    def ended(self) -> dict[Source, float]:
        return {source: math.inf for source in self._files if source not in self._open}

    def left(self) -> Mapping[Source, int]:
        return {}

    def progress(self) -> tuple[int, int]:
        """(done, total) bytes on disk."""
        return sum(self._done.values()), sum(path.stat().st_size for path in self._files.values())

    def close(self) -> None:
        for file in self._open.values():
            file.lines.close()
        self._open.clear()

    def _add(self, source: Source, rows: Rows, merge: Merge) -> None:
        skip = self._skip.get(source, 0)
        if skip:
            rows = [row for row in rows if row[0] >= skip]
        values = [value for _, value in rows]
        n = len(rows)
        times = np.full(n, -1, dtype=np.int64)
        if self._time_ms is not None:
            times[:] = [self._time_ms(source.topic, value) for value in values]
        offsets = np.array([offset for offset, _ in rows], dtype=np.int64)
        merge.add(source, offsets, times, [None] * n, values, [()] * n)


def is_csv(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".csv")


def json_blocks(lines: Lines) -> Iterator[Rows]:
    number = 0
    while data := lines.block(BLOCK_BYTES):
        if number == 0:
            data = data.removeprefix(BOM)
        split = data.split(b"\n")
        yield [(number + row, line) for row, line in enumerate(split) if line and not line.isspace()]
        number += len(split) - 1


def csv_blocks(lines: Lines, as_text: frozenset[str]) -> Iterator[Rows]:
    rows: Rows = []
    for row in csv_rows(lines, as_text):
        rows.append(row)
        if len(rows) == BLOCK_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows
