"""Blind and seeing of models and inputs as a whole: once each, exactly, with its own reason."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from streamwatch.alerts import Alert, rfc3339
from streamwatch.commands import Accept, End, Silence
from streamwatch.conditions import About
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.times import epoch_s
from tests.build import START_S, batch, batches, config, event, mixed, mixed_batches, monitor
from tests.test_engine import Store
from tests.test_late_labels import late, told

HOUR = 3600.0


def watch(**more: Any) -> Config:
    models = {"often": {"silence": "10m"}, "never": {"silence": "0s"}, "*": {}}
    return config(
        monitor("a", "prediction", settle_after="300d", repeat_every="0s"),
        **{"sight": {"silence": "1h"}, "models": models, **more},
    )


def at(hours: float, model: str) -> dict[str, Any]:
    return event(START_S + hours * HOUR, model=model, prediction=1)


def said(alerts: Sequence[Alert]) -> list[tuple[str, str, str, float]]:
    return [
        (one.state, one.data.reason, one.data.model, (epoch_s(one.time) - START_S) / HOUR)
        for one in alerts
        if one.data.monitor == "service"
    ]


def test_a_model_is_silent_when_others_have_gone_on_for_so_long_and_heard_again_with_its_next_event():
    engine = Engine(watch())
    hours = [0, 0.5, 0.9, 1.3, 1.6, 2.0]
    events = [at(0, "fraud"), *[at(hour, "churn") for hour in hours], at(2.5, "fraud")]
    alerts = engine.process(batch(events)).alerts
    assert said(alerts) == [("blind", "silent", "fraud", 1.0), ("seeing", "heard again", "fraud", 2.5)]
    assert (alerts[0].open, alerts[1].open) == (True, False)
    assert alerts[0].data.key == alerts[1].data.key
    assert alerts[0].data.incident == alerts[1].data.incident == alerts[0].id
    assert alerts[0].data.summary == f"no events of fraud since {rfc3339(START_S)}: its monitors see nothing"


def test_what_the_service_says_of_itself_has_an_owner_a_runbook_and_tags():
    """So that somebody is called; and who silences what is the owner's, or has a tag, means these, too."""
    sight = {"silence": "1h", "owner": "ops", "runbook": "https://r", "tags": {"stage": "prod"}}
    engine = Engine(watch(sight=sight))
    silences = [
        Silence(
            id=f"s-{from_}{to}",
            author="ana",
            reason="x",
            match=(of,),
            from_=rfc3339(START_S + from_ * HOUR),
            to=rfc3339(START_S + to * HOUR),
        )
        for of, from_, to in (("owner=ops", 0, 2), ("tags.stage=prod", 3, 4), ("owner=risk", 0, 9))
    ]
    events = [at(0, "fraud"), at(1.5, "never"), at(5, "never"), at(6, "fraud")]
    alerts = engine.process(mixed([*silences, *events])).alerts
    assert [(one.data.reason, one.silenced) for one in alerts] == [
        ("silent", True),
        ("unsilenced", False),
        ("silenced", True),
        ("unsilenced", False),
        ("heard again", False),
    ]
    for one in alerts:
        assert (one.data.owner, one.data.runbook, one.data.tags) == ("ops", "https://r", {"stage": "prod"})


def test_each_model_may_say_for_itself_how_long_it_may_be_silent():
    events = [at(0, "often"), at(0, "never"), at(0, "fraud"), at(0.9, "other")]
    assert said(Engine(watch()).process(batch(events)).alerts) == [
        ("blind", "silent", "often", pytest.approx(1 / 6))
    ]


def test_the_clock_finds_the_same_alert_that_the_next_event_would_have_found():
    events = [at(0, "fraud"), at(0.2, "churn")]
    by_clock = Engine(watch())
    by_clock.process(batch(events))
    assert by_clock.on_clock(START_S + 0.99 * HOUR) == []
    found = by_clock.on_clock(START_S + 1.1 * HOUR)
    assert said(found) == [("blind", "silent", "fraud", 1.0)]
    assert by_clock.on_clock(START_S + 1.15 * HOUR) == []
    later = batch([at(1.19, "churn")], 2)
    assert said(by_clock.process(later).alerts) == []
    by_event = Engine(watch())
    by_event.process(batch(events))
    assert [one.id for one in by_event.process(later).alerts] == [one.id for one in found]


def test_a_retired_version_is_not_silent():
    of = config(
        monitor("score", "score"),
        sight={"silence": "1h"},
        versions={"retire_after": "30m"},
    )
    events = [
        event(START_S + hour * HOUR, model="fraud", model_version="1" if hour < 0.2 else "2", score=0.5)
        for hour in (0, 0.1, 0.3, 0.7, 1.2, 1.6)
    ]
    output = Engine(of).process(batch(events))
    assert len(output.retired) == 1
    assert said(output.alerts) == []


def test_a_model_that_was_taken_out_of_service_is_accepted_as_silent_until_it_is_heard_again():
    store = Store()
    engine = store.engine(watch())
    engine.process(batch([at(0, "fraud"), at(2, "churn")]))
    accepted = engine.process(
        mixed([Accept(id="a", author="ana", match=("model=fraud", "monitor=service"))], 2)
    )
    assert said(accepted.alerts) == [("ended", "accepted", "fraud", 2.0)]
    store.take(engine)
    engine = store.engine(watch())
    assert engine.open() == []
    on = [at(2.5 + i / 2, "churn") for i in range(4)]
    assert said(engine.process(batch(on, 3)).alerts) == []
    assert engine.on_clock(START_S + 4.5 * HOUR) == []
    on = [at(4.6, "fraud"), at(4.7, "churn"), at(5.2, "churn"), at(5.7, "churn")]
    assert said(engine.process(batch(on, 7)).alerts) == [("blind", "silent", "fraud", 5.6)]


def test_what_the_transport_tells_is_said_once_and_ends():
    engine = Engine(watch())
    about = About("stalled", place="predictions/2")
    begun = engine.on_input(about, True, "nothing fetched", START_S)
    assert [(one.state, one.data.reason, one.data.model) for one in begun] == [
        ("blind", "partition stalled", "*")
    ]
    assert engine.on_input(about, True, "nothing fetched", START_S + 1) == []
    assert [one.alert.id for one in engine.open()] == [begun[0].id]
    ended = engine.on_input(about, False, "it moves", START_S + 2)
    assert [(one.state, one.data.reason, one.open) for one in ended] == [("seeing", "partition moves", False)]
    assert engine.open() == []


def test_few_labels_are_blind_and_more_are_seeing_again():
    items = told(1300, 9999, share=0.95)
    items += told(2600, 9999, share=0.2)[len(told(1300, 9999, share=0.2)) :]
    of = late(min_coverage="60%", wait="2m")
    alerts = Engine(of).process(mixed(items)).alerts
    blind = [one for one in alerts if one.data.monitor == "service"]
    assert [(one.state, one.data.reason) for one in blind] == [("blind", "few labels")]
    assert blind[0].data.unseen.count / blind[0].data.unseen.of > 0.4


def test_a_full_label_buffer_is_told_and_its_end_too():
    of = late(wait="10d", most=1000, min_coverage=0)
    engine = Engine(of)
    burst = [event(START_S + i, event_id=f"e{i}", prediction=1) for i in range(1500)]
    first = [one for one in engine.process(mixed(burst)).alerts if one.data.monitor == "service"]
    assert [(one.state, one.data.reason) for one in first] == [("blind", "label buffer full")]
    slow = [event(START_S + 2000 + i * 864 * 2, event_id=f"f{i}", prediction=1) for i in range(2200)]
    after = [one for one in engine.process(mixed(slow, 1500)).alerts if one.data.monitor == "service"]
    assert [(one.state, one.data.reason) for one in after] == [("seeing", "room again")]


# ---- neither batches nor restarts change anything


def life(n: int, seed: int) -> list[dict[str, Any]]:
    """Models that come and go, jumps over many limits at once."""
    draw = random.Random(seed)
    now, events = 0.0, []
    talking = ["a", "b", "often", "c", "never"]
    for _ in range(n):
        now += draw.choice([0.0, 0.01, 0.05]) + (
            draw.choice([0.5, 1.0, 3.0]) if draw.random() < 0.02 else 0.0
        )
        if draw.random() < 0.03:
            talking = draw.sample(["a", "b", "often", "c", "never"], draw.randint(1, 4))
        events.append(at(now - draw.choice([0, 0, 0.02]), draw.choice(talking)))
    return events


@pytest.mark.parametrize("keys", [3, 100])
def test_silence_does_not_depend_on_batches_nor_restarts(keys):
    events, of = life(1200, 4), watch(max_stream_keys=keys)
    whole = Engine(of).process(batch(events)).alerts
    assert {(one.state, one.data.model) for one in whole} >= {
        ("blind", "a"),
        ("seeing", "a"),
        ("blind", "often"),
    }
    for size, restart in ((1, False), (7, True), (100, False), (333, True)):
        outputs = Store().live(of, batches(events, itertools.repeat(size)), restart)
        alerts = [one for output in outputs for one in output.alerts]
        assert [one.message().value for one in alerts] == [one.message().value for one in whole]


# ---- silences


def silence(name: str, from_h: float, to_h: float) -> Silence:
    moments = {"from_": rfc3339(START_S + from_h * HOUR), "to": rfc3339(START_S + to_h * HOUR)}
    return Silence(id=name, author="ana", match=("monitor=service",), **moments)


def marked(alerts: Sequence[Alert]) -> list[tuple[str, bool]]:
    return [(one.data.reason, one.silenced) for one in alerts if one.data.monitor == "service"]


def test_what_became_blind_in_a_silence_speaks_up_when_it_is_over():
    events = [at(0, "fraud"), *[at(i / 2, "churn") for i in range(12)]]
    whole = Engine(watch()).process(mixed([silence("s", 0, 2.2), *events])).alerts
    assert marked(whole) == [("silent", True), ("unsilenced", False)]
    assert said(whole)[1] == ("blind", "unsilenced", "fraud", pytest.approx(2.2))
    assert len({one.id for one in whole}) == len({one.data.key for one in whole}) + 1


def test_what_is_blind_already_is_marked_when_a_silence_comes_and_ends_early():
    events = [at(0, "fraud"), *[at(i / 2, "churn") for i in range(4)]]
    engine = Engine(watch())
    end = End(id="e", author="bo", of="s")
    output = engine.process(mixed([*events, silence("s", 0, 50), end, at(2, "churn")]))
    assert marked(output.alerts) == [("silent", False), ("silenced", True), ("unsilenced", False)]
    assert [one.watchers for one in output.obeyed] == [1, 0]


def test_marks_of_what_is_blind_do_not_depend_on_batches_nor_restarts():
    items: list[Any] = [silence("s", 0, 3), *life(600, 4)]
    items.insert(300, silence("t", 0, 900))
    items.insert(450, End(id="e", author="bo", of="t"))
    whole = Engine(watch()).process(mixed(items)).alerts
    assert {("silenced", True), ("unsilenced", False), ("silent", True)} <= set(marked(whole))
    for size in (1, 50):
        outputs = Store().live(watch(), mixed_batches(items, itertools.repeat(size)), restart=True)
        alerts = [one for output in outputs for one in output.alerts]
        assert [one.message().value for one in alerts] == [one.message().value for one in whole]


def test_what_was_accepted_of_the_inputs_still_has_its_end_after_a_restart():
    """Who would tell it may be gone; the next one is told."""
    of = watch()
    engine = Engine(of)
    engine.process(mixed([event(START_S, score=0.5)]))
    lag = About("lag")
    engine.on_input(lag, True, "behind", START_S)
    engine.process(mixed([Accept(id="a-1", author="a", reason="r", match=("signal=lag",))], 1))
    state = {key: value for key, value in engine.changes().items() if value is not None}
    again = Engine.restore(of, 0, state, engine.mark())
    assert again.blind_inputs() == [lag]
    assert again.on_input(lag, False, "caught up", START_S + 60) == []
    assert again.blind_inputs() == []
    assert [one.data.reason for one in again.on_input(lag, True, "behind", START_S + 120)] == ["lag"]
