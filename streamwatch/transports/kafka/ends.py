"""Where partitions begin and end, asked of the broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import RetriableError

from streamwatch.records import Source
from streamwatch.transports.kafka.errors import translated

CALL_S = 1.0


class Ends:
    """Two clients without a group: the fetches of the group's consumer wait at the broker, and a question on the
    same connection would wait behind them.

    `committed` reads committed records only: its ends are the last stable offsets. `uncommitted` reads all: its ends
    are the high watermarks.
    """

    def __init__(self, committed: Any, uncommitted: Any, within_s: float = CALL_S) -> None:
        self._committed = committed
        self._uncommitted = uncommitted
        self._within_ms = int(within_s * 1000)

    def begin(self, sources: Iterable[Source]) -> dict[Source, int]:
        return self._ask(self._committed.beginning_offsets, sources)

    def stable_end(self, sources: Iterable[Source]) -> dict[Source, int]:
        return self._ask(self._committed.end_offsets, sources)

    def stable_end_if_told(self, sources: Iterable[Source]) -> dict[Source, int] | None:
        """None if the broker does not answer: a partition then counts as not at its end, and stalls after a while."""
        with translated("ask where the input partitions end"):
            try:
                return self.stable_end(sources)
            except RetriableError:
                return None

    def at_time(self, sources: Iterable[Source], time_s: float) -> dict[Source, int]:
        """The first record from this time on, by its own timestamp; where there is none the partition is left out."""
        wanted = {TopicPartition(*source): int(time_s * 1000) for source in sources}
        answer = self._committed.offsets_for_times(wanted, timeout_ms=self._within_ms)
        return {
            Source(part.topic, part.partition): found.offset
            for part, found in answer.items()
            if found is not None and found.offset >= 0
        }

    def high_watermark(self, sources: Iterable[Source]) -> dict[Source, int]:
        return self._ask(self._uncommitted.end_offsets, sources)

    def _ask(self, call: Any, sources: Iterable[Source]) -> dict[Source, int]:
        answer = call([TopicPartition(*source) for source in sources], timeout_ms=self._within_ms)
        return {Source(part.topic, part.partition): offset for part, offset in answer.items()}
