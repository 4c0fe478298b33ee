"""The loop: when it commits and what, what a failure costs, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from streamwatch import runner
from streamwatch.config import Config, Outputs
from streamwatch.engine import Restored
from streamwatch.errors import (
    BrokerUnreachable,
    PlatformError,
    StartRefused,
    StateError,
    TaskLost,
    TransactionTimeout,
)
from streamwatch.observer import Silent, Work
from streamwatch.records import Batch, Commit, Source
from streamwatch.runner import FORGIVEN_S, GATHER_S, Total, backoff_s, run
from streamwatch.transports.base import Closed, Happening, Idle, Lagging, Listed, Opened, Progress, Stalled
from streamwatch.transports.kafka.lagging import Lag
from tests.build import START_S, batch, config, event, mixed, monitor
from tests.samples import Clock

WATCH = config(monitor("error-rate", "error"), commit_every="1s")
SOURCE = Source("predictions", 0)
OPENED = Opened(0, {}, b"", {SOURCE: 0})


def records(n: int, offset: int = 0, value: bytes | None = None) -> Batch:
    """Tombstones, which are processed and say nothing; or with a bad value, which makes a dead letter of each."""
    return replace(batch([event(START_S)] * n, offset), value=[value] * n)


def bad(n: int, offset: int = 0) -> Batch:
    return records(n, offset, b"x")


class Script:
    """A transport that plays what a test wrote: for each poll happenings or an error, for each commit its outcome.

    A function among the polls is called then. Ends as a finished transport does, or at `stop`.
    """

    def __init__(
        self,
        *polls: Sequence[Happening] | Exception | Callable[[], object],
        commits: Sequence[Exception | None] = (),
    ) -> None:
        self.polls = list(polls)
        self.outcomes = list(commits)
        self.commits: list[Commit] = []
        self.refused: list[Commit] = []
        self.closed = 0

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        assert timeout_s == 0.0 or timeout_s >= 0.2  # between, a join of the consumer group can hang for ever
        assert not self.closed
        if not self.polls:
            return ()
        match self.polls.pop(0):
            case Exception() as error:
                raise error
            case Sequence() as happenings:
                return happenings
            case act:
                act()
                return ()

    def commit(self, commit: Commit) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            self.refused.append(commit)
            raise outcome
        self.commits.append(commit)

    def progress(self) -> Progress:
        return Progress()

    @property
    def finished(self) -> bool:
        return not self.polls

    def close(self) -> None:
        self.closed += 1


class Stop:
    """A stop that does not wait, and remembers how long it should have."""

    def __init__(self) -> None:
        self.told = False
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return self.told

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.told

    def tell(self) -> None:
        self.told = True


class Told(Silent):
    """What the loop told, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.turns: list[bool] = []

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        self.told.append(("restored", task))

    def closed(self, closed: Closed) -> None:
        self.told.append(closed)

    def committed(self, work: Work, seconds: float) -> None:
        self.told.append([letter.offset for letter in work.dead_letters])

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        self.told.append((type(error), task))

    def turned(self, progress: Progress, engines: object, healthy: bool) -> None:
        self.turns.append(healthy)


def play(
    script: Script,
    stop: Stop | None = None,
    told: Told | None = None,
    clock: Clock | None = None,
    most_records: int = 1_000,
    of: Config | None = None,
) -> Total:
    return run(
        script,
        of or WATCH,
        stop=stop or Stop(),
        observe=told or Told(),
        clock=clock or Clock(),
        most_records=most_records,
    )


def test_what_there_is_to_say_is_committed_at_once() -> None:
    clock = Clock()
    script = Script([OPENED, bad(2)], [bad(1, 2)], [])
    play(script, clock=clock)
    assert [len(commit.dead_letters) for commit in script.commits] == [2, 1]


def test_offsets_and_state_alone_wait_for_the_interval() -> None:
    clock, commits = Clock(), list[int]()

    def after(seconds: float) -> Callable[[], None]:
        def go() -> None:
            commits.append(len(script.commits))
            clock.now += seconds

        return go

    script = Script([OPENED, records(1)], after(0.9), [records(1, 1)], after(0.2), after(0.9), after(9.0), [])
    play(script, clock=clock)
    assert commits == [0, 0, 1, 1]
    assert [commit.offsets for commit in script.commits] == [{SOURCE: 2}]


def test_nothing_is_committed_when_nothing_was_processed() -> None:
    clock = Clock()

    def hour() -> None:
        clock.now += 3600.0

    script = Script([OPENED], hour, hour, [], [])
    assert play(script, clock=clock).commits == 0
    assert script.commits == []


def test_a_commit_holds_the_next_offset_of_every_partition_of_the_task() -> None:
    other = Source("predictions", 1)
    script = Script([Opened(0, {}, b"", {SOURCE: 3, other: 70}), bad(2, 3)], [bad(1, 5)])
    play(script)
    assert [commit.offsets for commit in script.commits] == [
        {SOURCE: 5, other: 70},
        {SOURCE: 6, other: 70},
    ]


def test_a_transaction_is_split_at_record_boundaries() -> None:
    script = Script([OPENED, bad(10)])
    play(script, most_records=4)
    assert [len(commit.dead_letters) for commit in script.commits] == [4, 4, 2]
    assert [commit.offsets[SOURCE] for commit in script.commits] == [4, 8, 10]


@pytest.mark.parametrize("value", [b"\0", b"\xff"])
def test_dead_letters_with_payload_are_few_and_bounded_by_bytes_in_a_transaction(value: bytes) -> None:
    """However they are written as JSON: they have to be at the broker within its deadline, as state has."""
    of = WATCH.model_copy(update={"outputs": Outputs.model_validate({"dead_letters": {"payload": "head"}})})
    n = runner.MOST_WITH_PAYLOAD
    script = Script([OPENED, replace(records(2 * n), value=[value * 5_000] * (2 * n))], [bad(n, 2 * n)], [])
    play(script, of=of, most_records=8 * n)
    assert [len(commit.dead_letters) for commit in script.commits] == [n, n, n]
    size = sum(len(letter.value or b"") for letter in script.commits[0].dead_letters)
    assert 2 * size < runner.MOST_STATE_BYTES


def busy(offset: int) -> Batch:
    """As much as is processed at once, with one bad value."""
    return replace(records(8, offset), value=[b"x", *[None] * 7])


def test_in_catch_up_what_there_is_to_say_is_gathered_for_a_tenth_of_a_second() -> None:
    clock = Clock()

    class Slow(Script):
        def poll(self, timeout_s: float) -> Sequence[Happening]:
            clock.now += 0.6 * GATHER_S
            return super().poll(timeout_s)

    script = Slow([OPENED], *[[busy(8 * n)] for n in range(5)], [])
    play(script, clock=clock, most_records=8)
    assert [len(commit.dead_letters) for commit in script.commits] == [2, 2, 1]


def test_gathering_ends_with_catch_up() -> None:
    """The turn after a full batch brings nothing more: what was said in it is committed."""
    commits: list[int] = []
    script = Script([OPENED, busy(0)], [], lambda: commits.append(len(script.commits)), [])
    play(script, most_records=8)
    assert commits == [1]


def test_much_state_does_not_wait_for_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it must be at the broker within the deadline of a transaction."""
    script = Script([OPENED, replace(batch([event(START_S)] * 3), offset=np.arange(3))], [records(1, 3)], [])
    monkeypatch.setattr(runner, "MOST_STATE_BYTES", 1)
    play(script)
    assert [commit.offsets[SOURCE] for commit in script.commits] == [3, 4]


@pytest.mark.parametrize("error", [TaskLost("fenced"), TransactionTimeout("?"), BrokerUnreachable("away")])
def test_a_failed_commit_costs_the_task_and_what_it_had_not_committed(error: PlatformError) -> None:
    """Records that came with it are void: processing them with nothing before would lose what went before."""
    told = Told()
    script = Script(
        [OPENED, bad(1), bad(2, 1), bad(1, 3)],
        [bad(1, 4), Closed(0, "its commit failed")],
        [],
        [Opened(0, {}, b"", {SOURCE: 1}), bad(4, 1)],
        commits=[None, error],
    )
    total = play(script, told=told)
    assert [commit.offsets for commit in script.commits] == [{SOURCE: 1}, {SOURCE: 5}]
    assert told.told == [
        ("restored", 0), [0], (type(error), 0), Closed(0, "its commit failed"), ("restored", 0), [1, 2, 3, 4],
    ]  # fmt: skip
    assert (total.dead_letters, total.commits, total.failures, total.committed) == (5, 2, 1, True)


def test_labels_and_what_became_of_them_are_told_once_when_a_commit_fails() -> None:
    of = config(
        monitor("error", "error"),
        inputs=[{"topics": ["predictions"]}, {"topics": ["labels"], "kind": "labels"}],
        models={"fraud": {"labels": {"wait": "1m"}}},
        commit_every="0s",
    )
    items = [event(START_S, event_id="a", prediction=1), {"event_id": "a", "label": 1}, event(START_S + 90)]
    works: list[Work] = []

    class Counted(Told):
        def committed(self, work: Work, seconds: float) -> None:
            works.append(work)

    script = Script([OPENED, mixed(items)], [OPENED, mixed(items)], commits=[BrokerUnreachable("away")])
    total = run(script, of, stop=Stop(), observe=Counted(), clock=Clock())
    assert (total.labels, len(script.refused)) == (1, 1)
    assert [(work.labels, work.joined["labels"], work.joined["outcomes"]) for work in works] == [(1, 1, 1)]


def test_that_segments_are_pooled_is_told_once_when_a_commit_fails() -> None:
    of = config(monitor("error", "error", by=[["shop"]]), max_segments=1, commit_every="0s")
    events = batch([event(START_S + n, features={"shop": n}) for n in range(3)])
    works: list[Work] = []

    class Counted(Told):
        def committed(self, work: Work, seconds: float) -> None:
            works.append(work)

    script = Script([OPENED, events], [OPENED, events], commits=[BrokerUnreachable("away")])
    run(script, of, stop=Stop(), observe=Counted(), clock=Clock())
    assert [list(map(str, work.pooled)) for work in works] == [["shop of fraud"]]


def test_a_failed_poll_is_waited_for_and_keeps_the_task() -> None:
    stop, told = Stop(), Told()
    away = BrokerUnreachable("nobody answers")
    script = Script([OPENED, records(1)], away, away, [bad(1, 1)])
    total = play(script, stop, told)
    assert script.commits[0].offsets == {SOURCE: 2}
    assert (total.records, total.failures) == (2, 2)
    assert stop.waits == [backoff_s(1), backoff_s(2)]
    assert told.turns == [True, False, False, True]


def test_the_backoff_grows_to_its_limit_and_a_commit_or_a_quiet_minute_ends_it() -> None:
    stop, clock = Stop(), Clock()
    away = BrokerUnreachable("nobody answers")

    def quiet() -> None:
        clock.now += FORGIVEN_S + 1

    script = Script([OPENED], away, away, [bad(1)], away, away, quiet, away, [])
    play(script, stop, clock=clock)
    assert stop.waits == [backoff_s(n) for n in (1, 2, 1, 2, 1)]
    waits = [backoff_s(n) for n in range(1, 60)]
    assert 0.16 <= waits[0] <= 0.24
    assert max(waits) == waits[-1] == 5.0


def test_a_rebalance_drops_what_was_not_committed() -> None:
    script = Script([OPENED, records(5)], [Closed(0, "rebalance")], [])
    assert play(script) == Total()
    assert script.commits == []
    again = Script([OPENED, records(5)], [Closed(0, "rebalance")], [], [OPENED, bad(1)])
    play(again)
    assert [commit.offsets for commit in again.commits] == [{SOURCE: 1}]


@pytest.mark.parametrize("error", [StartRefused("no right to read predictions"), ValueError("a bug")])
def test_what_only_a_person_can_mend_ends_it_and_the_transport_is_closed(error: Exception) -> None:
    script = Script([OPENED, records(5)], error, [])
    with pytest.raises(type(error), match=str(error)):
        play(script)
    assert (script.commits, script.closed) == ([], 1)


def test_a_commit_that_is_refused_ends_it() -> None:
    script = Script([OPENED, bad(1)], [], commits=[StartRefused("no right to write alerts")])
    with pytest.raises(StartRefused):
        play(script)
    assert script.closed == 1


def test_state_that_cannot_be_used_ends_it_before_a_record_is_read() -> None:
    script = Script([Opened(0, {"a": b"garbage"}, b"garbage"), bad(1)], [])
    with pytest.raises(StateError):
        play(script)
    assert (script.commits, script.closed) == ([], 1)


def test_a_stop_finishes_what_the_poll_gave_commits_it_and_closes() -> None:
    stop = Stop()
    script = Script([OPENED, records(3)], stop.tell, [bad(1, 3)])
    total = play(script, stop)
    assert [commit.offsets for commit in script.commits] == [{SOURCE: 3}]
    assert (total.records, total.committed, script.closed) == (3, True, 1)


def test_a_stop_whose_last_commit_fails_is_cleanly_uncommitted() -> None:
    stop = Stop()
    script = Script([OPENED, records(3)], stop.tell, [], commits=[TransactionTimeout("?")])
    total = play(script, stop)
    assert (script.commits, script.closed) == ([], 1)
    assert (total.committed, total.records) == (False, 0)


def test_a_stop_before_a_task_was_restored_again_is_cleanly_uncommitted() -> None:
    stop = Stop()
    script = Script([OPENED, bad(3)], stop.tell, [], commits=[TransactionTimeout("?")])
    assert play(script, stop).committed is False


def test_a_stop_while_the_broker_is_away_ends_the_waiting() -> None:
    stop = Stop()
    script = Script(BrokerUnreachable("away"), stop.tell, BrokerUnreachable("away"), [])
    assert play(script, stop).committed
    assert (len(script.polls), script.closed) == (2, 1)


def test_a_finished_transport_whose_last_commit_failed_is_not_finished() -> None:
    script = Script([OPENED, records(3)], commits=[TaskLost("fenced")])
    polled = script.poll

    def poll(timeout_s: float) -> Sequence[Happening]:
        if script.refused and not script.commits:
            script.refused.clear()
            return [Closed(0, "its commit failed"), OPENED, records(3)]
        return polled(timeout_s)

    script.poll = poll  # type: ignore[method-assign]
    total = play(script)
    assert [commit.offsets for commit in script.commits] == [{SOURCE: 3}]
    assert (total.records, total.failures, total.committed) == (3, 1, True)


def test_records_of_a_task_that_was_never_opened_are_an_error_and_not_passed_over() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        play(Script([records(1)]))


def test_each_turn_is_told_once_also_one_that_failed() -> None:
    told = Told()
    play(Script([OPENED], BrokerUnreachable("away"), [bad(1)], []), told=told)
    assert told.turns == [True, False, True, True]


# ---- what only the transport or the clock can show


def said(script: Script) -> list[tuple[str, str]]:
    alerts = [json.loads(message.value or b"{}") for commit in script.commits for message in commit.alerts]
    return [(alert["type"].rpartition(".")[2], alert["data"]["reason"]) for alert in alerts]


def test_a_stalled_partition_is_one_blind_alert_and_one_seeing() -> None:
    stalled = Stalled(0, SOURCE, True, "nothing fetched")
    script = Script([OPENED], [stalled], [stalled], [replace(stalled, stalled=False)])
    play(script)
    assert said(script) == [("blind", "partition stalled"), ("seeing", "partition moves")]


def test_records_that_were_lost_are_told_at_once_and_over_when_the_next_are_read() -> None:
    script = Script([replace(OPENED, lost={SOURCE: 7})], [records(1)])
    play(script)
    assert said(script) == [("blind", "records lost"), ("seeing", "reads on")]
    summary = json.loads(script.commits[0].alerts[0].value or b"")["data"]["summary"]
    assert summary == "7 records of predictions/0 were deleted before they were read"


def test_a_task_that_is_behind_says_so() -> None:
    script = Script([OPENED], [Lagging(0, True, "old")], [Lagging(0, False, "young")])
    play(script)
    assert said(script) == [("blind", "lag"), ("seeing", "caught up")]


def test_a_model_whose_keys_lie_in_two_partitions_is_one_blind_alert_until_they_do_not() -> None:
    """Also when its end is a list in which the model does not stand any more."""
    wrong = Listed(0, {"fraud": "in partitions 0 and 2", "price": ""})
    for right in ({"fraud": "", "price": ""}, {}):
        script = Script([OPENED], [wrong], [wrong], [Listed(0, right)])
        play(script)
        assert said(script) == [("blind", "key in two partitions"), ("seeing", "key in one partition")]
        alert = json.loads(script.commits[0].alerts[0].value or b"")
        assert (alert["data"]["model"], alert["data"]["summary"]) == ("fraud", "in partitions 0 and 2")


def test_each_of_several_tasks_is_behind_for_itself() -> None:
    """Else the one that has caught up would end the alert of the other: they would have one key."""
    opened = [OPENED, replace(OPENED, task=1, offsets={})]
    script = Script(opened, [Lagging(0, True, "old"), Lagging(1, True, "old")], [Lagging(0, False, "young")])
    play(script, of=WATCH.model_copy(update={"tasks": "per_partition"}))
    keys = [json.loads(commit.alerts[0].value or b"")["data"]["key"] for commit in script.commits]
    assert said(script) == [("blind", "lag"), ("blind", "lag"), ("seeing", "caught up")]
    assert keys[0] == keys[2] != keys[1]


def test_a_model_that_is_silent_when_all_is_read_is_found_by_the_clock() -> None:
    events = batch([event(START_S, label=0, prediction=0)])
    script = Script([OPENED], [events], [Idle(0, START_S + 5 * 3600)], [Idle(0, START_S + 7 * 3600)])
    play(script)
    assert said(script) == [("blind", "silent")]


def test_what_is_told_of_a_task_that_is_not_ours_any_more_is_passed_over() -> None:
    script = Script([Stalled(0, SOURCE, True, "")], [Lagging(0, True, "")], [Idle(0, START_S)])
    play(script)
    assert said(script) == []


AGES = [
    # seconds since the last; age of the records; told
    (0, 700, None),
    (59, 700, None),
    (1, 700, True),
    (100, 800, None),
    (1, 10, False),
    (1, 10, None),
    (1, 700, None),
    (30, 10, None),
    (1, 700, None),
    (59, 700, None),
    (1, 700, True),
]


def test_a_task_is_behind_when_what_it_reads_has_been_old_for_a_minute() -> None:
    lag, now_s = Lag(0, 600.0), START_S
    for after_s, age_s, expected in AGES:
        now_s += after_s
        told = lag.read(batch([event(now_s - age_s)]), now_s)
        assert (None if told is None else told.lagging) is expected
    ended = lag.ended()
    assert ended is not None
    assert not ended.lagging
    assert Lag(0, 0.0).read(batch([event(0.0)]), now_s) is None


def test_what_was_blind_before_a_restart_ends_when_its_partition_is_read_on() -> None:
    """Who told it is gone with the process."""
    first = Script([replace(OPENED, lost={SOURCE: 7})], [Stalled(0, SOURCE, True, "nothing")])
    play(first)
    state = {key: value for commit in first.commits for key, value in commit.state.items() if value}
    again = Opened(0, state, first.commits[-1].mark, {SOURCE: 0})
    second = Script([again], [records(1)])
    play(second)
    assert said(second) == [("seeing", "reads on"), ("seeing", "partition moves")]
    third = Script([again], [Idle(0, START_S)])
    play(third)
    assert said(third) == said(second)


def test_a_second_loss_is_told_while_the_first_one_stands() -> None:
    first = Script([replace(OPENED, lost={SOURCE: 7})])
    play(first)
    state = {key: value for commit in first.commits for key, value in commit.state.items() if value}
    second = Script([Opened(0, state, first.commits[-1].mark, {SOURCE: 90}, {SOURCE: 80})])
    play(second)
    assert said(second) == [("blind", "records lost")]
