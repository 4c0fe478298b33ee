"""Exactly once, on the memory transport: whatever fails wherever, what is visible is what an undisturbed run shows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.config import Config
from streamwatch.errors import BrokerUnreachable, TaskLost, TransactionTimeout
from streamwatch.runner import run
from streamwatch.transports.memory import Crash, Crashed, MemoryTransport, Record
from tests.build import life
from tests.samples import Clock
from tests.test_engine import everything
from tests.test_runner import Stop

N = 1_200
WHERE = ("poll", "before commit", "after commit")
ERRORS = (Crashed, TaskLost, TransactionTimeout, BrokerUnreachable)
CRASHES = st.builds(Crash, st.sampled_from(WHERE), st.sampled_from(ERRORS))


@cache
def records() -> tuple[Record, ...]:
    """A stream in which everything happens, over two partitions, with bad records and tombstones between."""
    draw = random.Random(5)
    made = [
        Record("predictions", event, timestamp_ms=int(event["timestamp"] * 1000), partition=n % 2)
        for n, event in enumerate(life(N))
    ]
    for value in ("not json", None, b"\xff", "[]", '{"model": 1') * 6:
        at = draw.randrange(len(made))
        made.insert(at, Record("predictions", value, timestamp_ms=made[at].timestamp_ms, partition=at % 2))
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
    seen, _ = lives(MemoryTransport(records(), batch_size=10_000), most_records=10_000)
    assert len(seen[0]) > 30
    assert len(seen[1]) == 24
    return seen


def sown(crashes: Sequence[tuple[int, Crash]]) -> list[Record | Crash]:
    items: list[Record | Crash] = list(records())
    for at, crash in sorted(crashes, key=lambda one: -one[0]):
        items.insert(at, crash)
    return items


@pytest.mark.parametrize("batch_size", [1, 7, 300])
@pytest.mark.parametrize("most_records", [1, 64])
def test_batches_and_slices_and_commits_change_nothing(batch_size: int, most_records: int) -> None:
    transport = MemoryTransport(records(), batch_size=batch_size)
    assert lives(transport, most_records=most_records)[0] == undisturbed()
    assert transport.commits > 10


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("error", ERRORS)
def test_a_failure_anywhere_loses_nothing_and_doubles_nothing(where: Any, error: Any) -> None:
    """One failure in every tenth of the stream, and one behind its last record."""
    steps = range(0, len(records()) + 1, len(records()) // 10)
    assert steps[-1] == len(records())
    transport = MemoryTransport(sown([(at, Crash(where, error)) for at in steps]), batch_size=50)
    seen, count = lives(transport)
    assert seen == undisturbed()
    assert transport.crashes_to_come == 0
    assert count == (1 + len(steps) if error is Crashed else 1)


@settings(max_examples=25, deadline=None)
@given(
    crashes=st.lists(st.tuples(st.integers(0, N + 30), CRASHES), max_size=12),
    batch_size=st.integers(20, 400),
    most_records=st.integers(10, 400),
    step_s=st.sampled_from([0.0, 0.05, 2.0]),
)
def test_any_failures_with_any_batches_and_any_commits(
    crashes: list[tuple[int, Crash]], batch_size: int, most_records: int, step_s: float
) -> None:
    transport = MemoryTransport(sown(crashes), batch_size=batch_size)
    assert lives(transport, step_s, most_records)[0] == undisturbed()


def test_alerts_that_end_a_removed_monitor_are_committed_at_the_start() -> None:
    """They are said with the restore, not with the next event, which may be long in coming."""
    transport = MemoryTransport(records()[:600])
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
