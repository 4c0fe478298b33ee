"""From hashes to the numbers of the rows that have them: sorted runs, merged as they grow (a log-structured merge).

Python's dict would take some 150 bytes a row; this takes 16, and a batch is looked up at once. Hashes are unique among
the rows that live; rows go in the order of their numbers, and leave the runs when these are merged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Seqs = npt.NDArray[np.int64]


class HashIndex:
    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, Seqs]] = []  # each at least twice as long as the next

    def add(self, hashes: Hashes, seqs: Seqs, living_from: int) -> None:
        """New rows. `living_from`: rows with lower numbers have gone."""
        if not len(hashes):
            return
        order = np.argsort(hashes, kind="stable")
        self._runs.append((hashes[order], seqs[order]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (one, one_seqs), (other, other_seqs) = self._runs[-2:]
            merged, merged_seqs = np.concatenate((one, other)), np.concatenate((one_seqs, other_seqs))
            alive = merged_seqs >= living_from
            merged, merged_seqs = merged[alive], merged_seqs[alive]
            order = np.argsort(merged, kind="stable")
            self._runs[-2:] = [(merged[order], merged_seqs[order])]

    def find(self, hashes: Hashes, living_from: int) -> Seqs:
        """The number of the living row of each hash, -1 where there is none."""
        found = np.full(len(hashes), -1, dtype=np.int64)
        for run, seqs in self._runs:
            # One hash may come several times in a run: rows that have gone, and at most one that lives, the last.
            at = np.searchsorted(run, hashes, side="right") - 1
            there = at >= 0
            there[there] = run[at[there]] == hashes[there]
            seq = seqs[at[there]]
            found[there] = np.maximum(found[there], np.where(seq >= living_from, seq, -1))
        return found

    def every(self, one: int, living_from: int) -> list[int]:
        """The numbers of all living rows of a hash, in order."""
        wanted = np.uint64(one)
        found: list[int] = []
        for run, seqs in self._runs:
            start, stop = np.searchsorted(run, wanted, "left"), np.searchsorted(run, wanted, "right")
            found += [seq for seq in seqs[start:stop].tolist() if seq >= living_from]
        return sorted(found)

    def __len__(self) -> int:
        return sum(len(run) for run, _ in self._runs)
