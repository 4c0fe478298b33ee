"""The engine: what is said, in which order, and that neither batches nor restarts change it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from streamwatch.alerts import LARGEST
from streamwatch.config import Config
from streamwatch.engine import Engine, Output
from streamwatch.errors import StateDamaged, StateError, StateForeign
from streamwatch.records import Batch
from tests.build import START_S, batch, batches, config, event, life, monitor

N = 2000


def everything(**more: Any) -> Config:
    """Every kind of monitor at once, with limits that are reached by `life`."""
    return config(
        monitor("error", "error", by=[["country"]], direction="up", repeat_every="5m", settle_after="20m"),
        monitor("error-per-version", "error", {"ddm": {}}, per="version", direction="up"),
        monitor("score", "score", settle_after="30m", repeat_every="10m", blind={"of_last": 20}),
        monitor("inputs", "feature", of="all", blind={"none_in": 60}, **{"except": ["country"]}),
        monitor("gone", "missing", of="all"),
        monitor("germans", "category:country=DE", where={"amount": {"min": 50}}),
        monitor("slow", "latency_ms", {"page_hinkley": {}}, models=["churn"]),
        monitor("rates", "feature", of="all", every={"length": "4s", "late": "3s"}, repeat_every="10m"),
        monitor("wrong", "error", {"hddm_a": {}}, every={"length": "5s", "stat": "share", "late": "20s"}),
        **{"max_stream_keys": 11, "versions": {"retire_after": "50s"}, **more},
    )


def tight(**more: Any) -> Config:
    """Few stream keys, versions that retire within seconds with their slices, models that nobody watches, reminders
    at fractions of a second."""
    return config(
        monitor("error", "error", by=[["country"]], per="version", models=["fraud"], repeat_every="100ms"),
        monitor("score", "score", settle_after="1.1s", repeat_every="700ms"),
        **{"max_stream_keys": 5, "versions": {"retire_after": "12s"}, **more},
    )


class Store:
    """What a transport would keep: state by key and the mark."""

    def __init__(self) -> None:
        self.state: dict[str, bytes] = {}
        self.mark = b""

    def take(self, engine: Engine) -> None:
        for key, value in engine.changes().items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.mark = engine.mark()

    def engine(self, config: Config) -> Engine:
        return Engine.restore(config, 0, self.state, self.mark)

    def live(self, config: Config, parts: Iterable[Batch], restart: bool = False) -> Iterator[Output]:
        """What each batch gives; with a restart after every one, if told. At the end the state is here."""
        engine = self.engine(config)
        for part in parts:
            yield engine.process(part)
            if restart:
                self.take(engine)
                engine = self.engine(config)
                assert engine.restored.alerts == ()
        self.take(engine)


def run(config: Config, parts: Any, restart: bool = False) -> tuple[list[bytes], dict[str, bytes]]:
    """All alerts as they are written, and the state at the end; with a restart after every batch, if told."""
    store = Store()
    alerts = [alert for output in store.live(config, parts, restart) for alert in output.alerts]
    return [alert.message().value or b"" for alert in alerts], store.state


def streams(store: Store) -> list[str]:
    return [key for key in store.state if key.startswith("stream:")]


def told(alerts: Any) -> list[tuple[str, str, str]]:
    return [(alert.data.monitor, alert.state, alert.data.reason) for alert in alerts]


@pytest.fixture(scope="module")
def whole() -> tuple[list[bytes], dict[str, bytes]]:
    return run(everything(), [batch(life(N), partitions=3)])


def test_the_stream_of_these_tests_shows_every_state_and_reason(whole):
    """Else the tests below would prove less than they say."""
    said = set(b"first reminder quiet retired evicted".split())
    said |= {b"unusable values", b"no values", b"usable again"}
    text = b"\n".join(whole[0])
    assert {reason for reason in said if b'"reason":"' + reason + b'"' in text} == said
    for name, states in {
        b"rates": {b"firing", b"settled", b"blind", b"seeing"},
        b"wrong": {b"firing"},
    }.items():
        mine = [alert for alert in whole[0] if b'"monitor":"' + name + b'"' in alert]
        assert {state for state in states if any(b"alert." + state in alert for alert in mine)} == states


@pytest.mark.parametrize("limit", [3, 5, 40])
def test_little_room_and_short_lives_do_not_depend_on_batches_nor_restarts(limit):
    events = life(900)
    expected = run(tight(max_stream_keys=limit), [batch(events, partitions=3)])
    retired, evicted = gone(tight(max_stream_keys=limit), [batch(events)])
    assert retired or limit == 3
    assert evicted or limit == 40
    for size, restart in ((1, False), (3, True), (64, True)):
        again = run(
            tight(max_stream_keys=limit), batches(events, itertools.repeat(size), partitions=3), restart
        )
        assert again == expected
        cut = batches(events, itertools.repeat(size))
        assert gone(tight(max_stream_keys=limit), cut) == (retired, evicted)


def gone(config: Config, parts: Any) -> tuple[list[Any], list[Any]]:
    """The stream keys that were retired and evicted, in order."""
    engine = Engine(config)
    outputs = [engine.process(part) for part in parts]
    return [key for o in outputs for key in o.retired], [key for o in outputs for key in o.evicted]


def test_slices_that_begin_in_the_range_that_retires_their_version_end_with_it():
    rows = [(0, "1", "DE"), (1, "1", "AT"), (2, "1", "AT"), (30, "2", "DE"), (31, "1", "DE"), (60, "2", "AT")]
    events = [
        event(START_S + at, model_version=version, prediction=1, label=1, features={"country": country})
        for at, version, country in rows
    ]
    retired = []
    for sizes in ([6], [1] * 6, [2, 4], [3, 3], [5, 1]):
        engine = Engine(tight(max_stream_keys=50))
        retired.append([key for part in batches(events, sizes) for key in engine.process(part).retired])
    assert all(one == retired[0] for one in retired)
    assert [str(key) for key in retired[0][:3]] == [
        "fraud version 1", "fraud version 1 (country=AT)", "fraud version 1 (country=DE)",
    ]  # fmt: skip


def test_models_that_nobody_watches_take_no_room():
    only = config(monitor("a", "error", models=["fraud"]), max_stream_keys=1)
    engine = Engine(only)
    output = engine.process(
        batch([event(START_S + i, model=model) for i, model in enumerate(["fraud", "b", "c"])])
    )
    assert (engine.stream_keys, output.evicted) == (1, [])


def test_more_features_than_can_be_watched_are_said_and_cost_little():
    engine = Engine(config(monitor("inputs", "feature", of="all")))
    flood = [event(START_S + i, features={"good": 1}) for i in range(50)]
    flood.append(event(START_S + 50, features={f"junk{i}": i for i in range(3000)}))
    output = engine.process(batch(flood))
    ((name, model, why),) = output.unwatched
    assert (name, model) == ("inputs", "fraud")
    assert "at most 1000 features" in why
    assert len(engine.gauges()) == 1000
    one_by_one = Engine(config(monitor("inputs", "feature", of="all")))
    for part in batches(flood, itertools.repeat(1)):
        one_by_one.process(part)
    assert one_by_one.changes() == engine.changes()


@pytest.mark.parametrize("size", [1, 7, 300])
def test_batches_do_not_change_what_is_said_nor_the_state(whole, size):
    assert run(everything(), batches(life(N), itertools.repeat(size), partitions=3)) == whole


@pytest.mark.parametrize("seed", range(2))
def test_restarts_do_not_change_what_is_said_nor_the_state(whole, seed):
    draw = random.Random(seed)
    sizes = (draw.choice([1, 2, 5, 40, 300]) for _ in itertools.count())
    assert run(everything(), batches(life(N), sizes, partitions=3), restart=True) == whole


def test_alert_ids_are_unique(whole):
    ids = [text.partition(b'"id":"')[2][:32] for text in whole[0]]
    assert len(ids) > 20
    assert len(set(ids)) == len(ids)


def test_the_time_of_alerts_never_goes_back(whole):
    times = [text.partition(b'"time":"')[2].partition(b'"')[0] for text in whole[0]]
    ended = [t for t, text in zip(times, whole[0], strict=True) if b"alert.settled" not in text]
    assert ended == sorted(ended)


def rising(n: int = 2000, at: int = 1000, **more: Any) -> list[dict[str, Any]]:
    draw = random.Random(7)
    return [
        event(
            START_S + i,
            event_id=f"e{i}",
            prediction=int(draw.random() < (0.05 if i < at else 0.4)),
            label=0,
            **more,
        )
        for i in range(n)
    ]


def test_a_rising_error_is_one_alert_with_direction_size_and_onset():
    engine = Engine(
        config(monitor("error-rate", "error", severity="critical", owner="risk", tags={"a": "b"}))
    )
    alerts = engine.process(batch(rising())).alerts
    assert told(alerts) == [("error-rate", "firing", "first")]
    (alert,) = alerts
    assert (alert.subject, alert.severity, alert.open) == ("fraud", "critical", True)
    data = alert.data
    assert (data.direction, data.owner, data.tags, data.incident) == ("up", "risk", {"a": "b"}, alert.id)
    assert data.change is not None
    assert data.onset is not None
    assert data.change.from_ == pytest.approx(0.05, abs=0.02)
    assert data.change.to == pytest.approx(0.4, abs=0.12)
    assert data.labels is not None
    (evidence,) = data.evidence
    assert (evidence.topic, evidence.partition) == ("predictions", 0)
    assert evidence.first <= 1000 <= evidence.last < 1200
    assert evidence.sample_ids[-1] == f"e{evidence.last}"
    assert data.summary.startswith("error-rate of fraud rose from 0.0")


def test_the_summary_says_which_feature_where_the_monitor_watches_all():
    events = [dict(entry, features={"amount": entry["prediction"]}) for entry in rising()]
    (alert,) = Engine(config(monitor("inputs", "feature", of="all"))).process(batch(events)).alerts
    assert alert.data.summary.startswith("inputs (amount) of fraud rose from 0.0")


def test_an_unwatched_direction_is_no_alert():
    engine = Engine(config(monitor("error-rate", "error", direction="down")))
    assert engine.process(batch(rising())).alerts == []


def test_slices_are_watched_beside_the_whole():
    parts = itertools.chain.from_iterable(
        zip(rising(features={"country": "DE"}), rising(at=9999, features={"country": "AT"}), strict=True)
    )
    engine = Engine(config(monitor("error-rate", "error", by=[["country"]])))
    alerts = engine.process(batch(list(parts))).alerts
    assert {tuple(alert.data.segment.items()) for alert in alerts} == {(), (("country", "DE"),)}


def test_a_changed_config_keeps_what_did_not_change_and_ends_what_is_gone():
    store = Store()
    before = config(monitor("a", "error"), monitor("b", "error"), monitor("c", "prediction"))
    engine = store.engine(before)
    assert sorted(told(engine.process(batch(rising())).alerts)) == [
        (name, "firing", "first") for name in "abc"
    ]
    store.take(engine)
    after = config(
        monitor("a", "error", severity="critical", owner="somebody"),
        monitor("b", "error", {"adwin": {"delta": 0.01}}),
    )
    engine = store.engine(after)
    assert (engine.restored.kept, engine.restored.dropped) == (("a",), ("b", "c"))
    ended = [(a.data.monitor, a.state, a.data.reason, a.open) for a in engine.restored.alerts]
    assert sorted(ended) == [
        ("b", "ended", "removed", False),
        ("c", "ended", "removed", False),
    ]
    assert engine.gauges()[0].open
    store.take(engine)
    engine = store.engine(after)
    assert engine.restored.alerts == ()
    assert engine.restored.kept == ("a", "b")


def test_state_of_stream_keys_that_nobody_watches_any_more_is_deleted():
    store = Store()
    engine = store.engine(config(monitor("a", "error", by=[["country"]])))
    engine.process(batch(rising(100, features={"country": "DE"})))
    store.take(engine)
    assert len(streams(store)) == 2
    engine = store.engine(config(monitor("a", "error")))
    store.take(engine)
    assert streams(store) == ['stream:["fraud",null,[]]']


def test_the_stream_key_silent_longest_goes_first_and_is_announced():
    engine = Engine(config(monitor("a", "prediction"), max_stream_keys=2))
    events = [event(START_S + i, model=model, prediction=1) for i, model in enumerate("abacb")]
    output = engine.process(batch(events))
    assert [key.model for key in output.evicted] == ["b", "a"]
    assert engine.stream_keys == 2


def test_a_version_is_retired_when_another_goes_on_without_it():
    engine = Engine(config(monitor("a", "prediction", per="version"), versions={"retire_after": "1m"}))
    events = [event(START_S + i, model_version="1", prediction=1) for i in range(10)]
    events += [event(START_S + 10 + i, model_version="2", prediction=1) for i in range(70)]
    output = engine.process(batch(events))
    assert [(key.model, key.version) for key in output.retired] == [("fraud", "1")]
    alone = Engine(config(monitor("a", "prediction", per="version"), versions={"retire_after": "1m"}))
    gap = [event(START_S + 1000.0 * i, model_version="1", prediction=1) for i in range(10)]
    assert alone.process(batch(gap)).retired == []


def test_unusable_values_are_counted_and_make_blind_and_then_seeing():
    values = [0.5] * 300 + ["high"] * 10 + [0.5] * 200
    engine = Engine(config(monitor("score", "score")))
    output = engine.process(batch([event(START_S + i, score=value) for i, value in enumerate(values)]))
    assert told(output.alerts) == [
        ("score", "blind", "unusable values"),
        ("score", "seeing", "usable again"),
    ]
    assert output.unusable == {"score": 10}
    blind, seeing = output.alerts
    assert blind.data.key == seeing.data.key
    assert blind.data.incident == seeing.data.incident == blind.id
    assert (blind.open, seeing.open) == (True, False)
    assert blind.data.unseen is not None
    assert blind.data.unseen.count == 6


def test_an_event_that_gives_a_monitor_nothing_for_long_makes_it_blind():
    engine = Engine(config(monitor("amount", "feature:amount", blind={"none_in": 50})))
    output = engine.process(batch([event(START_S + i, features={"other": 1}) for i in range(60)]))
    assert told(output.alerts) == [("amount", "blind", "no values")]


def test_a_monitor_that_cannot_watch_a_strange_model_says_so_once_and_the_rest_goes_on():
    watched = config(
        monitor("error", "error"),
        monitor("off", "absolute_error"),
        models={"price": {"task": "regression"}, "*": {"task": "binary"}},
    )
    engine = Engine(watched)
    output = engine.process(batch([event(START_S + i, model="new", prediction=1, label=1) for i in range(9)]))
    ((name, model, why),) = output.unwatched
    assert (name, model) == ("off", "new")
    assert "regression" in why
    assert [gauge.monitor for gauge in engine.gauges()] == ["error"]
    assert engine.process(batch([event(START_S + 9, model="new")])).unwatched == []


def test_the_order_of_keys_in_the_config_is_no_change_of_meaning():
    def watched(where: dict[str, Any]) -> Config:
        return config(monitor("a", "error", where=where))

    one, other = watched({"a": 1, "b": 2}), watched({"b": 2, "a": 1})
    assert one.digest == other.digest
    store = Store()
    engine = store.engine(one)
    engine.process(batch([event(START_S, features={"a": 1, "b": 2})]))
    store.take(engine)
    assert store.engine(other).restored.kept == ("a",)


def test_features_whose_name_cannot_be_written_in_an_alert_are_not_watched():
    engine = Engine(config(monitor("inputs", "feature", of="all")))
    engine.process(batch([event(START_S, features={"": 1, "x" * 5000: 1, "good": 1})]))
    assert [gauge.signal for gauge in engine.gauges()] == ["feature:good"]


def test_bad_records_are_dead_letters_and_the_rest_goes_on():
    good = batch(rising(3))
    mixed = Batch(0, good.sources, good.source, good.offset, good.timestamp_ms, good.key,
                  [good.value[0], b"{", good.value[2]], good.headers)  # fmt: skip
    output = Engine(config(monitor("error", "error"))).process(mixed)
    assert (output.events, [letter.offset for letter in output.dead_letters]) == (2, [1])


def test_state_of_another_service_is_refused():
    store = Store()
    engine = store.engine(config(monitor("a", "error")))
    engine.process(batch(rising(10)))
    store.take(engine)
    with pytest.raises(StateForeign, match="service 'watch', this is 'other'"):
        store.engine(config(monitor("a", "error"), service="other"))


def test_damaged_state_is_refused_before_any_of_it_is_used():
    store = Store()
    engine = store.engine(everything())
    engine.process(batch(life(400)))
    store.take(engine)
    name, whole = sorted(store.state.items())[0]
    draw = random.Random(3)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        with pytest.raises(StateError, match="state"):
            Engine.restore(everything(), 0, {**store.state, name: bytes(damaged)}, store.mark)
    with pytest.raises(StateDamaged):
        Engine.restore(everything(), 0, {name: whole[:-5]}, store.mark)


def test_what_senders_write_makes_no_alert_that_is_too_large():
    """Ids and versions of control characters take six bytes each in JSON."""
    draw = random.Random(7)
    events = [
        {
            **event(START_S + i, prediction=int(draw.random() < (0.05 if i < 1000 else 0.4)), label=0),
            "event_id": f"{i}" + "\x01" * 1000,
            "model_version": f"{i % 25}" + "\x01" * 1000,
        }
        for i in range(1200)
    ]
    alerts = Engine(config(monitor("a", "error"))).process(batch(events)).alerts
    assert alerts
    for alert in alerts:
        assert len(alert.message().value or b"") <= LARGEST
        assert [evidence.sample_ids for evidence in alert.data.evidence] == [()]


def test_who_goes_and_comes_back_in_one_batch_is_evicted_once():
    def at(seconds: float, model: str, version: str = "1") -> dict[str, object]:
        more = {"model_version": version, "features": {"country": "DE"}}
        return event(START_S + seconds, model=model, prediction=1, **more)

    of = config(
        monitor("a", "prediction", by=[["country"]], per="version"),
        versions={"retire_after": "5m"},
        max_stream_keys=4,
        sight={"silence": "0s"},
    )
    events = [
        at(0, "b"), at(1, "a"), at(2, "a", "2"), at(400, "a", "2"), at(401, "a"), at(402, "a", "2"), at(403, "q"),
    ]  # fmt: skip
    evicted = []
    for size in (1, len(events)):
        engine = Engine(of)
        evicted.append(
            [key for one in batches(events, [size] * len(events)) for key in engine.process(one).evicted]
        )
    assert evicted[0] == evicted[1]
    assert len(evicted[0]) == len(set(evicted[0])) == 4
