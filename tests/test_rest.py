"""What stands settles only when its detector could have found something since: not because nothing came."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamwatch.config import Config
from streamwatch.times import epoch_s
from tests.build import START_S, batch, batches, config, event, monitor
from tests.test_engine import run

MINUTE = 60.0
BEFORE = 200  # values a minute apart, then a jump


def slow(hourly: int, detector: Any = "adwin", minutes: int = 20, **more: Any) -> tuple[Config, list[Any]]:
    """A jump of which `minutes` values come a minute apart, and then so many an hour apart. Another model goes on."""
    of = config(
        monitor(
            "score",
            "score",
            detector,
            per="model",
            settle_after="2h",
            repeat_every="0s",
            models=["fraud"],
            **more,
        ),
        models={"fraud": {}, "other": {}},
        sight={"silence": "0s"},
    )
    times_s = [n * MINUTE for n in range(BEFORE + minutes)]
    times_s += [times_s[-1] + 3600.0 * n for n in range(1, hourly + 1)]
    events = [event(START_S + at, score=0.1 if n < BEFORE else 0.9) for n, at in enumerate(times_s)]
    last_s = START_S + times_s[-1]
    return of, [*events, *(event(last_s + 60.0 * n, model="other", score=0.5) for n in range(1, 3000, 150))]


def said(of: Config, parts: Any, restart: bool = False) -> list[tuple[str, float]]:
    """State and hours since the beginning, of each alert."""
    alerts = [json.loads(alert) for alert in run(of, parts, restart)[0]]
    return [(one["type"].rpartition(".")[2], (epoch_s(one["time"]) - START_S) / 3600.0) for one in alerts]


def test_where_values_come_often_only_the_time_counts() -> None:
    of, events = slow(hourly=5, minutes=120)
    (_, fired), *_, (state, settled) = said(of, [batch(events)])
    assert (state, settled) == ("settled", pytest.approx(fired + 2.0))


@pytest.mark.parametrize("every", [None, "1m"])
@pytest.mark.parametrize("restart", [False, True])
def test_where_they_come_rarely_it_settles_with_the_value_that_is_enough(every: Any, restart: bool) -> None:
    """ADWIN needs 31 before it can find something: the one that found the jump does not count. However they fall into
    batches, and over restarts."""
    of, events = slow(hourly=60, **({} if every is None else {"every": every}))
    whole = said(of, [batch(events)])
    (fired, at), (settled, then) = whole
    assert (fired, settled) == ("firing", "settled")
    hours = [(one["timestamp"] - START_S) / 3600.0 for one in events if one["model"] == "fraud"]
    assert sum(at < hour <= then + 1e-9 for hour in hours) == 31
    assert then > at + 20.0
    for size in (7,) if restart else (1, 7):
        parts = batches(events, [size] * len(events))
        assert said(of, parts, restart) == whole
    assert run(of, batches(events, [64] * 100), restart)[0] == run(of, [batch(events)])[0]


def test_where_none_come_any_more_it_stays_open() -> None:
    """The others' time goes on, and says nothing of it."""
    of, events = slow(hourly=5)
    assert [state for state, _ in said(of, [batch(events)])] == ["firing"]
