"""Whether a task is behind: the records that it reads are old although more are there to read."""

from __future__ import annotations

from streamwatch.records import Batch
from streamwatch.transports.base import Lagging

# A start behind a night's backlog is not worth a word if it catches up within this time.
HOLD_S = 60.0


class Lag:
    """`limit_s` 0: never. Moments are seconds since the epoch, as the records' own."""

    def __init__(self, task: int, limit_s: float) -> None:
        self._task = task
        self._limit_s = limit_s
        self._since_s: float | None = None
        self._told = False

    def read(self, batch: Batch, now_s: float) -> Lagging | None:
        """After each batch; what there is to tell."""
        age_s = now_s - float(batch.timestamp_ms.max()) / 1000.0
        if not self._limit_s or age_s <= self._limit_s:
            return self.ended()
        if self._since_s is None:
            self._since_s = now_s
        if self._told or now_s - self._since_s < HOLD_S:
            return None
        self._told = True
        return Lagging(self._task, True, f"records are read {age_s:,.0f} s after they were written")

    def ended(self) -> Lagging | None:
        """All is read, or what is read is young again."""
        self._since_s = None
        told, self._told = self._told, False
        return Lagging(self._task, False, "records are read as they are written") if told else None
