"""Monitors whose detectors read buckets of time: what they say, and what they do with pauses, accepts and state."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest

from streamwatch.alerts import Alert
from streamwatch.commands import Accept, Pause
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.times import epoch_s
from tests.build import START_S, batch, batches, config, event, mixed, monitor
from tests.test_engine import Store
from tests.test_engine import told as said
from tests.test_late_labels import late, told

FIRST_S = START_S - START_S % 60 + 60  # a whole minute


def scores(n: int, change: int, after: float = 0.8, step_s: float = 1.0) -> list[dict[str, Any]]:
    draw = random.Random(5)
    return [
        event(
            FIRST_S + i * step_s,
            event_id=f"e{i}",
            score=min(1.0, max(0.0, draw.gauss(0.3 if i < change else after, 0.1))),
        )
        for i in range(n)
    ]


def watched(every: Any, signal: str = "score", detector: Any = "adwin", **more: Any) -> Config:
    rest = {name: more.pop(name) for name in ("windows", "models") if name in more}
    return config(monitor("a", signal, detector, every=every, per="model", **more), **rest)


def alerts_of(of: Config, events: Sequence[dict[str, Any]]) -> list[Alert]:
    return list(Engine(of).process(batch(events)).alerts)


def test_an_alert_speaks_of_buckets_and_says_so() -> None:
    (alert,) = alerts_of(watched("10s"), scores(3000, 1500))
    data = alert.data
    assert data.signal == {"kind": "score", "text": "score", "every": "10s", "stat": "mean"}
    assert data.summary.startswith("a (mean per 10s) of fraud rose from 0.298 to 0.7")
    assert data.change is not None
    assert 150 < data.change.from_n + data.change.to_n < 200, "buckets of 10 s, not 1,500 events"
    assert data.change.from_ == pytest.approx(0.3, abs=0.01)
    assert data.onset is not None
    assert epoch_s(data.onset.time) % 10 == 0, "where a bucket begins"
    assert abs(epoch_s(data.onset.time) - FIRST_S - 1500) <= data.onset.uncertain_s <= 160
    (evidence,) = data.evidence
    assert evidence.first <= 1500 <= evidence.last


def test_alerts_without_buckets_are_what_they_were() -> None:
    (alert,) = alerts_of(watched(None), scores(3000, 1500))
    assert alert.data.signal == {"kind": "score", "text": "score"}
    assert alert.data.summary.startswith("a of fraud rose")


def test_a_count_is_the_rate_of_events() -> None:
    slow = scores(1500, 0, step_s=1.0)
    fast = [dict(one, timestamp=FIRST_S + 1500 + i / 3) for i, one in enumerate(scores(3000, 0))]
    (alert,) = alerts_of(watched({"length": "10s", "stat": "count"}), slow + fast)
    assert alert.data.change is not None
    assert (alert.data.change.from_, alert.data.change.to) == (
        pytest.approx(10, 0.02),
        pytest.approx(30, 0.1),
    )
    assert alert.data.summary.startswith("a (count per 10s) of fraud rose from 10 to ")


@pytest.mark.parametrize("detector", ["page_hinkley", "kswin", "hddm_a", "hddm_w"])
def test_detectors_of_numbers_read_the_mean_of_a_signal_of_zeros_and_ones(detector: str) -> None:
    draw = random.Random(2)
    events = [
        event(FIRST_S + i, prediction=int(draw.random() < (0.1 if i < 3000 else 0.9))) for i in range(6000)
    ]
    settings = {"page_hinkley": {"threshold": 5}} if detector == "page_hinkley" else {detector: {}}
    found = alerts_of(watched("10s", "positive_rate", settings), events)
    assert [alert.data.direction for alert in found][:1] == ["up"]


def test_eyes_look_at_every_event() -> None:
    """Unusable values are noticed within the minute, although no bucket closes."""
    good = [event(FIRST_S + i / 10, score=0.5) for i in range(100)]
    bad = [event(FIRST_S + 10 + i / 10, score="x") for i in range(20)]
    engine = Engine(watched("1m"))
    output = engine.process(batch(good + bad))
    assert said(output.alerts) == [("a", "blind", "unusable values")]
    assert output.unusable == {"a": 20}
    assert engine.gauges()[0].n == 0


@pytest.mark.parametrize("size", [1, 7, 500])
def test_values_too_late_for_their_bucket_are_counted_and_too_many_of_them_are_blindness(size: int) -> None:
    events = [event(FIRST_S + i, score=0.5) for i in range(400)]
    for at in range(100, 160):
        events[at]["timestamp"] -= 80  # 80 s late: buckets wait for 10
    engine = Engine(watched("10s"))
    outputs = [engine.process(part) for part in batches(events, itertools.repeat(size))]
    alerts = [alert for output in outputs for alert in output.alerts]
    assert said(alerts) == [("a", "blind", "unusable values"), ("a", "seeing", "usable again")]
    assert sum(output.unusable.get("a", 0) for output in outputs) == 60
    assert alerts[0].data.summary.endswith("6 of the last 6 values unusable or too late for their bucket")


def test_an_event_a_little_late_is_in_its_bucket() -> None:
    """A change of exactly one bucket's events, told in another order within ten seconds, is told the same."""
    events = scores(3000, 1500)
    shuffled = [one for start in range(0, 3000, 8) for one in reversed(events[start : start + 8])]
    (alert,), (again,) = alerts_of(watched("10s"), events), alerts_of(watched("10s"), shuffled)
    assert again.data.onset == alert.data.onset
    assert again.data.change is not None
    assert alert.data.change is not None
    assert again.data.change.from_ == pytest.approx(alert.data.change.from_, rel=1e-12)


def test_several_alerts_at_one_event_have_ids_of_their_own() -> None:
    """An event after a long wait may close so many buckets that a detector finds several changes in them."""
    levels = [0.1, 0.2, 0.45, 0.95]
    events = [event(FIRST_S + i, score=levels[i // 25]) for i in range(100)]
    events += [event(FIRST_S + 300, score=0.95)]
    detector = {"page_hinkley": {"min_instances": 5, "threshold": 0.3}}
    alerts = alerts_of(watched({"length": "1s", "late": "100s"}, "score", detector), events)
    assert [alert.data.reason for alert in alerts] == ["first", "worse", "worse"]
    assert {alert.time for alert in alerts} == {alerts[0].time}
    assert len({alert.id for alert in alerts}) == 3


def test_what_a_pause_leaves_of_a_bucket_is_no_rate() -> None:
    """Of what is counted; a mean of what is left is still a mean."""
    events = [event(FIRST_S + i, score=0.9 if 23 <= i < 47 else 0.5) for i in range(120)]
    times = {"from": "2025-10-09T08:54:23Z", "to": "2025-10-09T08:54:47Z"}  # 23 to 47 s after FIRST_S
    pause = Pause(id="p", author="x", match=("monitor=a",), from_=times["from"], to=times["to"])
    window = {"name": "w", "do": "skip", **times}
    for stat, read in (("count", 7), ("mean", 10)):
        every = {"length": "10s", "stat": stat, "late": "0s"}
        for windows, items in (([], [pause, *events]), ([window], events)):
            for size in (200, 2):
                engine = Engine(watched(every, windows=windows))
                for start in range(0, len(items), size):
                    engine.process(mixed(items[start : start + size], start))
                (gauge,) = engine.gauges()
                assert (gauge.n, gauge.level) == (read, 10.0 if stat == "count" else 0.5)


def test_what_is_drawn_is_what_the_detector_reads() -> None:
    """However few rows come at once."""
    drawn = []
    for size in (200, 2):
        engine = Engine(watched({"length": "10s", "late": "0s", "stat": "count"}), sketch=True)
        for part in batches(scores(100, 0), itertools.repeat(size)):
            engine.process(part)
        (sketch,) = engine.sketches().values()
        buckets = sketch.buckets()
        drawn.append((buckets.counts.sum(), buckets.sums.sum()))
    assert drawn == [(8, 80.0), (8, 80.0)]


def test_after_an_accept_the_open_bucket_is_not_of_the_new_normal() -> None:
    low = [event(FIRST_S + i, score=0.1) for i in range(65)]
    high = [event(FIRST_S + 65 + i, score=0.9) for i in range(30)]
    engine = Engine(watched({"length": "10s", "late": "0s"}))
    engine.process(mixed([*low, Accept(id="c", author="x", match=("monitor=a",)), *high]))
    (gauge,) = engine.gauges()
    assert (gauge.n, gauge.level) == (3, 0.9)


def test_a_change_of_late_labels_is_dated_by_the_predictions() -> None:
    """Buckets are of the time of the prediction, however late its label."""
    of = late(monitor("error", "error", every="10s", settle_after="30d", repeat_every="0s"))
    (alert,) = Engine(of).process(mixed(told(2500, 1000))).alerts
    assert alert.data.onset is not None
    off_s = epoch_s(alert.data.onset.time) - (START_S + 1000)
    assert abs(off_s) <= alert.data.onset.uncertain_s < 300  # an outcome is read 600 s later
    assert alert.data.labels is not None
    assert alert.data.labels.read == "matured"


def test_state_stays_with_a_longer_wait_and_goes_with_another_length_or_number() -> None:
    store = Store()
    engine = store.engine(watched({"length": "10s", "late": "5s"}))
    engine.process(batch(scores(300, 150)))
    store.take(engine)

    def kept(every: Any) -> tuple[str, ...]:
        return store.engine(watched(every)).restored.kept

    assert kept({"length": "10s", "late": "50s"}) == ("a",)
    assert kept({"length": "20s", "late": "5s"}) == ()
    assert kept({"length": "10s", "late": "5s", "stat": "count"}) == ()
    assert kept(None) == ()


def test_a_model_that_comes_and_does_not_suit_is_said() -> None:
    """A share is of zeros and ones; a detector of zeros and ones reads no means."""
    for every, detector, why in (
        ({"length": "1m", "stat": "share"}, "adwin", "there is no share of"),
        ("1m", "ddm", "ddm does not read unit values, which the mean per 1m of score gives"),
    ):
        output = Engine(watched(every, detector=detector)).process(batch(scores(3, 0)))
        assert [one.why.startswith(why) for one in output.unwatched] == [True]


def test_what_is_watched_of_all_features_has_buckets_of_its_own() -> None:
    events = [event(FIRST_S + i, features={"x": 1.0, **({"y": 2.0} if i >= 50 else {})}) for i in range(100)]
    engine = Engine(watched({"length": "10s", "late": "0s"}, "feature", of="all"))
    engine.process(batch(events))
    assert {gauge.signal: gauge.n for gauge in engine.gauges()} == {"feature:x": 9, "feature:y": 4}
