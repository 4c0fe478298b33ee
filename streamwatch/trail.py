"""The trail of a stream key: what it has seen, by event, and where in the input: the evidence of its alerts.

A trail goes forward row by row (`forward`), so that an alert in the middle of a batch sees the trail as it was at
that event: alerts do not depend on how records fall into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from streamwatch.alerts import Evidence
from streamwatch.detectors.base import Plain
from streamwatch.errors import StateDamaged
from streamwatch.records import Source

CHECKPOINT_EVERY = 256
CHECKPOINTS = 16
VERSIONS = 20
SAMPLES = 3
PARTITIONS = 50

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Track:
    """The columns of one batch that trails read, by event: source index and offset of its record, stream time, and
    the time of the record."""

    sources: tuple[Source, ...]
    source: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    id: Sequence[str | None]
    version: Sequence[str | None]
    versions: frozenset[str | None]
    stream_s: npt.NDArray[np.float64]
    arrived_s: npt.NDArray[np.float64]

    @cached_property
    def listed(self) -> list[tuple[int, int, float, float]]:
        """(source, offset, stream time, arrival) by row: for trails of one row, where an array costs more."""
        columns = self.source, self.offset, self.stream_s, self.arrived_s
        return list(zip(*(column.tolist() for column in columns), strict=True))


class Trail:
    """Counts, last ids, versions, and per input partition the offsets: first, last, and at checkpoints."""

    __slots__ = (
        "_rows",
        "arrived_s",
        "checkpoints",
        "first",
        "ids",
        "last",
        "last_id",
        "last_s",
        "n",
        "versions",
    )

    def __init__(self) -> None:
        self.n = 0
        self.last_s = 0.0
        self.arrived_s = -1.0
        self.last_id: str | None = None
        self.ids: list[tuple[str | None, Source]] = []
        self.versions: list[str] = []
        self.first: dict[Source, int] = {}
        self.last: dict[Source, int] = {}
        self.checkpoints: list[tuple[float, dict[Source, int]]] = []
        self._rows: Rows = np.empty(0, dtype=np.int64)

    def start(self, rows: Rows) -> None:
        """The rows of this key in the range that is now processed; `forward` takes them in."""
        self._rows = rows

    def forward(self, track: Track, stop: int) -> None:
        """Take in all rows before `stop`."""
        rows = self._rows
        if not len(rows) or rows[0] >= stop:
            return
        if len(rows) == 1:
            self._rows = rows[:0]
            self._one(track, int(rows[0]))
            return
        if rows[-1] >= stop:
            cut = int(np.searchsorted(rows, stop))
            rows, self._rows = rows[:cut], rows[cut:]
        else:
            self._rows = rows[:0]
        self._saw(track, rows)
        while len(rows):
            room = CHECKPOINT_EVERY - self.n % CHECKPOINT_EVERY
            self._take(track, rows[:room])
            rows = rows[room:]
            self._check()

    def _check(self) -> None:
        if self.n % CHECKPOINT_EVERY == 0:
            self.checkpoints.append((self.last_s, dict(self.last)))
            if len(self.checkpoints) > CHECKPOINTS:
                del self.checkpoints[1 : CHECKPOINTS // 2 : 2]

    def _one(self, track: Track, row: int) -> None:
        index, offset, self.last_s, self.arrived_s = track.listed[row]
        source, version = track.sources[index], track.version[row]
        self.n += 1
        self.last_id = track.id[row]
        self.ids.append((self.last_id, source))
        del self.ids[:-SAMPLES]
        self.first.setdefault(source, offset)
        self.last[source] = offset
        if version is not None and len(self.versions) < VERSIONS and version not in self.versions:
            self.versions.append(version)
        self._check()

    def _take(self, track: Track, rows: Rows) -> None:
        final = int(rows[-1])
        self.n += len(rows)
        self.last_s = float(track.stream_s[final])
        if len(track.sources) == 1:
            self._read(track, int(rows[0]), final)
            return
        of_rows = track.source[rows]
        newest = np.full(len(track.sources), -1)
        newest[of_rows] = rows  # of what is written to one place twice, the last one stays
        for index, row in enumerate(newest.tolist()):
            if row >= 0:
                new = track.sources[index] not in self.first
                self._read(track, int(rows[np.argmax(of_rows == index)]) if new else row, row)

    def _read(self, track: Track, first: int, last: int) -> None:
        """Of one partition the rows from `first` to `last`."""
        source = track.sources[track.source[last]]
        self.first.setdefault(source, int(track.offset[first]))
        self.last[source] = int(track.offset[last])

    def _saw(self, track: Track, rows: Rows) -> None:
        final = int(rows[-1])
        self.last_id = track.id[final]
        self.arrived_s = float(track.arrived_s[final])
        for row in rows[-SAMPLES:].tolist():
            self.ids.append((track.id[row], track.sources[track.source[row]]))
        del self.ids[:-SAMPLES]
        if len(self.versions) < VERSIONS and not track.versions <= {None, *self.versions}:
            for version in dict.fromkeys(map(track.version.__getitem__, rows.tolist())):
                if version is not None and version not in self.versions:
                    self.versions.append(version)
            del self.versions[VERSIONS:]

    def evidence(self, since_s: float) -> tuple[tuple[Evidence, ...], int]:
        """The records since about `since_s` (stream time), per partition, and how many partitions were cut."""
        known: dict[Source, int] = {}
        for time_s, offsets in self.checkpoints:
            if time_s > since_s:
                break
            known = offsets
        found = [
            Evidence(
                topic=source.topic,
                partition=source.partition,
                first=known[source] + 1 if source in known else self.first[source],
                last=last,
                sample_ids=tuple(
                    event_id for event_id, where in self.ids if where == source and event_id is not None
                ),
            )
            for source, last in sorted(self.last.items())
            if known.get(source, -1) < last
        ]
        return tuple(found[:PARTITIONS]), max(0, len(found) - PARTITIONS)

    def dump(self) -> Plain:
        return {
            "n": self.n,
            "last_s": self.last_s,
            "arrived_s": self.arrived_s,
            "last_id": self.last_id,
            "ids": [[event_id, *source] for event_id, source in self.ids],
            "versions": self.versions,
            "first": [[*source, offset] for source, offset in sorted(self.first.items())],
            "last": [[*source, offset] for source, offset in sorted(self.last.items())],
            "checkpoints": [
                [time_s, [[*source, offset] for source, offset in sorted(offsets.items())]]
                for time_s, offsets in self.checkpoints
            ],
        }

    @classmethod
    def load(cls, dump: Plain) -> Trail:
        """StateDamaged if it is not what `dump` wrote."""
        trail = cls()
        try:
            trail.n = _count(dump["n"])
            trail.last_s = float(dump["last_s"])
            trail.arrived_s = float(dump["arrived_s"])
            trail.last_id = dump["last_id"]
            trail.ids = [(event_id, Source(str(topic), int(part))) for event_id, topic, part in dump["ids"]]
            trail.versions = [str(version) for version in dump["versions"]]
            trail.first = _offsets(dump["first"])
            trail.last = _offsets(dump["last"])
            trail.checkpoints = [(float(at), _offsets(offsets)) for at, offsets in dump["checkpoints"]]
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"trail of a stream key: {error!r} in {str(dump)[:200]}") from error
        return trail


def _offsets(rows: Any) -> dict[Source, int]:
    return {Source(str(topic), int(partition)): _count(offset) for topic, partition, offset in rows}


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value
