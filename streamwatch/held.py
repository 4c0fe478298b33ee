"""Rows that a stream's watchers have yet to read, because nothing can be found in them.

With 10,000 stream keys a batch has one or two rows of each, and reading those costs each watcher a dozen calls: 20 us
an event with four. But ADWIN looks at its window at every 32nd value only. So as long as no detector of a stream can
alarm (`Detector.quiet`) and no eyes can say anything, usable values wait here, and are read up to 31 at a time.
Whoever asks a watcher for its detector or its state gets it with all that has come (`Watcher.detector`), so waiting
changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from streamwatch.watcher import Watcher

FEW: Final = 8  # rows of one stream in one batch; more are read at once faster than they are put here
# Of each signal that the watchers of a stream read: how it is written, and of which spec.
Signals = tuple[tuple[str, int], ...]


class Held:
    """`signals`: what `watchers` read, in this order. `room`: so many rows can surely be taken, if their times are in
    [since_s, until_s)."""

    __slots__ = ("_rows", "_times_s", "room", "signals", "since_s", "until_s", "watchers")

    def __init__(self, signals: Signals, watchers: Sequence[Watcher]) -> None:
        self.signals = signals
        self.watchers = watchers
        self.room = 0
        self.since_s = self.until_s = 0.0
        self._rows: list[tuple[float, ...]] = []
        self._times_s: list[float] = []

    def fits(self, times_s: Sequence[float]) -> bool:
        """Whether nothing can be found in the next rows, of these times, if they give usable values."""
        n = len(times_s)
        if self.room < n:
            self.release()
            self.room = min((watcher.quiet for watcher in self.watchers), default=0)
            if self.room:
                spans = [watcher.quiet_s for watcher in self.watchers]
                self.since_s, self.until_s = max(a for a, _ in spans), min(b for _, b in spans)
        return self.room >= n and self.since_s <= min(times_s) and max(times_s) < self.until_s

    def take(self, rows: Sequence[tuple[float, ...]], times_s: Sequence[float]) -> None:
        """The next rows, each with a value for each watcher. Not more than fit."""
        self._rows += rows
        self._times_s += times_s
        self.room -= len(rows)

    def flush(self) -> None:
        """Let the watchers read what waits."""
        if self._rows:
            rows, times_s = self._rows, np.array(self._times_s)
            self._rows, self._times_s = [], []
            columns = np.array(list(chain.from_iterable(rows))).reshape(len(rows), -1).T
            for watcher, values in zip(self.watchers, columns, strict=True):
                watcher.read_quiet(values, times_s)

    def release(self) -> None:
        """The same, and take no more: something else than taken rows is to be read, or has changed."""
        self.flush()
        self.room = 0
