"""Labels that came before their predictions: they wait for them in a lane of their own, by id or by id and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from streamwatch.labels import Hashes, hashed_again
from streamwatch.lane import Lane
from streamwatch.matching import Come, Here, Told
from streamwatch.series import Floats
from streamwatch.traffic import Rows

MOST: Final = 100_000
NAME: Final = "labels:early"
_PRIOR: Final = -(2**62)  # before all records of a batch


class Early:
    """`wait_s`: how long. `first_counts`: of several labels of one key the first one counts, else the last.

    `since_s` below is the stream time of the very first prediction: labels that came before it wait from then on.
    """

    def __init__(self, wait_s: float, first_counts: bool) -> None:
        self._wait_s = wait_s
        self._first_counts = first_counts
        self._lane = Lane(NAME, ())

    def __len__(self) -> int:
        return len(self._lane)

    def of(self, here: Here, kept_before: Rows, stream_s: Floats, since_s: float) -> Told:
        """Labels of batches before that waited for the new predictions of a model. `kept_before`: where those labels
        of this batch stand that will wait."""
        told = Told.none()
        lane, rows = self._lane, here.rows
        if not len(lane) or not len(rows):
            return told
        for keys in (here.hashes, hashed_again(here.hashes, here.model.name)):
            seqs = lane.find(keys)
            there = np.flatnonzero(seqs >= 0)
            from_s = np.maximum(lane.stream_s(seqs[there]), since_s)
            fresh = from_s + here.model.spec.early > stream_s[rows[there]]
            count = lane.next + np.searchsorted(kept_before, rows[there], side="right")
            valid = there[fresh & (seqs[there] + MOST >= count)]
            told = told.with_next(
                Told(
                    here.first_new + valid,
                    _PRIOR + seqs[valid],
                    lane.slots(seqs[valid]),
                    stream_s[rows[valid]],
                    rows[valid] + 1,
                )
            )
        return told

    def to_keep(self, come: Come, at: Rows, since_s: float) -> tuple[Rows, Hashes]:
        """Which of these labels will wait, and their keys."""
        keys = come.hashes[at].copy()
        for position, row in enumerate(at.tolist()):
            model = come.model[row]
            if model is not None:
                keys[position] = hashed_again(come.hashes[row : row + 1], model)[0]
        return self._without_told(at, keys, come, since_s) if self._first_counts else (at, keys)

    def _without_told(self, at: Rows, keys: Hashes, come: Come, since_s: float) -> tuple[Rows, Hashes]:
        """Without those whose key waits already."""
        waiting = self._lane.find(keys)
        there = np.flatnonzero(waiting >= 0)
        alive = np.zeros(len(keys), dtype=np.bool_)
        from_s = np.maximum(self._lane.stream_s(waiting[there]), since_s)
        alive[there] = from_s + self._wait_s > come.stream_s[at[there]]
        kept: list[int] = []
        seen: dict[int, float] = {}
        for position, key in enumerate(keys.tolist()):
            now_s = float(come.stream_s[at[position]])
            if alive[position] or seen.get(key, -np.inf) + self._wait_s > now_s:
                continue
            seen[key] = max(now_s, since_s)
            kept.append(position)
        return at[kept], keys[kept]

    def keep(self, come: Come, kept: Rows, keys: Hashes, stream_s: Floats, since_s: float | None) -> int:
        """They wait, and the old ones go: how many."""
        if len(kept):
            seqs = self._lane.append(keys, come.stream_s[kept], {})
            self._lane.set(seqs, come.slot[kept], come.stream_s[kept])
        if not len(stream_s) or since_s is None:
            return 0
        now_s = float(stream_s[-1])
        old = self._lane.due(now_s, self._wait_s) if now_s >= since_s + self._wait_s else 0
        surplus = max(old, len(self._lane) - MOST)
        self._lane.pop(surplus)
        return surplus

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        return self._lane.changes()

    def load(self, state: Mapping[str, bytes]) -> None:
        self._lane.load({key: data for key, data in state.items() if self._lane.is_own(key)})
