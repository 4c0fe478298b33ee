"""What is asked about ends when no answer comes. The broker's part is in test_transport.py, that of several brokers in
`faults --brokers 3`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from streamwatch.records import Source
from streamwatch.transports.kafka.ends import Ends

PLACE = Source("t", 0)


class Stale:
    """Stands for kafka-python's consumer that asks a broker which leads the partition no more: no answer before its
    metadata is new."""

    def __init__(self, answers: bool = True) -> None:
        self.fresh = False
        self.spent_ms = 0
        self._answers = answers
        self._client = SimpleNamespace(cluster=SimpleNamespace(request_update=self._update))

    def _update(self) -> None:
        self.fresh = self._answers

    def end_offsets(self, parts: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        self.spent_ms += timeout_ms
        if not self.fresh:
            raise KafkaTimeoutError(f"Failed to get offsets by timestamps in {timeout_ms} ms")
        return dict.fromkeys(parts, 7)

    def offsets_for_times(self, wanted: dict[TopicPartition, int], timeout_ms: int) -> dict[Any, Any]:
        return {part: SimpleNamespace(offset=7) for part in self.end_offsets(list(wanted), timeout_ms)}


def test_without_an_answer_it_is_asked_who_leads_the_partition_now() -> None:
    assert Ends(Stale(), Stale()).stable_end([PLACE]) == {PLACE: 7}
    assert Ends(Stale(), Stale()).high_watermark([PLACE]) == {PLACE: 7}
    assert Ends(Stale(), Stale()).at_time([PLACE], 1.0) == {PLACE: 7}


def test_a_broker_that_does_not_answer_at_all_is_given_up_in_time() -> None:
    silent = Stale(answers=False)
    with pytest.raises(KafkaTimeoutError):
        Ends(silent, silent, within_s=2.0).stable_end([PLACE])
    assert silent.spent_ms == 2_000
    assert Ends(silent, silent).stable_end_if_told([PLACE]) is None
