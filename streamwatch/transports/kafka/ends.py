"""Where partitions begin and end, asked of the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, RetriableError

from streamwatch.records import Source
from streamwatch.transports.kafka.errors import translated

CALL_S = 1.0
FIRST = 0.25  # of it


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
        return self._ask(self._committed, "beginning_offsets", sources)

    def stable_end(self, sources: Iterable[Source]) -> dict[Source, int]:
        return self._ask(self._committed, "end_offsets", sources)

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
        answer = self._answer(self._committed, "offsets_for_times", wanted)
        return {
            Source(part.topic, part.partition): found.offset
            for part, found in answer.items()
            if found is not None and found.offset >= 0
        }

    def high_watermark(self, sources: Iterable[Source]) -> dict[Source, int]:
        return self._ask(self._uncommitted, "end_offsets", sources)

    def _ask(self, client: Any, what: str, sources: Iterable[Source]) -> dict[Source, int]:
        answer = self._answer(client, what, [TopicPartition(*source) for source in sources])
        return {Source(part.topic, part.partition): offset for part, offset in answer.items()}

    def _answer(self, client: Any, what: str, wanted: object) -> Mapping[Any, Any]:
        """kafka-python asks a broker that does not lead the partition any more again and again, and not who does now:
        such a client would ask in vain until its metadata is 5 minutes old."""
        try:
            return self._within(client, what, wanted, int(self._within_ms * FIRST))
        except KafkaTimeoutError:
            client._client.cluster.request_update()
            return self._within(client, what, wanted, int(self._within_ms * (1 - FIRST)))

    def _within(self, client: Any, what: str, wanted: object, within_ms: int) -> Mapping[Any, Any]:
        answer: Mapping[Any, Any] = getattr(client, what)(wanted, timeout_ms=within_ms)
        return answer
