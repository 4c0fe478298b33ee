"""Alerts that are committed before their state: whoever goes on says none of them again, and misses none."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from streamwatch.engine import Engine
from streamwatch.errors import TaskLost
from streamwatch.records import Commit, Source
from streamwatch.runner import run
from streamwatch.transports.base import Idle, Opened
from streamwatch.transports.memory import Crash, Crashed, MemoryTransport, Record
from tests.build import START_S, batch, config, event, life, monitor
from tests.samples import Clock
from tests.test_runner import SOURCE, Script, Stop, Told, bad

EARLY = -1  # not even an alert whose state is small waits for it
LATER_S = 1e9
LIFE = life(6_000)
WATCH = config(
    monitor("score", "score", settle_after="10m"),
    monitor("error", "error", by=[["country"]], settle_after="10m"),
    commit_every="1h",
    versions={"retire_after": "1h"},
)


class Noting(MemoryTransport):
    """Remembers of each commit whether it came before its state."""

    def __init__(self, items: Sequence[Record | Crash], batch_size: int = 500) -> None:
        super().__init__(items, batch_size)
        self.before: list[bool] = []

    def commit(self, commit: Commit) -> None:
        super().commit(commit)
        self.before.append(bool(commit.said_to))
        assert not (commit.said_to and commit.state)


def records(crashes: int, seed: int) -> list[Record | Crash]:
    dice = random.Random(seed)
    made: list[Record | Crash] = [
        Record("predictions", entry, timestamp_ms=int(entry["timestamp"] * 1000), partition=n % 3)
        for n, entry in enumerate(LIFE)
    ]
    for n in range(0, len(made), 97):
        made[n] = replace(made[n], value="not JSON")  # type: ignore[type-var]
    places = dice.sample(range(len(made)), crashes)
    for place in sorted(places, reverse=True):
        made.insert(place, Crash(dice.choice(["poll", "before commit", "after commit"])))
    return made


def lived(transport: MemoryTransport, little: int) -> MemoryTransport:
    for _ in range(1_000):
        try:
            run(
                transport, WATCH, stop=threading.Event(), commit_every_s=LATER_S, most_records=100,
                little_state_bytes=little,
            )  # fmt: skip
        except Crashed:
            continue
        assert transport.crashes_to_come == 0
        return transport
    raise AssertionError("it does not end")


@pytest.fixture(scope="module")
def undisturbed() -> MemoryTransport:
    return lived(MemoryTransport(records(0, 0)), 10**9)


@pytest.mark.parametrize("seed", range(2))
def test_wherever_it_crashes_the_alerts_are_those_of_an_undisturbed_run(
    seed: int, undisturbed: MemoryTransport
) -> None:
    transport = Noting(records(25, seed), batch_size=40 + 60 * seed)
    lived(transport, EARLY)
    assert sum(transport.before) > 5
    assert transport.alerts == undisturbed.alerts
    assert [one["offset"] for one in transport.dead_letters] == [
        one["offset"] for one in undisturbed.dead_letters
    ]
    assert transport.state == undisturbed.state
    assert transport.offsets == undisturbed.offsets


def said(script: Script, **more: float) -> list[tuple[dict[Source, int], dict[Source, int], int]]:
    run(script, WATCH, stop=Stop(), observe=Told(), commit_every_s=LATER_S, little_state_bytes=EARLY)
    return [(dict(one.offsets), dict(one.said_to), len(one.dead_letters)) for one in script.commits]


def test_what_there_is_to_say_goes_with_how_far_it_goes_and_the_state_follows() -> None:
    mark = Engine(WATCH).mark()
    script = Script([Opened(0, {}, mark, {SOURCE: 5}), bad(2, 5)], [bad(1, 7)], [])
    assert said(script) == [
        ({SOURCE: 5}, {SOURCE: 7}, 2),
        ({SOURCE: 5}, {SOURCE: 8}, 1),
        ({SOURCE: 8}, {}, 0),
    ]
    assert [one.mark for one in script.commits[:2]] == [mark, mark]


def test_records_whose_output_is_written_are_processed_and_say_nothing() -> None:
    script = Script([Opened(0, {}, b"", {SOURCE: 0}, said_to={SOURCE: 3}), bad(5)], [])
    assert said(script) == [({SOURCE: 5}, {}, 2)]


def test_a_stop_among_them_keeps_how_far_they_go() -> None:
    script = Script([Opened(0, {}, b"", {SOURCE: 0}, said_to={SOURCE: 3}), bad(2)])
    assert said(script) == [({SOURCE: 2}, {SOURCE: 3}, 0)]


def test_records_that_came_too_late_go_with_their_state() -> None:
    """A replay would put them elsewhere."""
    late = replace(bad(1, 2), late=1)
    script = Script([Opened(0, {}, b"", {SOURCE: 0}), bad(2)], [late], [])
    assert said(script) == [({SOURCE: 0}, {SOURCE: 2}, 2), ({SOURCE: 3}, {}, 1)]


def test_what_no_record_says_goes_with_its_state() -> None:
    """The clock found it: nobody would say it again."""
    spoke = batch([event(START_S, score=0.5)])
    script = Script([Opened(0, {}, b"", {SOURCE: 0}), spoke], [Idle(0, START_S + 1e6)], [])
    silent = WATCH.model_copy(
        update={"models": {"fraud": WATCH.spec("fraud").model_copy(update={"silence": 60.0})}}
    )
    run(script, silent, stop=Stop(), observe=Told(), commit_every_s=LATER_S, little_state_bytes=EARLY)
    assert [(dict(one.offsets), dict(one.said_to), len(one.alerts)) for one in script.commits] == [
        ({SOURCE: 1}, {}, 1)
    ]


def test_when_the_state_is_due_what_there_is_to_say_goes_before_it() -> None:
    clock = Clock()

    def hour() -> None:
        clock.now += 3600.0

    script = Script([Opened(0, {}, b"", {SOURCE: 0})], hour, [bad(2)], [])
    run(script, WATCH, stop=Stop(), observe=Told(), clock=clock, little_state_bytes=EARLY)
    assert [(dict(one.offsets), dict(one.said_to), len(one.dead_letters)) for one in script.commits] == [
        ({SOURCE: 0}, {SOURCE: 2}, 2),
        ({SOURCE: 2}, {}, 0),
    ]


def test_state_that_is_due_stays_uncommitted_when_what_goes_before_it_fails() -> None:
    clock = Clock()

    def hour() -> None:
        clock.now += 3600.0

    script = Script([Opened(0, {}, b"", {SOURCE: 0})], hour, [bad(2)], [], commits=[TaskLost("gone")])
    run(script, WATCH, stop=Stop(), observe=Told(), clock=clock, little_state_bytes=EARLY)
    assert script.commits == []
    assert len(script.refused) == 1


def test_late_records_that_are_cut_into_parts_go_with_their_state_all() -> None:
    """Those of the second part came too late, too, although their batch says it only once."""
    script = Script([Opened(0, {}, b"", {SOURCE: 0}), bad(1)], [replace(bad(4, 1), late=2)], [])
    run(
        script, WATCH, stop=Stop(), observe=Told(), commit_every_s=LATER_S, most_records=2,
        little_state_bytes=EARLY,
    )  # fmt: skip
    assert [(dict(one.offsets), dict(one.said_to)) for one in script.commits] == [
        ({SOURCE: 0}, {SOURCE: 1}),
        ({SOURCE: 3}, {}),
        ({SOURCE: 5}, {}),
    ]
