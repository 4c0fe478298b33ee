"""Whether a monitor has seen enough to alarm, as of a place in the stream.

Each watcher of a whole model (slices are many and thin) is asked once, when `warm_in` of stream time has passed since
the first event of its stream key. What must come before its first values, whatever the traffic, is added: the `wait`
of labels that come later, and the buckets of `every` that its detector needs. Times that windows or pauses let it skip
do not count; a model that is silent just then is asked anew from its next event on: that it is silent is said already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamwatch.config import Monitor
from streamwatch.errors import StateDamaged
from streamwatch.policy import Warmth
from streamwatch.trail import Rows
from streamwatch.windows import NEVER, InForce, outside


class WarmUp:
    """Of one watcher, until it is over.

    began_s  stream time of the first event; None: it is still to come
    cold     `in_s` has passed and it had not seen enough
    need     values that a fresh detector needs, at least
    over     it has seen enough in what was read; what is said is not yet as far
    """

    __slots__ = ("_rows", "_seen", "began_s", "cold", "in_s", "need", "over")

    def __init__(self, in_s: float, need: int) -> None:
        self.in_s = in_s
        self.need = need
        self.began_s: float | None = None
        self.cold = False
        self.over = False
        self._seen = 0
        self._rows: list[Rows] = []

    def due_s(self, skips: Sequence[InForce]) -> float:
        """When it is to be asked."""
        if self.began_s is None or self.cold:
            return NEVER
        return outside(skips, self.began_s, self.in_s) if skips else self.began_s + self.in_s

    def take(self, n: int) -> None:
        """So many values were read, of rows that nobody asks about."""
        self._seen += n

    def read(self, rows: Rows) -> None:
        """Values of these rows of the range that is now processed were read."""
        self._rows.append(rows)

    def forward(self) -> None:
        """The range is over."""
        self._seen += sum(map(len, self._rows))
        self._rows.clear()

    def at(self, row: int) -> Warmth:
        """What it had seen before this row."""
        here = sum(int(np.searchsorted(rows, row)) for rows in self._rows)
        return Warmth(self._seen + here, self.need)

    def dump(self) -> list[Any]:
        return [self.began_s, self.cold, self._seen]

    def load(self, dump: Any) -> None:
        """StateDamaged if it is not what `dump` wrote."""
        match dump:
            case [float() | None as began_s, bool(cold), int(seen)] if seen >= 0:
                self.began_s, self.cold, self._seen = began_s, cold, seen
            case _:
                raise StateDamaged(f"warm-up: expected a time, a flag and a count, got {dump!r}")


def in_s(monitor: Monitor, wait_s: float, need: int) -> float:
    """When a watcher is to be asked, after its first event. `wait_s`: so much later its values come; 0s: never."""
    warm_in = monitor.policy.warm_in
    if not warm_in:
        return 0.0
    buckets_s = 0.0 if monitor.every is None else need * monitor.every.length + monitor.every.late
    return warm_in + wait_s + buckets_s
