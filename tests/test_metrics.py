"""The metrics: what is counted, once, and how many series there can be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamwatch.conditions import Kind
from streamwatch.engine import Condition, Engine, Gauge
from streamwatch.errors import BrokerUnreachable
from streamwatch.latemodel import Waiting
from streamwatch.metrics import SNAPSHOT_S, Metrics
from streamwatch.records import Source
from streamwatch.segments import Slicing
from streamwatch.transports.base import Opened, Progress, Stalled
from tests.build import START_S, config, event, mixed, monitor
from tests.samples import Clock, alert, gauge, letter, waiting, work
from tests.talk import pause, silence

CONFIG = config(monitor("error-rate", "error", severity="critical"), monitor("score", "score"))


class Watched:
    """The part of an engine that the metrics read."""

    def __init__(
        self,
        *gauges: Gauge,
        stream_time_s: float | None = None,
        stream_keys: int = 0,
        conditions: Sequence[Condition] = (),
        waiting: Sequence[Waiting] = (),
        early_labels: int = 0,
        pooled: Sequence[Slicing] = (),
    ) -> None:
        self.config = CONFIG
        self._gauges = list(gauges)
        self._conditions = list(conditions)
        self._waiting = list(waiting)
        self.stream_time_s = stream_time_s
        self.stream_keys = stream_keys
        self.early_labels = early_labels
        self.pooled = pooled

    def conditions(self) -> list[Condition]:
        return self._conditions

    def waiting(self) -> list[Waiting]:
        return self._waiting

    def gauges(self) -> list[Gauge]:
        return self._gauges


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape gives, as Prometheus' own parser reads it."""
    return {
        (sample.name.removeprefix("streamwatch_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def turned(metrics: Metrics, progress: Progress, *engines: Watched, healthy: bool = True) -> None:
    held: Mapping[int, Any] = dict(enumerate(engines))
    metrics.turned(progress, held, healthy)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(shown=3, clock=clock, now=Clock(1_000.0))


def test_a_commit_counts_all_that_it_made_true(metrics: Metrics) -> None:
    metrics.committed(
        work(
            records=9, events=5, ignored=2, tombstones=1, unusable={"score": 3},
            alerts=[alert(), alert("settled", "info")], dead_letters=[letter(), letter(), letter("too deep")],
        ),
        0.02,
    )  # fmt: skip
    expected = {
        ("records_total", ()): 9, ("events_total", ()): 5, ("ignored_records_total", ()): 2,
        ("tombstones_total", ()): 1, ("commits_total", ()): 1, ("commit_seconds_sum", ()): 0.02,
        ("commit_seconds_bucket", (("le", "0.01"),)): 0, ("commit_seconds_bucket", (("le", "0.02"),)): 1,
        ("unusable_values_total", (("monitor", "score"),)): 3,
        ("alerts_total", (("severity", "warning"), ("state", "firing"))): 1,
        ("alerts_total", (("severity", "info"), ("state", "settled"))): 1,
        ("dead_letters_total", (("code", "not json"),)): 2, ("dead_letters_total", (("code", "too deep"),)): 1,
    }  # fmt: skip
    assert {name: found for name, found in samples(metrics).items() if name in expected} == expected


def test_overtaken_records_are_counted_from_the_sum_that_the_transport_gives(metrics: Metrics) -> None:
    for total in (0, 3, 3, 4):
        turned(metrics, Progress(overtaken=total))
    assert value(metrics, "overtaken_records_total") == 4


def test_failures_restores_losses_and_stalls_are_counted(metrics: Metrics) -> None:
    metrics.failed(BrokerUnreachable("away"), None, 0.2)
    metrics.opened(Opened(0, {}, b"", {}, {Source("predictions", 1): 12}))
    metrics.stalled(Stalled(0, Source("predictions", 1), True))
    metrics.stalled(Stalled(0, Source("predictions", 1), False))
    assert value(metrics, "errors_total", error="BrokerUnreachable") == 1
    assert value(metrics, "restores_total") == 1
    assert value(metrics, "lost_records_total", topic="predictions", partition="1") == 12
    assert value(metrics, "stalls_total") == 1


def test_not_ready_and_a_failed_turn_show_at_once(metrics: Metrics) -> None:
    found = []
    for ready, healthy in [(True, True), (False, True), (True, False), (True, True)]:
        turned(metrics, Progress(ready=ready), healthy=healthy)
        found.append(value(metrics, "ready"))
    assert found == [1, 0, 0, 1]


def test_the_lag_of_a_partition_that_went_to_another_worker_is_not_shown(
    metrics: Metrics, clock: Clock
) -> None:
    turned(metrics, Progress(lag={Source("p", 0): 5, Source("p", 1): 6}))
    clock.now += SNAPSHOT_S
    turned(metrics, Progress(lag={Source("p", 1): 7}))
    assert value(metrics, "lag_records", topic="p", partition="1") == 7
    assert value(metrics, "lag_records", topic="p", partition="0") is None


def test_ages_grow_between_turns(metrics: Metrics, clock: Clock) -> None:
    assert value(metrics, "last_fetch_age_seconds") is None
    pooled = [Slicing(("country",), "fraud")]
    engine = Watched(stream_time_s=940.0, stream_keys=2, pooled=pooled)
    turned(metrics, Progress(fetched_at=clock.now), engine)
    clock.now += 3.5
    assert value(metrics, "last_fetch_age_seconds") == 3.5
    assert value(metrics, "stream_time_delay_seconds") == 60.0
    assert value(metrics, "stream_keys") == 2
    assert value(metrics, "pooled_slicings") == 1
    assert value(metrics, "tasks") == 1


def test_a_monitor_shows_its_level_its_detector_and_what_is_open(metrics: Metrics) -> None:
    shown = gauge(version="3", segment=(("country", "DE"),), statistic=1.5, open=True, reference=0.1)
    turned(metrics, Progress(), Watched(shown))
    labels = {
        "model": "fraud", "version": "3", "segment": "country=DE", "monitor": "error-rate", "signal": "error",
    }  # fmt: skip
    found = {
        name: value(metrics, f"monitor_{name}", **labels)
        for name in ("level", "values", "statistic", "reference", "warm", "open", "blind")
    }
    assert found == {
        "level": 0.25, "values": 640, "statistic": 1.5, "reference": 0.1, "warm": 1, "open": 1, "blind": 0,
    }  # fmt: skip


def test_what_a_monitor_does_not_have_is_no_series(metrics: Metrics) -> None:
    turned(metrics, Progress(), Watched(gauge(level=math.nan, n=0)))
    names = {name for name, labels in samples(metrics) if labels}
    assert "monitor_values" in names
    assert not names & {"monitor_level", "monitor_statistic", "monitor_reference"}


def test_series_are_bounded_whole_segments_first_and_those_left_out_are_counted(metrics: Metrics) -> None:
    slices = [gauge(model="a", segment=(("country", name),)) for name in "abcd"]
    whole = [gauge(monitor=name) for name in ("x", "y")]
    turned(metrics, Progress(), Watched(*slices, *whole))
    shown = {dict(labels)["monitor"] + dict(labels)["segment"]
             for name, labels in samples(metrics) if name == "monitor_level"}  # fmt: skip
    assert shown == {"x", "y", "error-ratecountry=a"}
    assert value(metrics, "monitors_left_out") == 3


def counted(metrics: Metrics, name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """A gauge's samples with these labels that are not 0, by the values of the others."""
    return {
        tuple(text for label, text in own if label not in labels): count
        for (found, own), count in samples(metrics).items()
        if found == name and count and labels.items() <= dict(own).items()
    }


def test_what_is_open_or_blind_is_counted_over_all_watchers_by_monitor_and_severity(metrics: Metrics) -> None:
    """Those without gauges of their own included (shown are 3)."""
    slices = [gauge(segment=(("country", name),), open=name < "e", blind=name == "f") for name in "abcdef"]
    turned(metrics, Progress(), Watched(*slices, gauge(n=0, blind=True, paused=True)))
    assert counted(metrics, "open_alerts", silenced="false") == {
        ("error-rate", "critical", "firing"): 4,
        ("error-rate", "critical", "blind"): 2,
    }
    assert counted(metrics, "watching") == {("error-rate", "events"): 6}
    assert counted(metrics, "paused") == {("error-rate",): 1}


def test_what_is_silenced_is_counted_apart(metrics: Metrics) -> None:
    turned(metrics, Progress(), Watched(gauge(open=True, blind=True, silenced=True), gauge(open=True)))
    assert counted(metrics, "open_alerts", monitor="error-rate") == {
        ("critical", "false", "firing"): 1,
        ("critical", "true", "firing"): 1,
        ("critical", "true", "blind"): 1,
    }


def test_what_the_service_cannot_see_is_counted_with_what_is_open_and_by_kind(metrics: Metrics) -> None:
    stands = [
        Condition("events", "warning", False),
        Condition("events", "warning", False),
        Condition("lag", "warning", True),
    ]
    turned(metrics, Progress(), Watched(conditions=stands))
    assert counted(metrics, "open_alerts", monitor="service") == {
        ("warning", "false", "blind"): 2,
        ("warning", "true", "blind"): 1,
    }
    assert counted(metrics, "conditions") == {("events", "false"): 2, ("lag", "true"): 1}


def test_what_is_not_the_case_is_a_zero_on_which_an_alarm_can_be_set(metrics: Metrics) -> None:
    turned(metrics, Progress(), Watched())
    found = [(name, *dict(labels).values()) for name, labels in samples(metrics) if labels]
    assert sum(one[0] == "open_alerts" for one in found) == 2 * 4 + 2
    assert {one[1] for one in found if one[0] == "conditions"} == set(get_args(Kind))
    assert {one[1] for one in found if one[0] == "watching"} == {"error-rate", "score"}


def test_monitors_whose_labels_come_late_are_told_apart(metrics: Metrics) -> None:
    """What reads outcomes has no value before the first label comes, and need not be amiss."""
    held = Watched()
    held.config = config(
        monitor("error-rate", "error"),
        monitor("score", "score"),
        monitor("of-others", "error", models=["churn"]),
        models={"fraud": {"labels": {"wait": "7d"}}, "churn": {}},
    )
    turned(metrics, Progress(), held)
    reads = {
        dict(labels)["monitor"]: dict(labels)["reads"]
        for name, labels in samples(metrics)
        if name == "watching"
    }
    assert reads == {"error-rate": "outcomes", "score": "events", "of-others": "events"}


def test_what_waits_for_labels_and_how_they_come_is_shown_by_model_and_bounded(metrics: Metrics) -> None:
    models = [waiting(name, coverage=None if name == "a" else 0.9) for name in "dcba"]
    turned(metrics, Progress(), Watched(waiting=models, early_labels=5))
    assert counted(metrics, "waiting_predictions") == {("a",): 7, ("b",): 7, ("c",): 7}
    assert counted(metrics, "waiting_predictions_most")[("a",)] == 1_000
    assert counted(metrics, "label_coverage") == {("b",): 0.9, ("c",): 0.9}
    assert counted(metrics, "label_delay_seconds")[("a",)] == 60.0
    assert value(metrics, "models_left_out") == 1
    assert value(metrics, "waiting_labels") == 5


def test_what_became_of_labels_and_predictions_is_counted(metrics: Metrics) -> None:
    joined = {"outcomes": 4, "labels": 5, "labels without a prediction": 2, "repeated": 1, "pushed out": 3}
    metrics.committed(work(labels=7, joined=joined), 0.01)
    names = ("labels_total", "outcomes_total", "joined_labels_total", "unjoined_labels_total")
    assert [value(metrics, name) for name in names] == [7, 4, 5, 2]
    assert counted(metrics, "unjoined_predictions_total") == {("repeated",): 1, ("pushed out",): 3}
    assert value(metrics, "unjoined_predictions_total", reason="without id") == 0


def test_an_engine_shows_what_is_silenced_paused_and_waits(metrics: Metrics) -> None:
    """A blind watcher, of which the drift is not muted; a silent model; predictions that wait."""
    of = config(
        monitor("score", "score", blind={"of_last": 10}),
        monitor("error", "error"),
        inputs=[{"topics": ["predictions"]}, {"topics": ["labels"], "kind": "labels"}],
        models={"fraud": {"labels": {"wait": "1h"}}, "*": {}},
        sight={"silence": "10m"},
    )
    unseen = [event(START_S + i, event_id=f"e{i}", score=None) for i in range(1100)]
    engine = Engine(of)
    engine.process(mixed(unseen))
    turned(metrics, Progress(), cast("Any", engine))
    assert counted(metrics, "open_alerts") == {("score", "warning", "false", "blind"): 1}
    assert counted(metrics, "waiting_predictions") == {("fraud",): 1100}
    talk = [silence("s", 0, 9e4, "monitor=score"), pause("p", 0, 9e4, "monitor=error")]
    engine.process(mixed([*talk, event(START_S + 2000, model="churn")], 1100))
    later = Metrics(shown=3, clock=Clock(), now=Clock(1_000.0))
    turned(later, Progress(), cast("Any", engine))
    assert counted(later, "open_alerts") == {
        ("score", "warning", "true", "blind"): 1,
        ("service", "warning", "false", "blind"): 1,
    }
    assert counted(later, "conditions") == {("events", "false"): 1}
    assert counted(later, "paused") == {("error",): 2}


def test_a_standby_has_no_monitors(metrics: Metrics) -> None:
    turned(metrics, Progress(detail="standby"))
    assert not {name for name, labels in samples(metrics) if {"monitor", "kind"} & set(dict(labels))}


def test_a_snapshot_of_the_monitors_is_taken_only_now_and_then(metrics: Metrics, clock: Clock) -> None:
    turned(metrics, Progress(), Watched(gauge(n=1)))
    clock.now += SNAPSHOT_S - 0.1
    turned(metrics, Progress(), Watched(gauge(n=2)))
    labels = {"model": "fraud", "version": "", "segment": "", "monitor": "error-rate", "signal": "error"}
    assert value(metrics, "monitor_values", **labels) == 1
    clock.now += 0.1
    turned(metrics, Progress(), Watched(gauge(n=3)))
    assert value(metrics, "monitor_values", **labels) == 3


def test_names_are_ours_counters_end_in_total_and_each_has_its_text(metrics: Metrics) -> None:
    turned(metrics, Progress(lag={Source("p", 0): 5}), Watched(gauge(), waiting=[waiting()]))
    metrics.committed(work(alerts=[alert()], dead_letters=[letter()], unusable={"m": 1}), 0.1)
    for line in metrics.text().decode().splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert name.startswith("streamwatch_")
            assert name.endswith("_total") == (kind == "counter")
            assert not name.endswith("_created")
        if line.startswith("# HELP"):
            assert line.endswith(".")
