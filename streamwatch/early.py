"""Labels that came before their predictions: they wait for them in a lane of their own, by id or by id and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from streamwatch.labels import Hashes, hashed_again
from streamwatch.lane import Lane
from streamwatch.matching import Come, Here, Told
from streamwatch.series import Bools, Floats
from streamwatch.traffic import Rows

MOST: Final = 100_000
NAME: Final = "labels:early"
_PRIOR: Final = -(2**62)  # before all records of a batch


class Early:
    """`wait_s`: how long.

    `since_s` below is the stream time of the very first prediction: labels that came before it wait from then on."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._lane = Lane(NAME, ())

    def __len__(self) -> int:
        return len(self._lane)

    def of(self, here: Here, kept_before: Rows, stream_s: Floats, since_s: float) -> Told:
        """Labels of batches before that waited for the new predictions of a model. `kept_before`: where those labels
        of this batch stand that will wait."""
        told = Told.none()
        lane, rows, spec = self._lane, here.rows, here.model.spec
        if not len(lane) or not len(rows):
            return told
        for keys in (here.hashes, hashed_again(here.hashes, here.model.name)):
            seqs = lane.find(keys)
            there = np.flatnonzero(seqs >= 0)
            seqs = seqs[there]
            if (
                spec.conflict == "first" or spec.read == "arrival"
            ):  # the newest, which is found, need not be the one
                pairs = [(at, seq) for at in there.tolist() for seq in lane.every(int(keys[at]))]
                there = np.array([at for at, _ in pairs], dtype=np.int64)
                seqs = np.array([seq for _, seq in pairs], dtype=np.int64)
            fresh = np.maximum(lane.stream_s(seqs), since_s) + spec.early > stream_s[rows[there]]
            count = lane.next + np.searchsorted(kept_before, rows[there], side="right")
            valid = fresh & (seqs + MOST >= count)
            at, seqs = there[valid], seqs[valid]
            told = told.with_next(
                Told(here.first_new + at, _PRIOR + seqs, lane.slots(seqs), stream_s[rows[at]], rows[at] + 1)
            )
        return told

    @staticmethod
    def still_waits(numbers: Rows, kept_before: Rows, rows: Rows) -> Bools:
        """Whether labels of this batch, by their number among those that will wait, are not pushed out before they
        meet the events at these rows."""
        still: Bools = numbers + MOST >= np.searchsorted(kept_before, rows, side="right")
        return still

    def keys(self, come: Come, at: Rows) -> Hashes:
        """Of these labels: by id, and where they name a model by both."""
        keys = come.hashes[at].copy()
        for position, row in enumerate(at.tolist()):
            model = come.model[row]
            if model is not None:
                keys[position] = hashed_again(come.hashes[row : row + 1], model)[0]
        return keys

    def keep(self, come: Come, kept: Rows, keys: Hashes, stream_s: Floats, since_s: float | None) -> int:
        """They wait, and the old ones go: how many."""
        if len(kept):
            seqs = self._lane.append(keys, come.stream_s[kept], {})
            self._lane.set(seqs, come.slot[kept], come.stream_s[kept])
        surplus = max(0, len(self._lane) - MOST)
        if len(stream_s) and since_s is not None and float(stream_s[-1]) >= since_s + self._wait_s:
            surplus = max(surplus, self._lane.due(float(stream_s[-1]), self._wait_s))
        self._lane.pop(surplus)
        return surplus

    @property
    def pending_bytes(self) -> int:
        return self._lane.pending_bytes

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        return self._lane.changes()

    def load(self, state: Mapping[str, bytes]) -> None:
        self._lane.load({key: data for key, data in state.items() if self._lane.is_own(key)})
