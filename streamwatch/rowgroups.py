"""Which rows of a batch belong to which stream key.

A cut is one way to make stream keys of events: per model or per version, and by which features. Every cut of the
config gives each row one stream key, or none (a feature of the slicing has no usable value).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from streamwatch.categories import segment_values
from streamwatch.coded import Table, coded, paired
from streamwatch.events import Events, StreamKey
from streamwatch.series import Bools

Rows = npt.NDArray[np.int64]


class Cut(NamedTuple):
    """`by` empty: the whole."""

    per: Literal["model", "version"]
    by: tuple[str, ...]


UNVERSIONED = ""


@dataclass(frozen=True, eq=False)
class Keyed:
    """n rows under one cut: `codes` (n,) int64 index into `keys`, -1 where the row has no stream key."""

    keys: Sequence[StreamKey]
    codes: npt.NDArray[np.int64]

    def without(self, rows: Bools | None) -> Keyed:
        """The same where these rows have no stream key."""
        return self if rows is None else Keyed(self.keys, np.where(rows, -1, self.codes))

    def first_rows(self, start: int) -> Iterator[tuple[StreamKey, int]]:
        """Each stream key that occurs from `start` on, with its first row there."""
        codes, rows = np.unique(self.codes[start:], return_index=True)
        for code, row in zip(codes.tolist(), rows.tolist(), strict=True):
            if code >= 0:
                yield self.keys[code], start + row

    def next_row(self, key: StreamKey, start: int) -> int | None:
        """The first row from `start` on that has this stream key."""
        rows = self._rows.get(key)
        at = 0 if rows is None else int(np.searchsorted(rows, start))
        return None if rows is None or at == len(rows) else int(rows[at])

    @cached_property
    def _rows(self) -> dict[StreamKey, Rows]:
        return dict(self.groups(0, len(self.codes)))

    def groups(self, start: int, stop: int) -> Iterator[tuple[StreamKey, Rows]]:
        """Each stream key with its rows in [start, stop), ascending; keys in order of their first row."""
        codes = self.codes[start:stop]
        if len(self.keys) == 1 and len(codes) and codes.min() == 0:
            yield self.keys[0], np.arange(start, stop, dtype=np.int64)
            return
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        edges = np.flatnonzero(np.diff(ordered)) + 1
        starts = [0, *edges.tolist()]
        stops = [*edges.tolist(), len(ordered)]
        order += start
        for begin, end in zip(starts, stops, strict=True):
            if begin == end:
                continue
            code = int(ordered[begin])
            if code >= 0:
                yield self.keys[code], order[begin:end]


def keyed(events: Events, cut: Cut) -> Keyed:
    """The stream key of every event under one cut. An event without a version has the version "" where versions
    are told apart, so that it is not taken for "all versions together"."""
    model = coded(events.model)
    if cut.per == "version":
        pairs, codes = paired(model, coded(events.version))
        whole = [StreamKey(name, UNVERSIONED if version is None else version) for name, version in pairs]
    else:
        whole, codes = [StreamKey(name, None) for name in model.words], model.codes
    if not cut.by:
        return Keyed(whole, codes)
    table = Table()
    rows = zip(codes.tolist(), segment_values(events, cut.by), strict=True)
    numbers = [-1 if row[1] is None else table[row] for row in rows]
    keys = [whole[code]._replace(segment=segment) for code, segment in table]
    return Keyed(keys, np.array(numbers, dtype=np.int64))
