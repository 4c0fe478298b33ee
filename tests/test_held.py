"""Rows that wait change nothing: not what is found, nor where, nor what the state is."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import numpy as np
import pytest

from streamwatch.config import Config
from streamwatch.detectors import Adwin
from streamwatch.detectors.adwin import AdwinAlarm, AdwinSettings
from streamwatch.engine import Engine
from streamwatch.records import Batch, Source
from tests.build import START_S, config, monitor

KEYS = 40
EVENTS = 6_000
OF = config(
    monitor("score", "score", settle_after="20m"),
    monitor("amount", "feature:amount", blind={"of_last": 20, "none_in": 3}),
)
BUCKETS = config(
    monitor("score", "score", settle_after="20m"),
    monitor("means", "score", {"hddm_a": {}}, every={"length": "4m", "late": "1m"}, blind={"of_last": 30}),
    monitor("counts", "score", every={"length": "3m", "stat": "count"}),
)


def event(at: int, draw: random.Random) -> bytes:
    """Every model drifts half way; now and then an amount is missing or cannot be used."""
    drifted = at > EVENTS // 2
    amount = draw.choice([None, "many"]) if draw.random() < 0.02 else draw.gauss(50 + 30 * drifted, 9)
    return json.dumps(
        {
            "event_id": f"e{at}",
            "model": f"m{draw.randrange(KEYS)}",
            "timestamp": START_S + at - draw.choice([0, 0, 0, 5, 100]),
            "score": min(1.0, draw.random() * 0.5 + 0.4 * drifted),
            "features": {"amount": amount},
        }
    ).encode()


VALUES = [event(at, draw) for draw in [random.Random(7)] for at in range(EVENTS)]


def batches(sizes: Iterator[int]) -> Iterator[Batch]:
    start = 0
    while start < EVENTS:
        stop = min(EVENTS, start + next(sizes))
        n = stop - start
        yield Batch(
            0, (Source("predictions", 0),), np.zeros(n, np.int32), np.arange(start, stop), np.full(n, -1),
            [None] * n, VALUES[start:stop], [()] * n,
        )  # fmt: skip
        start = stop


def told(
    of: Config, sizes: Iterator[int], restart_every: int = 0
) -> tuple[list[bytes | None], dict[str, bytes]]:
    """The alerts, and the state at the end."""
    engine = Engine(of)
    state: dict[str, bytes] = {}
    alerts: list[bytes | None] = []
    for number, batch in enumerate(batches(sizes)):
        alerts += [alert.message().value for alert in engine.process(batch).alerts]
        if restart_every and number % restart_every == 0:
            state |= {key: value for key, value in engine.changes().items() if value is not None}
            engine = Engine.restore(of, 0, state, engine.mark())
    state |= {key: value for key, value in engine.changes().items() if value is not None}
    return alerts, state


def always(size: int) -> Iterator[int]:
    while True:
        yield size


def at_random() -> Iterator[int]:
    draw = random.Random(3)
    while True:
        yield draw.choice([1, 7, 60, 150])


@pytest.mark.parametrize("of", [OF, BUCKETS], ids=["values", "buckets"])
def test_alerts_and_state_are_the_same_whether_rows_wait_or_not(of: Config) -> None:
    """6,000 rows at once give every stream more than a few: nothing waits there."""
    alerts, state = told(of, always(EVENTS))
    assert len(alerts) > KEYS
    more = [] if of is BUCKETS else [(at_random(), 0)]
    for sizes, restart_every in [(always(50), 0), (always(80), 5), *more]:
        assert told(of, sizes, restart_every) == (alerts, state)


@pytest.mark.parametrize("clock", [1, 5, 32])
@pytest.mark.parametrize("grace", [0, 10, 100])
def test_adwin_does_not_ring_while_it_says_so_and_may_right_after(clock: int, grace: int) -> None:
    """Values that change in steps at random: among many rings none comes early, and some come at once."""
    alarm = AdwinAlarm(AdwinSettings(0.3, clock, 5, 1, grace))
    draw = random.Random(clock * 1000 + grace)
    rang_at_once = 0
    level = 0.0
    for _ in range(800):
        quiet = alarm.quiet
        assert quiet < max(clock, grace + clock + 1)
        level = 5.0 - level if draw.random() < 0.1 else level
        assert not alarm.read(iter([level + draw.random() for _ in range(quiet)]))
        rang_at_once += alarm.read_one(level + draw.random())
    assert rang_at_once


def test_a_loaded_detector_is_as_quiet_as_the_one_that_was_saved() -> None:
    detector = Adwin().build("real", "both")
    for n in range(70):
        loaded = Adwin().load("real", "both", detector.dump())
        assert loaded.quiet == detector.quiet
        detector.update_one(float(n % 7), float(n))
