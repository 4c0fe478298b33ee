"""Labels that come later, in the engine: what performance monitors read, say, and keep over batches and restarts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from streamwatch.alerts import Alert
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.trail import CHECKPOINT_EVERY
from tests.build import START_S, batch, config, event, life, mixed, mixed_batches, monitor
from tests.test_engine import Store

Item = dict[str, Any]
INPUTS = [{"topics": ["predictions"], "read": {"label": None}}, {"topics": ["labels"], "kind": "labels"}]


def late(*monitors: Any, **labels: Any) -> Config:
    more = labels.pop("more", {})
    spec = {"labels": {"wait": "10m", **labels}}
    watched = monitors or (monitor("error", "error", repeat_every="0s", settle_after="30d"),)
    return config(*watched, inputs=INPUTS, models={"fraud": spec}, **more)


def told(n: int, at: int, seed: int = 3, delay: int = 100, share: float = 1.0) -> list[Item]:
    """One prediction a second whose error rate rises from 5 % to 60 % at `at`; labels come `delay` s later."""
    draw = random.Random(seed)
    items: list[tuple[float, Item]] = []
    for i in range(n):
        wrong = draw.random() < (0.05 if i < at else 0.6)
        items.append((i, event(START_S + i, event_id=f"e{i}", prediction=1, features={"country": "DE"})))
        if draw.random() < share:
            items.append((i + delay + 0.5, {"event_id": f"e{i}", "label": int(not wrong)}))
    return [item for _, item in sorted(items, key=lambda one: one[0])]


def process(of: Config, items: Sequence[Item]) -> list[Alert]:
    return list(Engine(of).process(mixed(items)).alerts)


def test_a_matured_outcome_is_read_when_its_prediction_is_old_enough():
    engine = Engine(late())
    engine.process(mixed([item for item in told(650, 9999) if True]))
    assert engine.gauges()[0].n == 50  # of 650 s, 600 are waited for


def test_an_alert_of_late_labels_says_how_they_were_read():
    (alert,) = process(late(), told(2500, 1000, share=0.8))
    assert (alert.state, alert.data.direction) == ("firing", "up")
    labels = alert.data.labels
    assert labels is not None
    assert labels.read == "matured"
    assert labels.coverage == pytest.approx(0.8, abs=0.05)
    assert labels.median_delay_s == pytest.approx(100.0)


def test_arrival_reads_sooner_and_says_so():
    (matured,) = process(late(), told(2500, 1000))
    (arrival,) = process(late(read="arrival"), told(2500, 1000))
    assert arrival.data.labels is not None
    assert arrival.data.labels.read == "arrival"
    assert arrival.time < matured.time
    assert arrival.data.change == matured.data.change  # the same outcomes in the same order


def test_evidence_of_an_outcome_is_the_prediction():
    (alert,) = process(late(), told(2500, 1000))
    (evidence,) = alert.data.evidence
    assert evidence.topic == "predictions"
    assert evidence.sample_ids == ()


@pytest.mark.parametrize("read", ["matured", "arrival"])
def test_evidence_of_outcomes_begins_about_where_their_predictions_changed(read):
    items = told(6000, 4000, delay=500)
    (alert,) = process(late(read=read), items)
    (evidence,) = alert.data.evidence
    changed = next(n for n, item in enumerate(items) if item.get("event_id") == "e4000")
    assert changed - 2 * 2 * CHECKPOINT_EVERY <= evidence.first <= changed
    assert changed < evidence.last < changed + 1000


def test_what_absent_labels_mean_is_read_at_maturity():
    items = told(2500, 1000, share=0.0)
    (blind,) = process(late(absent_means="drop"), items)
    assert blind.data.reason == "few labels"
    assert process(late(absent_means="drop", min_coverage=0), items) == []
    engine = Engine(late(absent_means=0))
    engine.process(mixed(items))
    assert engine.gauges()[0].level == 1.0  # prediction 1, label 0


def test_labels_beside_the_predictions_are_read_at_once_where_the_model_has_no_late_ones():
    of = config(
        monitor("error", "error"),
        inputs=[{"topics": ["predictions"]}, {"topics": ["labels"], "kind": "labels"}],
        models={"fraud": {"labels": {"wait": "10m"}}, "*": {}},
    )
    engine = Engine(of)
    engine.process(
        mixed(
            [event(START_S, model=model, event_id="x", prediction=1, label=1) for model in ("fraud", "churn")]
        )
    )
    assert {gauge.model: gauge.n for gauge in engine.gauges()} == {"fraud": 0, "churn": 1}


def test_slices_and_where_go_by_the_prediction():
    of = late(
        monitor("error", "error", by=[["country"]]),
        monitor("some", "error", where={"country": "AT"}),
    )
    items = told(700, 9999)
    for item in items:
        if "features" in item and int(item["event_id"][1:]) % 2:
            item["features"] = {"country": "AT"}
    engine = Engine(of)
    engine.process(mixed(items))
    counts = {(gauge.monitor, gauge.segment): gauge.n for gauge in engine.gauges()}
    assert counts[("error", ())] == 100
    assert counts[("error", (("country", "DE"),))] == counts[("error", (("country", "AT"),))] == 50
    assert counts[("some", ())] == 50


def test_labels_in_the_topic_of_predictions_are_told_apart_by_a_field():
    of = config(
        monitor("error", "error"),
        inputs=[
            {"topics": ["predictions"], "only": {"field": "type", "is": "scored"}},
            {
                "topics": ["predictions"],
                "kind": "labels",
                "only": {"field": "type", "is": ["label", "correction"]},
            },
        ],
        models={"fraud": {"labels": {"wait": "10s"}}},
    )
    records = [
        event(START_S, event_id="x", prediction=1, type="scored"),
        event(START_S + 1, event_id="x", label=0, type="label"),
        event(START_S + 2, event_id="x", label=1, type="correction"),
        event(START_S + 3, event_id="x", type="heartbeat"),
        event(START_S + 20, event_id="y", prediction=1, type="scored"),
    ]
    engine = Engine(of)
    output = engine.process(mixed(records))
    assert (output.events, output.labels, output.ignored, output.dead_letters) == (2, 2, 1, [])
    assert (engine.gauges()[0].n, engine.gauges()[0].level) == (1, 0.0)


def test_a_label_without_its_id_is_a_dead_letter_and_one_that_is_null_is_ignored():
    output = Engine(late()).process(
        mixed([{"label": 1}, {"event_id": "x", "label": None}, {"event_id": "y", "label": 1}])
    )
    assert [(letter.topic, letter.code, letter.field) for letter in output.dead_letters] == [
        ("labels", "field missing", "event_id")
    ]
    assert output.labels == 1


# ---- neither batches nor restarts change anything


def everything(**more: Any) -> Config:
    return config(
        monitor("error", "error", by=[["country"]], repeat_every="5m", settle_after="20m"),
        monitor("error-per-version", "error", {"ddm": {}}, per="version", direction="up"),
        monitor("score", "score", settle_after="30m", repeat_every="10m", blind={"of_last": 20}),
        monitor("inputs", "feature", of="all", **{"except": ["country"]}),
        monitor("germans", "label_rate", where={"country": "DE"}, settle_after="10m"),
        monitor("rate", "error", {"hddm_a": {}}, models=["fraud"], every={"length": "5s", "late": "4s"}),
        inputs=INPUTS,
        models={
            "fraud": {"labels": {"wait": "3m", "early": "30s"}},
            "churn": {"labels": {"wait": "2m", "read": "arrival", "absent_means": 0}},
        },
        **{"max_stream_keys": 11, "versions": {"retire_after": "50s"}, **more},
    )


def lived(n: int, seed: int) -> list[Item]:
    """`life` with its labels as records of their own, early and late and twice."""
    draw = random.Random(seed)
    items: list[tuple[float, int, Item]] = []
    for i, one in enumerate(life(n)):
        items.append((i, 0, one))
        if one["event_id"] is not None and one["label"] is not None:
            for _ in range(draw.choice([1, 1, 1, 2])):
                label = one["label"] if draw.random() < 0.97 else draw.choice([None, "x", 1 - one["label"]])
                of_model = {"model": one["model"]} if draw.random() < 0.3 else {}
                items.append(
                    (
                        i + draw.choice([-3, 5, 40, 150, 400]),
                        1,
                        {"event_id": one["event_id"], "label": label, **of_model},
                    )
                )
    return [item for *_, item in sorted(items, key=lambda one: one[:2])]


def test_late_labels_do_not_depend_on_batches_nor_restarts():
    items = lived(1400, 1)
    of = everything()
    gone: list[Any] = []

    def run(sizes: Sequence[int], restart: bool) -> tuple[list[bytes], dict[str, bytes]]:
        store, alerts = Store(), list[Alert]()
        gone.clear()
        for output in store.live(of, mixed_batches(items, sizes), restart):
            alerts += output.alerts
            gone.append((tuple(output.retired), tuple(output.evicted)))
        streams = {key: value for key, value in store.state.items() if not key.startswith("labels:")}
        return [alert.message().value or b"" for alert in alerts], streams

    expected = run([len(items)], False)
    text = b"\n".join(expected[0])
    for words in (b'"read":"matured"', b'"read":"arrival"', b'"reason":"evicted"', b'"every":"5s"'):
        assert words in text
    assert all(gone[0])  # some were retired, some evicted
    draw = random.Random(2)
    for most, restart in ((1, False), (120, True)):
        sizes: list[int] = []
        while sum(sizes) < len(items):
            sizes.append(draw.randint(1, most))
        assert run(sizes, restart) == expected


def test_state_of_labels_goes_with_the_config_that_wanted_them_and_does_not_come_back():
    store = Store()
    engine = store.engine(late())
    engine.process(mixed(told(700, 9999)))
    store.take(engine)
    assert any(key.startswith("labels:") for key in store.state)
    store.take(store.engine(config(monitor("error", "error"))))
    assert not any(key.startswith("labels:") for key in store.state)
    store.take(store.engine(late()))
    assert store.engine(late()).waiting() == []


def test_a_payload_that_changes_and_changes_back_starts_anew():
    """A rollout and its revert, without an event between."""
    store = Store()
    sliced = late(monitor("error", "error", by=[["country"]]))
    engine = store.engine(late())
    engine.process(mixed(told(700, 9999)))
    store.take(engine)
    store.take(store.engine(sliced))
    engine = store.engine(late())
    assert [one.predictions for one in engine.waiting()] in ([], [0])
    engine.process(mixed(told(900, 9999)[1300:], 1300))
    store.take(engine)


def test_predictions_that_wait_count_for_what_a_commit_will_hold():
    engine = Engine(late(wait="10d"))
    engine.process(batch([event(START_S + n, event_id=f"e{n}", prediction=1) for n in range(20_000)]))
    pending_bytes = engine.pending_bytes
    written = sum(len(value) for value in engine.changes().values() if value is not None)
    assert 0.5 * written < pending_bytes < 2 * written
    assert engine.pending_bytes == 0
