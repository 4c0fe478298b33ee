"""Whether a monitor can see: counts values that cannot be used and values that do not come, look by look.

A look is `of_last` expected values. The monitor is blind as soon as a look holds too many unusable ones, or no value
came for `none_in` expected ones; it sees again after a whole look that is good. Every count is by event, so the
answer does not depend on batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamwatch.detectors.base import Plain
from streamwatch.errors import StateDamaged
from streamwatch.policy import BlindLimit, Look
from streamwatch.series import Bools


class Eyes:
    """`blind`: to values, as policy rules 10 to 12 see it, which accept every look that is handed out here."""

    __slots__ = ("blind", "limit", "missing_run", "seen", "unusable", "usable")

    def __init__(self, limit: BlindLimit) -> None:
        self.limit = limit
        self.seen = 0
        self.unusable = 0
        self.usable = 0
        self.missing_run = 0
        self.blind = False

    def read(self, usable: Bools, unusable: Bools) -> list[tuple[int, Look]]:
        """m expected values in order, both (m,); rows that are neither are missing. The looks that change
        something, each with the index of the value that decided it."""
        n = len(usable)
        if not self.blind and self.unusable == 0 and n and not unusable.any() and self._no_gap(usable):
            self._skip(usable, n)
            return []
        looks: list[tuple[int, Look]] = []
        for index, (good, bad) in enumerate(zip(usable.tolist(), unusable.tolist(), strict=True)):
            look = self.read_one(good, bad)
            if look is not None:
                looks.append((index, look))
        return looks

    def read_usable(self, n: int) -> list[tuple[int, Look]]:
        """The same for n expected values that can all be used."""
        if self.blind or self.unusable:
            usable = np.ones(n, dtype=np.bool_)
            return self.read(usable, ~usable)
        self.missing_run = 0
        looks, rest = divmod(self.seen + n, self.limit.of_last)
        self.usable = rest if looks else self.usable + n
        self.seen = rest
        return []

    def read_one(self, usable: bool, unusable: bool) -> Look | None:
        limit = self.limit
        self.seen += 1
        if unusable:
            self.unusable += 1
            self.missing_run = 0
        elif usable:
            self.usable += 1
            self.missing_run = 0
        else:
            self.missing_run += 1
        look: Look | None = None
        if not self.blind:
            if self.unusable > limit.unusable * limit.of_last:
                look = Look(False, self.unusable, self.seen, none=False)
            elif self.missing_run >= limit.none_in:
                look = Look(False, 0, self.missing_run, none=True)
            if look is not None:
                self.blind = True
                self._start()
                self.missing_run = 0
                return look
        if self.seen >= limit.of_last:
            if self.blind and self.unusable <= limit.unusable * limit.of_last and self.usable > 0:
                look = Look(True, self.unusable, self.seen, none=False)
                self.blind = False
            self._start()
        return look

    def _no_gap(self, usable: Bools) -> bool:
        """Whether no run of missing values, the one carried in included, reaches the limit."""
        if usable.all():
            return True
        at = np.flatnonzero(usable)
        if not len(at):
            return self.missing_run + len(usable) < self.limit.none_in
        first = self.missing_run + int(at[0])
        between = int(np.diff(at).max(initial=1)) - 1
        last = len(usable) - 1 - int(at[-1])
        return max(first, between, last) < self.limit.none_in

    def _skip(self, usable: Bools, n: int) -> None:
        at = np.flatnonzero(usable)
        self.missing_run = n - 1 - int(at[-1]) if len(at) else self.missing_run + n
        whole, rest = divmod(self.seen + n, self.limit.of_last)
        if whole:
            self.usable = int(usable[n - rest :].sum())
        else:
            self.usable += int(usable.sum())
        self.seen = rest

    def _start(self) -> None:
        self.seen = self.unusable = self.usable = 0

    def dump(self) -> list[Any]:
        return [self.seen, self.unusable, self.usable, self.missing_run, self.blind]

    def load(self, dump: Plain | list[Any]) -> None:
        """StateDamaged if it is not what `dump` wrote."""
        match dump:
            case [int(seen), int(unusable), int(usable), int(missing), bool(blind)] if (
                min(seen, unusable, usable, missing) >= 0
            ):
                self.seen, self.unusable, self.usable = seen, unusable, usable
                self.missing_run, self.blind = missing, blind
            case _:
                raise StateDamaged(f"counts of usable values: expected four counts and a flag, got {dump!r}")
