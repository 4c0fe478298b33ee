"""Exactly once, on the memory transport: whatever fails wherever, what is visible is what an undisturbed run shows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import BrokerUnreachable, TaskLost, TransactionTimeout
from streamwatch.runner import run
from streamwatch.times import epoch_s
from streamwatch.transports.memory import Crash, Crashed, MemoryTransport, Record
from streamwatch.transports.order import kinds
from tests.build import START_S, life
from tests.samples import Clock
from tests.talk import accept, pause, silence, spoken
from tests.test_commands import ABOUT, steps, watch
from tests.test_engine import everything
from tests.test_runner import Stop

N = 1_200
COMMANDS = 20
TALK = 25  # seed of a talk that shows silenced, unsilenced and accepted alerts
CONTROL = "watch-control"
WHERE = ("poll", "before commit", "after commit")
ERRORS = (Crashed, TaskLost, TransactionTimeout, BrokerUnreachable)
CRASHES = st.builds(Crash, st.sampled_from(WHERE), st.sampled_from(ERRORS))


@cache
def records() -> tuple[Record, ...]:
    """A stream in which everything happens, over two partitions, with bad records, tombstones and commands between."""
    draw = random.Random(5)
    made = [
        Record("predictions", event, timestamp_ms=int(event["timestamp"] * 1000), partition=n % 2)
        for n, event in enumerate(life(N))
    ]
    for value in ("not json", None, b"\xff", "[]", '{"model": 1') * 6:
        at = draw.randrange(len(made))
        made.insert(at, Record("predictions", value, timestamp_ms=made[at].timestamp_ms, partition=at % 2))
    talk = random.Random(TALK)
    for number in range(COMMANDS):
        at = talk.randrange(len(made))
        said = spoken(talk, number, made[at].timestamp_ms / 1000 - START_S, ABOUT)
        made.insert(at, Record(CONTROL, said.message().value, timestamp_ms=made[at].timestamp_ms))
    return tuple(made)


@cache
def configured() -> Config:
    return everything()


class Ticking(Clock):
    """A clock that goes on by itself at each look, so that commits come in the middle of things."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step_s = step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


Visible = tuple[list[Any], list[Any], dict[str, bytes], bytes, Any]


def transported(items: Sequence[Record | Crash], batch_size: int) -> MemoryTransport:
    return MemoryTransport(items, batch_size, kinds(configured()))


def lives(transport: MemoryTransport, step_s: float = 0.1, most_records: int = 300) -> tuple[Visible, int]:
    """Run and start again after each crash, to the end; what is visible then, and the number of lives."""
    count = 1
    while True:
        try:
            run(transport, configured(), stop=Stop(), clock=Ticking(step_s), most_records=most_records)
        except Crashed:
            count += 1
        else:
            seen = (
                transport.alert_messages,
                transport.dead_letter_messages,
                transport.state,
                transport.mark,
                transport.offsets,
            )
            return seen, count


@cache
def undisturbed() -> Visible:
    seen, _ = lives(transported(records(), 10_000), most_records=10_000)
    assert len(seen[0]) > 30
    assert len(seen[1]) == 24
    text = b"\n".join(message.value or b"" for message in seen[0])
    assert all(b'"reason":"' + word + b'"' in text for word in (b"silenced", b"unsilenced", b"accepted"))
    return seen


def sown(crashes: Sequence[tuple[int, Crash]]) -> list[Record | Crash]:
    items: list[Record | Crash] = list(records())
    for at, crash in sorted(crashes, key=lambda one: -one[0]):
        items.insert(at, crash)
    return items


@pytest.mark.parametrize(("batch_size", "most_records"), [(1, 64), (7, 1), (7, 64), (300, 1), (300, 64)])
def test_batches_and_slices_and_commits_change_nothing(batch_size: int, most_records: int) -> None:
    transport = transported(records(), batch_size)
    assert lives(transport, most_records=most_records)[0] == undisturbed()
    assert transport.commits > 10


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("error", ERRORS)
def test_a_failure_anywhere_loses_nothing_and_doubles_nothing(where: Any, error: Any) -> None:
    """One failure in every tenth of the stream, and one behind its last record."""
    places = range(0, len(records()) + 1, len(records()) // 10)
    assert places[-1] == len(records())
    transport = transported(sown([(at, Crash(where, error)) for at in places]), 50)
    seen, count = lives(transport)
    assert seen == undisturbed()
    assert transport.crashes_to_come == 0
    assert count == (1 + len(places) if error is Crashed else 1)


@settings(max_examples=6, deadline=None)
@given(
    crashes=st.lists(st.tuples(st.integers(0, N + 30), CRASHES), max_size=12),
    batch_size=st.integers(20, 400),
    most_records=st.integers(10, 400),
    step_s=st.sampled_from([0.0, 0.05, 2.0]),
)
def test_any_failures_with_any_batches_and_any_commits(
    crashes: list[tuple[int, Crash]], batch_size: int, most_records: int, step_s: float
) -> None:
    transport = transported(sown(crashes), batch_size)
    assert lives(transport, step_s, most_records)[0] == undisturbed()


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("behind", [False, True])
def test_a_command_around_a_crash_acts_exactly_once_and_at_its_record(where: Any, behind: bool) -> None:
    """A drift is open when a silence comes at event 600 that is over at 700, a pause from 750 to 760, an accept at
    800: whether the crash is just before or just after each of them."""
    said = {600: silence("s1", 0, 700), 740: pause("p1", 750, 10), 800: accept()}
    items: list[Record | Crash] = []
    for number, event in enumerate(steps(900, 400)):
        at_ms = int(event["timestamp"] * 1000)
        if number in said:
            spoken_ = Record(CONTROL, said[number].message().value, timestamp_ms=at_ms)
            items += [spoken_, Crash(where)] if behind else [Crash(where), spoken_]
        items.append(Record("predictions", event, timestamp_ms=at_ms))
    of = watch(repeat_every="0s")
    transport = MemoryTransport(items, 50, kinds(of))
    while True:
        with suppress(Crashed):
            run(transport, of, stop=Stop(), clock=Ticking(0.1))
            break
    assert transport.crashes_to_come == 0
    assert [(alert["data"]["reason"], alert["silenced"]) for alert in transport.alerts] == [
        ("first", False),
        ("silenced", True),
        ("unsilenced", False),
        ("accepted", False),
    ]
    assert [epoch_s(alert["time"]) - START_S for alert in transport.alerts[1:]] == [599, 700, 799]
    engine = Engine.restore(of, 0, transport.state, transport.mark)
    assert engine.gauges()[0].n == 100  # the events behind the accept


def test_alerts_that_end_a_removed_monitor_are_committed_at_the_start() -> None:
    """They are said with the restore, not with the next event, which may be long in coming."""
    transport = transported(records()[:600], 500)
    run(transport, configured(), stop=Stop())
    still_open = {alert["data"]["key"] for alert in transport.alerts if alert["open"]} - {
        alert["data"]["key"] for alert in transport.alerts if not alert["open"]
    }
    assert still_open
    before = len(transport.alerts)
    changed = everything(
        monitors=[m for m in configured().monitors if m.name == "slow"], service=configured().service
    )
    total = run(transport, changed, stop=Stop())
    ended = transport.alerts[before:]
    assert total.alerts == len(ended) > 0
    assert {alert["data"]["reason"] for alert in ended} == {"removed"}
    commits = transport.commits
    run(transport, changed, stop=Stop())
    assert (len(transport.alerts), transport.commits) == (before + len(ended), commits)
