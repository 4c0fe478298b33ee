"""Segments are bounded: the first `max_segments` of a slicing have stream keys of their own, the rest is `other`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import StateDamaged
from streamwatch.segments import PREFIX, Segments, Slicing
from tests.build import START_S, batch, batches, config, event, mixed, mixed_batches, monitor
from tests.test_engine import Store
from tests.test_late_labels import INPUTS

Segment = tuple[tuple[str, str], ...]


def at(i: int, model: str = "fraud", version: str = "1", **features: Any) -> dict[str, Any]:
    more = {"event_id": f"e{i}", "model_version": version, "features": features}
    return event(START_S + i, model=model, prediction=1, **more)


def sliced(*by: list[str], most: int = 2, **more: Any) -> Config:
    return config(
        monitor("a", "prediction", by=list(by or [["country"]]), warm_in="0s"), max_segments=most, **more
    )


def counts(engine: Engine, name: str = "a") -> dict[Segment, int]:
    return {one.segment: one.n for one in engine.gauges() if one.monitor == name}


def country(name: str) -> Segment:
    return (("country", name),)


def test_the_first_segments_have_stream_keys_and_all_later_ones_share_one():
    engine = Engine(sliced())
    names = ["DE", "AT", "DE", "FR", "IT", "AT", "FR", None]
    output = engine.process(batch([at(i, country=name) for i, name in enumerate(names)]))
    assert counts(engine) == {(): 8, country("DE"): 2, country("AT"): 2, country("other"): 3}
    assert list(output.pooled) == engine.pooled == [Slicing(("country",), "fraud")]
    assert engine.process(batch([at(9, country="ES"), at(10, country="FR")], 9)).pooled == []
    assert counts(engine)[country("other")] == 5


def test_each_slicing_of_each_model_has_its_own_first_ones():
    engine = Engine(sliced(["country"], ["country", "shop"], most=1))
    rows = [("DE", 1), ("DE", 2), ("AT", 1)]
    events = [
        at(i, model, country=c, shop=s) for i, (model, (c, s)) in enumerate(itertools.product("ab", rows))
    ]
    output = engine.process(batch(events))
    assert counts(engine)[country("DE")] == 2
    assert counts(engine)[country("other")] == 1
    assert counts(engine)[(("country", "other"), ("shop", "other"))] == 2
    assert [str(one) for one in output.pooled] == [
        "country, shop of a", "country of a", "country, shop of b", "country of b",
    ]  # fmt: skip


def test_versions_share_what_is_known():
    """A release does not reshuffle the slices; the pool is one of each version, as all else."""
    of = config(monitor("a", "prediction", by=[["country"]], per="version"), max_segments=2)
    engine = Engine(of)
    rows = [("1", "DE"), ("1", "AT"), ("2", "FR"), ("2", "AT"), ("1", "FR"), ("2", "DE")]
    engine.process(batch([at(i, version=v, country=c) for i, (v, c) in enumerate(rows)]))
    found = {(one.version, one.segment): one.n for one in engine.gauges()}
    assert found == {
        ("1", ()): 3, ("1", country("DE")): 1, ("1", country("AT")): 1, ("1", country("other")): 1,
        ("2", ()): 3, ("2", country("DE")): 1, ("2", country("AT")): 1, ("2", country("other")): 1,
    }  # fmt: skip


def test_a_real_segment_other_is_in_the_pool_and_takes_no_place():
    engine = Engine(sliced())
    output = engine.process(batch([at(i, country=c) for i, c in enumerate(["other", "DE", "other", "AT"])]))
    assert counts(engine) == {(): 4, country("other"): 2, country("DE"): 1, country("AT"): 1}
    assert output.pooled == []
    engine.process(batch([at(5, country="FR")], 5))
    assert counts(engine)[country("other")] == 3


def test_what_is_known_stays_so_when_its_stream_key_is_evicted():
    engine = Engine(sliced(max_stream_keys=3))
    names = ["DE", "AT", "FR", "DE", "AT", "FR"]
    engine.process(batch([at(i, country=name) for i, name in enumerate(names)]))
    assert set(counts(engine)) == {(), country("AT"), country("other")}
    engine.process(batch([at(9, country="DE")], 9))
    assert country("DE") in counts(engine)


def test_of_a_model_without_any_stream_key_nothing_is_known():
    """Else models without end would take memory without end."""
    engine = Engine(sliced(max_stream_keys=4))
    events = [at(i, country=name) for i, name in enumerate(["DE", "AT", "FR"])]
    events += [at(10 + i, "other", country=name) for i, name in enumerate(["DE", "AT", "FR"])]
    engine.process(batch(events))
    assert engine.pooled == [Slicing(("country",), "other")]
    changes = engine.changes()
    assert [key for key in changes if key.startswith(PREFIX)] == [
        'segments:["fraud",["country"]]', 'segments:["other",["country"]]',
    ]  # fmt: skip
    assert changes['segments:["fraud",["country"]]'] is None
    output = engine.process(batch([at(20 + i, country=name) for i, name in enumerate(["IT", "AT"])], 20))
    assert (country("IT") in counts(engine), output.pooled) == (True, [])


def test_outcomes_go_where_their_events_went():
    models = {"fraud": {"labels": {"wait": "10s"}}}
    of = config(
        monitor("a", "error", by=[["country"]]),
        inputs=INPUTS,
        models=models,
        max_segments=1,
        max_stream_keys=9,
    )
    items: list[Any] = []
    for i, name in enumerate(["DE", "AT", "FR", "DE", "AT"]):
        items += [at(i, country=name), {"event_id": f"e{i}", "label": 1}]
    for size in (100, 1):
        engine = Engine(of)
        for start in range(0, len(items), size):
            engine.process(mixed(items[start : start + size], start))
        engine.process(mixed([at(30, country="DE")], 30))
        assert counts(engine) == {(): 5, country("DE"): 2, country("other"): 3}


def test_outcomes_bring_no_segments_and_are_in_the_pool_only_once_that_has_begun():
    """Of predictions that waited when the slicing came into the config nobody has seen the event."""
    more: dict[str, Any] = {
        "inputs": INPUTS,
        "models": {"fraud": {"labels": {"wait": "10s"}}},
        "max_segments": 1,
    }
    before = monitor("a", "error", where={"country": {"not": "x"}})
    store = Store()
    engine = store.engine(config(before, **more))
    old = [at(t, country=name) for t, name in enumerate(["FR", "IT", "ES", "PT"])]
    engine.process(mixed([*old, *({"event_id": f"e{t}", "label": 1} for t in range(4))]))
    store.take(engine)
    names = {6: "other", 7: "DE", 10: "DE", 11: "AT", 12: "DE", 13: "DE"}
    events = [at(t, country=name) for t, name in names.items()]
    for sizes in ([6], [1] * 6, [3, 3]):
        engine = store.engine(config(before, monitor("b", "error", by=[["country"]]), **more))
        assert engine.restored.not_waiting == ()
        for part in batches(events, sizes):
            engine.process(part)
        assert counts(engine, "b") == {(): 4, country("DE"): 0, country("other"): 2}, sizes  # ES and PT


def test_models_that_nobody_slices_are_not_known():
    of = config(monitor("a", "prediction", by=[["country"]], models=["fraud"]), monitor("b", "prediction"))
    engine = Engine(of)
    engine.process(batch([at(i, "churn", country=f"c{i}") for i in range(5)]))
    assert not [key for key in engine.changes() if key.startswith(PREFIX)]


def test_the_state_is_written_only_when_it_changed():
    engine = Engine(sliced())
    engine.process(batch([at(0, country="DE")]))
    assert [key for key in engine.changes() if key.startswith(PREFIX)] == ['segments:["fraud",["country"]]']
    engine.process(batch([at(1, country="DE")], 1))
    assert not [key for key in engine.changes() if key.startswith(PREFIX)]


def test_a_greater_limit_gives_new_segments_room_and_a_smaller_one_takes_none_away():
    store = Store()
    engine = store.engine(sliced())
    engine.process(batch([at(i, country=c) for i, c in enumerate(["DE", "AT", "FR"])]))
    store.take(engine)
    more = store.engine(sliced(most=3))
    more.process(batch([at(9, country="IT"), at(10, country="ES")], 9))
    assert set(counts(more)) == {(), *map(country, ("DE", "AT", "other", "IT"))}
    less = store.engine(sliced(most=1))
    less.process(batch([at(9, country="AT")], 9))
    assert counts(less)[country("AT")] == 2


def test_state_of_slicings_that_are_gone_goes_and_what_is_no_such_state_is_refused():
    store = Store()
    engine = store.engine(sliced())
    engine.process(batch([at(0, country="DE")]))
    store.take(engine)
    engine = store.engine(sliced(["shop"]))
    store.take(engine)
    assert not [key for key in store.state if key.startswith(PREFIX)]
    with pytest.raises(StateDamaged, match="not the segments of a slicing"):
        engine._segments.load({"by": ["a"], "model": "m", "segments": [["x", "y"]], "pooled": False}, "s")


def test_slices_of_a_state_without_known_segments_are_known():
    store = Store()
    engine = store.engine(sliced())
    engine.process(batch([at(0, country="DE"), at(1, country="AT")]))
    store.take(engine)
    store.state = {key: value for key, value in store.state.items() if not key.startswith(PREFIX)}
    engine = store.engine(sliced())
    engine.process(batch([at(2, country="FR"), at(3, country="DE")], 2))
    assert counts(engine) == {(): 4, country("DE"): 2, country("AT"): 1, country("other"): 1}


# ---- neither batches nor restarts change anything


def life(n: int, seed: int) -> list[Any]:
    """Models, versions and segments that come, come back, and are too many; labels that come later."""
    draw = random.Random(seed)
    items: list[Any] = []
    for i in range(n):
        (model,) = draw.choices("abcd", [1, 8, 5, 1] if i // 60 % 2 else [9, 1, 1, 0])
        name = draw.choice([f"c{draw.randint(0, 3 + i // 30)}", "other", None, "c0"])
        version = str(i // 150 + draw.choice([0, 0, 0, 1]))
        items.append(
            at(i, model, version, country=name, shop=draw.choice([1, 2, 3])) | {"score": draw.random()}
        )
        if draw.random() < 0.7:
            items.append({"event_id": f"e{draw.randint(max(0, i - 9), i)}", "label": draw.choice([0, 1])})
    return items


def run(of: Config, items: Sequence[Any], sizes: Sequence[int], restart: bool) -> tuple[Any, ...]:
    store, alerts, pooled, gone = Store(), list[Any](), list[Any](), list[Any]()
    for output in store.live(of, mixed_batches(items, itertools.cycle(sizes)), restart):
        alerts += [one.message().value for one in output.alerts]
        pooled += output.pooled
        gone += output.evicted
    kept = {key: value for key, value in store.state.items() if key.startswith((PREFIX, "stream:"))}
    return alerts, pooled, gone, kept


@pytest.mark.parametrize("keys", [7, 1000])
def test_who_is_pooled_does_not_depend_on_batches_nor_restarts(keys):
    watched = config(
        monitor("score", "score", {"adwin": {"clock": 1}}, by=[["country"], ["country", "shop"]]),
        monitor("error", "error", {"hddm_a": {}}, by=[["country"]], blind={"of_last": 5}, warm_in="50s"),
        inputs=INPUTS,
        models={
            "a": {"labels": {"wait": "20s"}},
            "b": {"labels": {"wait": "7s", "read": "arrival"}},
            "*": {},
        },
        versions={"retire_after": "40s"},
        max_stream_keys=keys,
        max_segments=4,
    )
    items = life(300, keys)
    whole = run(watched, items, [10_000], False)
    assert len(whole[1]) > 4
    assert bool(whole[2]) == (keys < 1000)
    for sizes, restart in (([1], False), ([4, 90], True)):
        assert run(watched, items, sizes, restart) == whole


def test_a_hundred_thousand_segments_take_the_room_of_the_first_ones():
    """And their state is not written again."""
    engine = Engine(sliced(most=100))
    sizes = []
    for part in batches([at(i, country=f"c{i}") for i in range(102_000)], [2_000, 50_000]):
        engine.process(part)
        new = [key for key in engine.changes() if key.startswith(PREFIX)]
        sizes.append(
            (engine.stream_keys, len(new), len(engine._segments._known["country",]["fraud"].segments))
        )
    assert sizes == [(102, 1, 100), (102, 0, 100), (102, 0, 100)]
    assert counts(engine)[country("other")] == 102_000 - 100


def test_without_new_segments_nothing_is_done_by_row(monkeypatch):
    """Neither for those of the pool: who is new is not looked for."""
    engine = Engine(sliced(most=2))
    engine.process(batch([at(i, country=c) for i, c in enumerate(["DE", "AT", "other", "FR"])]))
    looked: list[Any] = []
    monkeypatch.setattr(Segments, "_admit", lambda *args: looked.append(args))
    engine.process(
        batch([at(10 + i, country=c) for i, c in enumerate(["AT", "FR", "other", "DE", "IT"])], 10)
    )
    assert looked == []
    assert counts(engine)[country("other")] == 5
