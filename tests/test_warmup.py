"""A monitor that has not seen enough to alarm when `warm_in` is over is blind, once, until it has."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from streamwatch import ledger
from streamwatch.alerts import Alert, rfc3339
from streamwatch.commands import Accept, End, Pause
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import StateDamaged
from streamwatch.state import pack, unpack
from streamwatch.times import epoch_s
from streamwatch.warmup import WarmUp
from tests.build import START_S, batch, batches, config, event, mixed, mixed_batches, monitor
from tests.test_engine import Store
from tests.test_late_labels import INPUTS

HOUR = 3600.0
NEED = 31  # of ADWIN
OFF = {"sight": {"silence": "0s"}}
ON = {"per": "model", "warm_in": "1d", "repeat_every": "0s", "settle_after": "300d"}

Said = list[tuple[str, str, str, float]]


def at(hours: float, model: str = "fraud", **more: Any) -> dict[str, Any]:
    return event(START_S + hours * HOUR, model=model, score=0.5, **more)


def said(alerts: Sequence[Alert]) -> Said:
    """State, reason, monitor and hours."""
    return [
        (one.state, one.data.reason, one.data.monitor, (epoch_s(one.time) - START_S) / HOUR) for one in alerts
    ]


def alerts(of: Config, events: Sequence[Any]) -> list[Alert]:
    return list(Engine(of).process(mixed(events)).alerts)


def test_who_has_not_seen_enough_in_time_is_blind_once_and_sees_with_the_value_that_is_enough():
    found = alerts(config(monitor("a", "score", **ON), **OFF), [at(hour) for hour in range(60)])
    assert said(found) == [("blind", "warm-up", "a", 24.0), ("seeing", "warmed up", "a", NEED - 1.0)]
    blind, seeing = found
    assert (blind.open, seeing.open) == (True, False)
    assert blind.data.key == seeing.data.key
    assert blind.data.incident == seeing.data.incident == blind.id
    assert blind.data.summary == (
        "a of fraud is blind: it has read only 24 values, and adwin needs at least 31 values before it can alarm: "
        "a longer `warm_in`, or a detector that needs fewer"
    )
    assert blind.data.unseen is not None
    assert (blind.data.unseen.count, blind.data.unseen.of) == (NEED - 24, NEED)
    assert seeing.data.summary == "a of fraud sees: it has read 31 values and can alarm"


def test_who_has_seen_enough_in_time_is_not_blind_although_its_detector_began_anew_just_before():
    """An ADWIN that has just found a drift has no window, and cannot alarm either."""
    levels = [0.1] * 1000 + [0.9] * 64
    events = [event(START_S + i, score=level) for i, level in enumerate(levels)]
    of = config(monitor("a", "score", **(ON | {"warm_in": "1050s"})), **OFF)
    engine = Engine(of)
    (drift,) = engine.process(batch(events)).alerts
    assert drift.state == "firing"
    assert START_S + 1050 - NEED < epoch_s(drift.time) < START_S + 1050


def test_slices_are_not_asked():
    of = config(monitor("a", "score", by=[["country"]], **ON), **OFF)
    events = [at(hour, features={"country": "DE"}) for hour in range(60)]
    assert {tuple(one.data.segment) for one in alerts(of, events)} == {()}
    assert len(alerts(of, events)) == 2


def test_a_monitor_whose_where_lets_nothing_through_is_found():
    """Events that it leaves out are no expected values: nothing else finds it."""
    of = config(monitor("a", "score", where={"county": "DE"}, **ON), **OFF)
    (blind,) = alerts(of, [at(i / 10, features={"country": "DE"}) for i in range(300)])
    assert said([blind]) == [("blind", "warm-up", "a", 24.0)]
    assert "it has read nothing yet" in blind.data.summary
    assert "`where`" in blind.data.summary


def test_outcomes_of_late_labels_have_the_time_that_labels_have_and_their_absence_is_found():
    """Also read as they arrive: a label may take `wait`."""
    for read in ("matured", "arrival"):
        labels = {"wait": "10d", "read": read}
        of = config(monitor("a", "error", **ON), inputs=INPUTS, models={"fraud": {"labels": labels}}, **OFF)
        events = [at(24 * day, event_id=f"e{day}", prediction=1) for day in range(13)]
        assert said(alerts(of, events)) == [("blind", "warm-up", "a", 24.0 * 11)]


def test_outcomes_of_late_labels_are_counted_where_they_are_read():
    of = config(
        monitor("a", "error", **ON), inputs=INPUTS, models={"fraud": {"labels": {"wait": "1d"}}}, **OFF
    )
    items: list[Any] = []
    for hour in range(80):
        items += [at(hour, event_id=f"e{hour}", prediction=1), {"event_id": f"e{hour}", "label": 1}]
    found = alerts(of, items)
    assert said(found) == [("blind", "warm-up", "a", 48.0), ("seeing", "warmed up", "a", 24.0 + NEED - 1)]
    assert "only 24 values" in found[0].data.summary


def test_buckets_have_the_time_that_so_many_of_them_take():
    of = config(monitor("a", "score", every={"length": "1h", "late": "30m"}, **ON), **OFF)
    steady = alerts(of, [at(i / 5) for i in range(350)])
    assert steady == []
    thin = alerts(of, [at(2 * hour) for hour in range(60)])
    assert said(thin)[0] == ("blind", "warm-up", "a", pytest.approx(24 + NEED + 0.5))
    assert "only 27 buckets, and adwin needs at least 31 of them" in thin[0].data.summary


@pytest.mark.parametrize("of_all", [False, True])
def test_time_that_is_skipped_does_not_count(of_all):
    watched = monitor("a", "feature" if of_all else "feature:n", of="all" if of_all else None, **ON)
    moments = {"from": rfc3339(START_S + 5 * HOUR), "to": rfc3339(START_S + 45 * HOUR)}
    of = config(watched, windows=[{"name": "w", "do": "skip", **moments}], **OFF)
    found = alerts(of, [at(hour, features={"n": hour}) for hour in range(90)])
    assert said(found)[0] == ("blind", "warm-up", "a", 24.0 + 40.0)
    assert "only 24 values" in found[0].data.summary


def test_a_pause_that_ends_early_counts_only_as_long_as_it_was():
    moments = {"from_": rfc3339(START_S), "to": rfc3339(START_S + 400 * HOUR)}
    pause = Pause(id="p", author="ana", match=("monitor=a",), reason="", **moments)
    items = [at(hour) for hour in range(30)]
    of = config(monitor("a", "score", **ON), **OFF)
    assert alerts(of, [*items[:1], pause, *items[1:]]) == []
    ended = [*items[:1], pause, *items[1:10], End(id="e", author="ana", of="p"), *items[10:]]
    assert said(alerts(of, ended)) == [("blind", "warm-up", "a", 24.0)]


def test_a_model_that_is_silent_just_then_is_asked_anew_from_its_next_event_on():
    """That it is silent is said already, once for all its monitors."""
    of = config(monitor("a", "score", **ON), sight={"silence": "2h"})
    others = [at(hour / 2, "churn") for hour in range(150)]
    events = sorted(
        [at(0), at(1), at(40), *[at(50 + i / 5) for i in range(80)], *others],
        key=lambda one: one["timestamp"],
    )
    mine = [one for one in alerts(of, events) if one.subject == "fraud"]
    assert [one.data.reason for one in mine] == ["silent", "heard again", "silent", "heard again", "silent"]


def test_a_silent_model_that_comes_back_thinly_is_asked_after_its_new_time():
    of = config(monitor("a", "score", **ON), sight={"silence": "2h"})
    events = [*[at(hour, "churn") for hour in range(30)], *[at(30 + 1.5 * i) for i in range(40)]]
    events = [at(0), *events]
    asked = [one for one in alerts(of, events) if one.data.monitor == "a" and one.subject == "fraud"]
    assert said(asked) == [
        ("blind", "warm-up", "a", 54.0),
        ("seeing", "warmed up", "a", 30 + 1.5 * (NEED - 2)),
    ]


def test_who_is_blind_already_is_not_said_twice_and_sees_when_both_are_over():
    """No values for long; then they come, and then there are enough."""
    look = {"of_last": 10, "none_in": 5}
    of = config(monitor("a", "feature:n", blind=look, **ON), **OFF)
    events = [at(hour, features={"n": 1} if hour > 30 else {"m": 1}) for hour in range(80)]
    found = alerts(of, events)
    assert said(found) == [
        ("blind", "no values", "a", 4.0),
        ("blind", "warm-up", "a", 34.0),
        ("seeing", "warmed up", "a", 31.0 + NEED - 1),
    ]
    assert len({one.data.key for one in found}) == len({one.data.incident for one in found}) == 1


def test_what_is_not_said_because_it_is_blind_already_is_kept_in_the_state():
    """Also where no event of its own found it."""
    of = config(monitor("a", "feature:n", blind={"none_in": 5}, **ON), **OFF)
    engine = Engine(of)
    engine.process(batch([at(hour, features={"m": 1}) for hour in range(6)]))
    engine.changes()
    assert engine.process(batch([at(30, "churn", features={"n": 1})], 6)).alerts == []
    assert 'stream:["fraud",null,[]]' in engine.changes()


def test_enough_values_and_a_good_look_at_once_are_one_seeing():
    look = {"of_last": NEED, "none_in": 5}
    events = [at(hour, features={"n": 1} if hour > 30 else {"m": 1}) for hour in range(5, 100)]
    found = alerts(config(monitor("a", "feature:n", blind=look, **ON), **OFF), events)
    assert [one.data.reason for one in found][:1] == ["no values"]
    assert [one.state for one in found].count("seeing") == 1
    assert found[-1].state == "seeing"


def test_values_that_cannot_be_used_are_said_also_of_who_has_not_seen_enough():
    look = {"of_last": 100, "none_in": 1000, "unusable": "2%"}
    values = ["x" if 26 <= hour < 29 else 1 for hour in range(200)]
    of = config(monitor("a", "feature:n", blind=look, **ON), **OFF)
    found = alerts(of, [at(hour, features={"n": value}) for hour, value in enumerate(values)])
    assert [(one.state, one.data.reason) for one in found] == [
        ("blind", "warm-up"),
        ("blind", "unusable values"),
        ("seeing", "usable again"),
    ]


def test_the_warm_up_of_a_version_that_is_retired_ends_with_it():
    of = config(monitor("a", "score", **(ON | {"per": "version"})), versions={"retire_after": "1h"}, **OFF)
    events = [
        at(0, model_version="1"),
        at(23.9, model_version="1"),
        *[at(24 + i / 10, model_version="2") for i in range(40)],
    ]
    found = alerts(of, events)
    assert [(one.state, one.data.reason, one.data.version) for one in found] == [
        ("blind", "warm-up", "1"),
        ("ended", "retired", "1"),
    ]


def test_a_detector_that_begins_anew_because_somebody_accepted_is_asked_anew():
    of = config(monitor("a", "score", **ON), **OFF)
    events: list[Any] = [at(i / 10) for i in range(100)]
    accept = Accept(id="x", author="ana", match=("monitor=a",))
    thin = [at(20 + hour) for hour in range(40)]
    assert said(alerts(of, [*events, accept, *thin])) == [
        ("blind", "warm-up", "a", 44.0),
        ("seeing", "warmed up", "a", 20.0 + NEED - 1),
    ]
    assert said(alerts(of, [*events, *thin])) == []


def test_it_can_be_off_and_what_was_said_before_has_its_end():
    off = config(monitor("a", "score", **(ON | {"warm_in": "0s"})), **OFF)
    assert alerts(off, [at(hour) for hour in range(60)]) == []
    store = Store()
    engine = store.engine(config(monitor("a", "score", **ON), **OFF))
    assert len(engine.process(batch([at(hour) for hour in range(26)])).alerts) == 1
    store.take(engine)
    found = store.engine(off).process(batch([at(hour) for hour in range(26, 60)], 26)).alerts
    assert said(found) == [("seeing", "warmed up", "a", NEED - 1.0)]


def test_a_config_that_asks_asks_from_then_on():
    store = Store()
    engine = store.engine(config(monitor("a", "score", **(ON | {"warm_in": "0s"})), **OFF))
    engine.process(batch([at(hour) for hour in range(10)]))
    store.take(engine)
    on = config(monitor("a", "score", **ON), monitor("b", "prediction", **ON), **OFF)
    found = store.engine(on).process(batch([at(10 + 2 * hour) for hour in range(20)], 10)).alerts
    assert said(found) == [("blind", "warm-up", "a", 34.0), ("blind", "warm-up", "b", 34.0)]


def test_a_constant_is_no_reason_to_be_blind_and_too_few_errors_are():
    """Of one constant PageHinkley learns no scale, but it finds a step of it; EDDM counts the errors."""
    steady = config(monitor("a", "feature:n", "page_hinkley", **ON), **OFF)
    assert alerts(steady, [at(i / 9, features={"n": 7}) for i in range(250)]) == []
    seldom = config(monitor("a", "error", "eddm", direction="up", **ON), **OFF)
    (blind,) = alerts(seldom, [at(i / 10, prediction=1, label=1) for i in range(250)])
    assert "it has read only 240 values, and eddm needs at least 200 ones" in blind.data.summary


def test_reminders_are_as_of_all_that_is_blind():
    of = config(monitor("a", "score", **(ON | {"repeat_every": "2h"})), **OFF)
    found = alerts(of, [at(hour) for hour in range(40)])
    reasons = [(state, reason) for state, reason, *_ in said(found)]
    assert reasons == [("blind", "warm-up"), *[("blind", "reminder")] * 3, ("seeing", "warmed up")]
    assert found[1].data.summary == "a of fraud is still blind: it has not seen enough to alarm"


def test_its_state_is_checked():
    with pytest.raises(StateDamaged, match="a time, a flag and a count"):
        WarmUp(1.0, 1).load([1.0, False, -1])


# ---- neither batches nor restarts change anything


WATCHED = (
    monitor("score", "score", warm_in="5h", repeat_every="7h", settle_after="9h"),
    monitor("version", "score", per="version", warm_in="3h", repeat_every="0s"),
    monitor("slow", "score", {"hddm_a": {}}, every={"length": "20m", "late": "1m"}, warm_in="2h"),
    monitor("all", "feature", of="all", warm_in="4h", blind={"of_last": 9, "none_in": 6}),
    monitor("error", "error", {"ddm": {"warm_start": 5}}, warm_in="3h", by=[["n"]]),
)
WINDOW = {"name": "w", "do": "skip", "match": ["monitor=score"], "weekly": {"from": "10:00", "to": "14:00"}}
LIFE = config(
    *WATCHED,
    inputs=INPUTS,
    models={"c": {"labels": {"wait": "90m"}}, "*": {}},
    windows=[WINDOW],
    sight={"silence": "4h"},
    versions={"retire_after": "6h"},
    max_stream_keys=14,
)
FEW = config(*WATCHED[:2], sight={"silence": "4h"})  # so few monitors that rows wait until they are read


def life(n: int, seed: int) -> list[Any]:
    """Models that have little traffic and now and then much, with jumps over many limits at once."""
    draw = random.Random(seed)
    now, items = 0.0, list[Any]()
    traffic = {"a": 3, "b": 1, "c": 3, "d": 1}
    for i in range(n):
        now += draw.choice([0.0, 0.02, 0.1]) + (draw.choice([1.0, 5.0]) if draw.random() < 0.02 else 0.0)
        if draw.random() < 0.03:
            traffic = {model: draw.choice([0, 1, 1, 20]) for model in traffic} | {"a": 1}
        (model,) = draw.choices(list(traffic), list(traffic.values()))
        features = draw.choice([{"n": 1}, {"n": "x"}, {"m": 2}, {"n": 1, "m": 3}, {}])
        version = str(int(now // 50) + draw.choice([0, 0, 0, 1]))
        more = {"event_id": f"e{i}", "features": features, "prediction": 1, "model_version": version}
        items.append(at(now - draw.choice([0, 0, 0.03]), model, **more))
        if draw.random() < 0.4:
            items.append({"event_id": f"e{draw.randint(max(0, i - 20), i)}", "label": draw.choice([0, 1])})
    moments = {"from_": rfc3339(START_S), "to": rfc3339(START_S + 60 * HOUR)}
    items.insert(n // 9, Pause(id="p", author="ana", match=("model=b",), reason="r", **moments))
    items.insert(n // 3, End(id="q", author="ana", of="p"))
    items.insert(n // 2, Accept(id="r", author="ana", match=("monitor=score",)))
    return items


def run(
    of: Config, items: Sequence[Any], sizes: Sequence[int], restart: bool
) -> tuple[list[bytes | None], dict[str, bytes]]:
    store = Store()
    parts = mixed_batches(items, itertools.cycle(sizes))
    found = [one for output in store.live(of, parts, restart) for one in output.alerts]
    kept = {key: value for key, value in store.state.items() if key.startswith("stream:")}
    return [one.message().value for one in found], kept


@pytest.mark.parametrize(("of", "seed"), [(LIFE, 1), (FEW, 3)], ids=["life", "few"])
def test_warming_up_does_not_depend_on_batches_nor_restarts(of, seed):
    items = life(400, seed)
    whole = run(of, items, [10_000], False)
    text = b"\n".join(one or b"" for one in whole[0])
    assert text.count(b'"warm-up"') > 5
    assert text.count(b'"warmed up"') > 3
    for sizes, restart in (([1], False), ([4, 90], True)):
        assert run(of, items, sizes, restart) == whole


def test_models_without_end_leave_nothing_that_is_due():
    engine = Engine(config(monitor("a", "score", **ON), **OFF, max_stream_keys=10))
    for part in batches([at(i / 1000, f"m{i}") for i in range(2_500)], itertools.repeat(500)):
        engine.process(part)
    assert len(engine._ledger._due) < 1_500


def test_rows_that_wait_to_be_read_are_counted():
    """Many stream keys with one row each in a batch, of which none is read at once."""
    events = [at(i / 100, f"m{i % 100}") for i in range(100 * 60)]
    of = config(monitor("a", "score", **ON), sight={"silence": "0s"})
    whole = [one.message().value for one in Engine(of).process(batch(events)).alerts]
    engine = Engine(of)
    cut = [one for part in batches(events, itertools.repeat(130)) for one in engine.process(part).alerts]
    assert [one.message().value for one in cut] == whole
    assert len(whole) == 200


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_feature_whose_first_value_is_skipped_begins_with_it_in_any_batch(size):
    pause = Pause(
        id="pause-1", author="a", reason="r", match=("monitor=f",),
        from_=rfc3339(START_S + HOUR), to=rfc3339(START_S + 5 * HOUR),
    )  # fmt: skip
    items = [at(0), pause]
    items += [at(hour, **({"features": {"amount": 1.0}} if 2 <= hour < 12 else {})) for hour in range(2, 60)]
    engine, found = Engine(config(monitor("f", "feature", of="all", **ON), **OFF)), []
    rows = mixed(items)
    for start in range(0, len(items), size):
        found += engine.process(rows.rows(start, min(len(items), start + size))).alerts
    assert [(reason, hours) for _, reason, _, hours in said(found)][:1] == [("warm-up", 29.0)]


def test_of_notes_that_are_dropped_before_their_time_none_is_waited_for(monkeypatch):
    """Else rows of that stream would be read one by one for ever."""
    monkeypatch.setattr(ledger, "NOTES", 8)
    engine = Engine(config(monitor("a", "score", warm_in="1d"), **OFF))
    engine._ledger._room = 8
    events = [at(n / 3600, model) for model in "abcdefghijklmnopqrst" for n in range(40)]
    for one in batches(events, [40] * 20):
        engine.process(one)
    for stream in engine._ledger.streams.values():
        for watcher in stream.watchers.values():
            assert watcher.detector.warm
    engine.process(mixed([at(1, "z")]))
    known = {note[3] for note in engine._ledger._due}
    for key, stream in engine._ledger.streams.items():
        assert key in known or stream.warm_by_s == float("inf")


def test_state_of_a_blind_monitor_from_before_there_was_a_warm_up_is_taken_over():
    events = [at(n / 3600) for n in range(60)] + [at(n / 3600) | {"score": "x"} for n in range(60, 160)]
    of, store = config(monitor("a", "score", blind={"of_last": 20}), **OFF), Store()
    (output,) = store.live(of, [batch(events)])
    assert [one.data.reason for one in output.alerts] == ["unusable values"]
    (name,) = (key for key in store.state if key.startswith("stream:"))
    content = unpack("key", store.state[name], name)
    for watcher in content["watchers"]:
        del watcher["rest"], watcher["warmup"]
        watcher["blindness"] = watcher["blindness"][:2]
    store.state[name] = pack("key", content)
    again = store.engine(of)
    assert again.restored.kept == ("a",)
    assert [one.alert.data.reason for one in again.open()] == ["unusable values"]
