"""Who belongs to whom within one batch: the values that the join passes about, and how it finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamwatch.labels import Hashes, sampled
from streamwatch.lane import Gone
from streamwatch.latemodel import LateModel
from streamwatch.series import Bools, Floats
from streamwatch.traffic import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Come:
    """m labels of a batch. `before`: row of the event before which each stands; `stream_s`: stream time there."""

    record: Rows
    before: Rows
    stream_s: Floats
    slot: Floats
    hashes: Hashes
    model: Sequence[str | None]

    def of(self, model: str, sample: float) -> OfModel:
        mine = np.array([name is None or name == model for name in self.model], dtype=np.bool_)
        at = np.flatnonzero(mine & sampled(self.hashes, sample) if len(mine) else mine)
        return OfModel(
            at, self.record[at], self.before[at], self.stream_s[at], self.slot[at], self.hashes[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class OfModel:
    """Those that may be of one model. `at`: which of all."""

    at: Rows
    order: Rows
    before: Rows
    stream_s: Floats
    slot: Floats
    hashes: Hashes

    def rows(self, at: Rows) -> OfModel:
        return OfModel(
            self.at[at], self.order[at], self.before[at], self.stream_s[at], self.slot[at], self.hashes[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """k labels with the predictions that they are of. `before`: where the outcome stands if it is read at once."""

    seqs: Rows
    order: Rows
    slot: Floats
    stream_s: Floats
    before: Rows

    @classmethod
    def none(cls) -> Told:
        nothing: Rows = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0), np.zeros(0), nothing)

    def rows(self, at: Rows) -> Told:
        return Told(self.seqs[at], self.order[at], self.slot[at], self.stream_s[at], self.before[at])

    def with_next(self, other: Told) -> Told:
        return Told(
            np.concatenate((self.seqs, other.seqs)),
            np.concatenate((self.order, other.order)),
            np.concatenate((self.slot, other.slot)),
            np.concatenate((self.stream_s, other.stream_s)),
            np.concatenate((self.before, other.before)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Here:
    """One model in one batch: its new predictions (`rows` of events), who leaves before which event (`leaves`, in the
    order of the lane) and who of them is pushed out, and which labels may be of which row of the lane."""

    model: LateModel
    rows: Rows
    hashes: Hashes
    first_new: int
    leaves: Rows
    pushed: Bools
    told: OfModel
    seqs: Rows
    of_row: Rows
    in_time: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Outcomes of one model that are read, and where; see `Outcomes`. `order` tells apart those at one place."""

    model: str
    gone: Gone
    before: Rows
    passed: Bools
    stream_s: Floats
    order: Rows


def row_of(rows: Rows, first_new: int, seqs: Rows, later: int, sooner: int | None = None) -> Rows:
    """The event row of new rows of a lane; `sooner` for older ones, `later` for those that have not come yet."""
    at = seqs - first_new
    found = np.full(len(seqs), later, dtype=np.int64)
    if sooner is not None:
        found[at < 0] = sooner
    new = (at >= 0) & (at < len(rows))
    found[new] = rows[at[new]]
    return found


def pairs(
    newest: Rows, before: Rows, replaced: Mapping[int, int], row_of: Callable[[Rows], Rows]
) -> tuple[Rows, Rows]:
    """Labels (by position) with the rows of the lane that they may be of: all new rows that come after the label in
    this batch, and the last one before it. `newest`: of each label's id, -1 for none."""
    at = np.flatnonzero(newest >= 0)
    seqs = newest[at]
    if not replaced:
        return at, seqs
    found = list(zip(at.tolist(), seqs.tolist(), row_of(seqs).tolist(), strict=True))
    for label, seq, row in found:  # grows while it is walked: an id that came several times in this batch
        if row >= before[label] and seq in replaced:
            older = replaced[seq]
            found.append((label, older, int(row_of(np.array([older]))[0])))
    return (
        np.array([label for label, *_ in found], dtype=np.int64),
        np.array([seq for _, seq, _ in found], dtype=np.int64),
    )


def picked(column: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [column[row] for row in rows]
