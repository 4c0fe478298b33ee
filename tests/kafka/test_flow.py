"""When the end of a quiet partition is asked for, and what an answer lets pass."""

from __future__ import annotations

from dataclasses import dataclass

from streamwatch.records import Source
from streamwatch.transports.kafka.columns import Columns, columns
from streamwatch.transports.kafka.flow import BUSY_S, Flow
from tests.build import config, monitor

A, B = Source("predictions", 0), Source("predictions", 1)
NOW = 1000.0
IDLE_S = 0.1


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()


def fetched(*records: Record) -> list[Columns]:
    return [columns(records)]


def flow() -> Flow:
    made = Flow(config(monitor("score", "score"), idle="100ms"), 0)
    made.begin([A, B], {A: 0, B: 0})
    return made


def more(source: Source) -> bool:
    return True


def no_more(source: Source) -> bool:
    return False


def test_a_record_waits_for_a_quiet_partition_until_an_answer_says_that_it_is_at_its_end() -> None:
    quiet = flow()
    quiet.feed({A: fetched(Record(0, 5))}, NOW)
    assert quiet.take(10) is None
    assert quiet.to_ask(NOW + IDLE_S / 2, no_more) == ()
    asked_at = NOW + IDLE_S
    assert quiet.to_ask(asked_at, no_more) == (A, B)
    quiet.answer(asked_at, {A: 1, B: 0}, {A: 1, B: 0})
    batch = quiet.take(10)
    assert batch is not None
    assert batch.offset.tolist() == [0]


def test_a_record_that_arrives_in_a_quiet_time_is_asked_about_at_once() -> None:
    """And not with the next of the rare questions of a time in which nothing waits."""
    quiet = flow()
    assert quiet.to_ask(NOW, no_more) == (A, B)
    quiet.answer(NOW, {A: 0, B: 0}, {A: 0, B: 0})
    assert quiet.to_ask(NOW + 1.0, no_more) == ()
    quiet.feed({A: fetched(Record(0, 5))}, NOW + 1.0)
    assert quiet.to_ask(NOW + 1.0 + IDLE_S, no_more) == (A, B)


def test_an_answer_that_there_is_more_lets_nothing_pass() -> None:
    quiet = flow()
    quiet.feed({A: fetched(Record(0, 5))}, NOW)
    quiet.answer(NOW + IDLE_S, {A: 1, B: 3}, {A: 1, B: 0})
    assert quiet.take(10) is None


def run_dry(seconds_ago: float) -> Flow:
    """B gave a record so long ago, which went; A's next waits for more of B."""
    busy = flow()
    busy.feed({A: fetched(Record(0, 5), Record(1, 7)), B: fetched(Record(0, 6))}, NOW - seconds_ago)
    batch = busy.take(10)
    assert batch is not None
    assert len(batch) == 2
    return busy


def test_a_busy_partition_is_not_asked_about_while_it_has_more_to_fetch() -> None:
    assert run_dry(BUSY_S * 0.8).to_ask(NOW, more) == ()


def test_a_partition_that_gave_all_that_is_known_of_is_asked_about() -> None:
    assert run_dry(BUSY_S * 0.8).to_ask(NOW, no_more) == (A, B)


def test_what_an_open_transaction_hides_holds_the_others_back_only_for_a_while() -> None:
    """The last answer to a fetch counts uncommitted records too, which may not come for long."""
    assert run_dry(BUSY_S * 1.2).to_ask(NOW, more) == (A, B)


C = Source("watch-control", 0)


def commanded() -> Flow:
    made = Flow(config(monitor("score", "score"), idle="100ms"), 0)
    made.begin([A, B, C], {A: 0, B: 0, C: 0})
    return made


def test_a_record_waits_for_quiet_commands_only_a_tenth_of_idle() -> None:
    """And no other partition's wait is shortened by it."""
    flow = commanded()
    flow.feed({A: fetched(Record(0, 5)), B: fetched(Record(0, 6))}, NOW)
    assert flow.to_ask(NOW + IDLE_S / 20, no_more) == ()
    asked_at = NOW + IDLE_S / 10
    assert flow.to_ask(asked_at, no_more) == (C, A, B)
    flow.answer(asked_at, {A: 1, B: 1, C: 0}, {A: 1, B: 1, C: 0})
    batch = flow.take(10)
    assert batch is not None
    assert [batch.sources[n] for n in batch.source] == [A]
    assert flow.to_ask(NOW + IDLE_S / 2, no_more) == ()
    flow.answer(NOW + IDLE_S, {A: 1, B: 1, C: 0}, {A: 1, B: 1, C: 0})
    assert flow.take(10) is not None


def test_commands_that_are_there_but_not_fetched_yet_hold_the_events_back() -> None:
    flow = commanded()
    flow.feed({A: fetched(Record(0, 5)), B: fetched(Record(0, 6))}, NOW)
    flow.answer(NOW + IDLE_S, {A: 1, B: 1, C: 1}, {A: 1, B: 1, C: 0})
    assert flow.take(10) is None
    flow.feed({C: fetched(Record(0, 5))}, NOW + IDLE_S)
    batch = flow.take(10)
    assert batch is not None
    assert batch.sources[batch.source[0]] == C


def test_an_answer_from_before_a_record_came_lets_it_not_pass_the_commands() -> None:
    """A command may have been written between the two."""
    flow = commanded()
    flow.answer(NOW, {A: 0, B: 0, C: 0}, {A: 0, B: 0, C: 0})
    flow.feed({A: fetched(Record(0, 5)), B: fetched(Record(0, 6))}, NOW + 0.001)
    assert flow.take(10) is None


def test_in_catch_up_the_commands_are_asked_about_only_when_nothing_else_holds_back() -> None:
    flow = commanded()
    flow.feed({A: fetched(Record(0, 5), Record(1, 7)), B: fetched(Record(0, 6))}, NOW - BUSY_S * 0.8)
    flow.answer(NOW, {A: 9, B: 9, C: 0}, {A: 2, B: 1, C: 0})
    assert flow.take(10) is not None
    assert flow.to_ask(NOW + BUSY_S * 0.1, more) == ()
    flow.feed({B: fetched(Record(1, 8))}, NOW + BUSY_S * 0.1)
    assert flow.to_ask(NOW + BUSY_S * 0.2, more) == (C, A, B)


def offsets(flow: Flow) -> list[tuple[int, int]]:
    batch = flow.take(10)
    if batch is None:
        return []
    return [
        (batch.sources[n].partition, at)
        for n, at in zip(batch.source.tolist(), batch.offset.tolist(), strict=True)
    ]


def test_records_whose_alerts_are_written_come_first_and_in_their_order_then() -> None:
    """B's second record came too late to go before A's; now it is there from the start, and has to wait again."""
    again = flow()
    again.begin([A, B], {A: 0, B: 0}, {A: 2, B: 1})
    again.feed({A: fetched(Record(0, 5), Record(1, 7), Record(2, 9))}, NOW)
    assert offsets(again) == []
    again.feed({B: fetched(Record(0, 6), Record(1, 6))}, NOW)
    assert again.valves()[0] == [A, B]
    assert offsets(again) == [(0, 0), (1, 0), (0, 1)]
    assert offsets(again) == []
    assert again.take_repeated()
    assert not again.take_repeated()
    assert again.positions == {A: 2, B: 1}
    assert sorted(again.valves()[1]) == [A, B]
    again.feed({A: fetched(Record(2, 9)), B: fetched(Record(1, 6), Record(2, 9))}, NOW)
    assert offsets(again) == [(1, 1), (0, 2)]


def test_what_is_to_come_first_waits_for_no_answer_and_passes_nobody() -> None:
    again = flow()
    again.begin([A, B], {A: 0, B: 0}, {A: 1, B: 1})
    again.feed({A: fetched(Record(0, 5))}, NOW)
    again.answer(NOW + IDLE_S, {A: 1, B: 0}, {A: 1, B: 0})
    assert offsets(again) == []
    assert not again.take_ended()
    again.feed({B: fetched(Record(0, 3))}, NOW + IDLE_S)
    assert offsets(again) == [(1, 0), (0, 0)]


def test_a_record_to_come_first_that_is_gone_is_not_waited_for() -> None:
    """Compaction or a marker: the consumer stands behind it, and no record came."""
    again = flow()
    again.begin([A, B], {A: 0, B: 0}, {A: 1, B: 3})
    again.feed({A: fetched(Record(0, 5))}, NOW)
    again.answer(NOW, {A: 1, B: 3}, {A: 1, B: 3})
    assert offsets(again) == [(0, 0)]
    assert again.take_repeated()


def test_after_a_rebalance_it_goes_on_where_it_was_and_the_order_is_sure_no_more() -> None:
    again = flow()
    again.begin([A, B], {A: 0, B: 0}, {A: 2, B: 1})
    again.feed({A: fetched(Record(0, 5), Record(1, 7)), B: fetched(Record(0, 6))}, NOW)
    batch = again.take(1)
    assert batch is not None
    again.begin([A, B], again.positions)
    again.feed({A: fetched(Record(1, 7), Record(2, 8)), B: fetched(Record(0, 6), Record(1, 6))}, NOW)
    after = again.take(10)
    assert after is not None
    assert after.offset.tolist() == [0, 1]
    assert after.late > batch.late
