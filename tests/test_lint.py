"""Whether the parts of a config fit each other: conflicts are problems, what only costs is a warning."""

from __future__ import annotations

from typing import Any

import pytest

from streamwatch import lint
from streamwatch.config import Config


def config(*monitors: dict[str, Any], **more: Any) -> Config:
    given = {"name": "a", "signal": "error", "detector": "adwin", "per": "model"}
    return Config.model_validate(
        {
            "service": "svc",
            "inputs": [{"topics": ["p"]}],
            "monitors": [{**given, "name": f"m{i}", **one} for i, one in enumerate(monitors or ({},))],
            **more,
        }
    )


def conflicts(*monitors: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    found = lint.conflicts(config(*monitors, **more))
    return [(".".join(map(str, one.loc)), one.what + (f" ({one.hint})" if one.hint else "")) for one in found]


def test_a_plain_config_has_no_conflict() -> None:
    assert conflicts() == []


@pytest.mark.parametrize(
    ("more", "loc", "what"),
    [
        ({"outputs": {"alerts": "p"}}, "outputs.alerts", "the topic p of the alerts is also an input"),
        ({"outputs": {"state": "p"}}, "outputs.state", "the topic p of the state is also an input"),
        ({"outputs": {"control": "p"}}, "outputs.control", "the topic p of the commands is also an input"),
        (
            {"outputs": {"dead_letters": {"topic": "p"}}},
            "outputs.dead_letters.topic",
            "the topic p of the dead letters is also an input",
        ),
        (
            {"outputs": {"alerts": "x", "state": "x"}},
            "outputs.state",
            "the state and the alerts have the same topic x",
        ),
        (
            {"outputs": {"alerts": "svc-dead-letters"}},
            "outputs.dead_letters.topic",
            "the dead letters and the alerts have the same topic svc-dead-letters",
        ),
        (
            {"inputs": [{"topics": ["svc-alerts"]}]},
            "outputs.alerts",
            "the topic svc-alerts of the alerts is also",
        ),
        (
            {"inputs": [{"topics": ["p", "q"]}, {"topics": ["q"]}]},
            "inputs.1.topics",
            "the topic q is in the first input too",
        ),
        ({"inputs": [{"topics": ["p", "p"]}]}, "inputs.0.topics", "the topic p is in the first input too"),
    ],
)
def test_topics_must_differ(more: dict[str, Any], loc: str, what: str) -> None:
    ((found_loc, found_what),) = conflicts(**more)
    assert found_loc == loc
    assert found_what.startswith(what)


MODELS = {"fraud": {"task": "binary"}, "price": {"task": "regression"}, "topic": {"task": "multiclass"}}


@pytest.mark.parametrize(
    ("monitor", "models", "loc", "what"),
    [
        (
            {"models": ["frud"]},
            MODELS,
            "models.0",
            "there is no model frud in `models` (did you mean fraud?)",
        ),
        ({"models": []}, MODELS, "models", "names no model"),
        ({"signal": "absolute_error"}, {}, "signal", "a binary model has no signal absolute_error"),
        (
            {"signal": "absolute_error"},
            MODELS,
            "signal",
            "model fraud: a binary model has no signal absolute_error, only regression models have it",
        ),
        (
            {"signal": "error", "models": ["price"]},
            MODELS,
            "signal",
            "model price: a regression model has no",
        ),
        (
            {"signal": "brier", "models": ["topic"]},
            MODELS,
            "signal",
            "model topic: a multiclass model has no",
        ),
        ({"signal": "error"}, {"*": {"task": "regression"}}, "signal", "model *: a regression model has no"),
        (
            {"signal": "error", "models": ["x"]},
            {"*": {"task": "regression"}},
            "signal",
            "model x: a regression",
        ),
        (
            {"signal": "feature:amount", "detector": "ddm"},
            {},
            "detector",
            "ddm reads 0 or 1; feature:amount gives",
        ),
        (
            {"signal": "score", "detector": "ddm"},
            {},
            "detector",
            "ddm reads 0 or 1; score gives numbers from 0",
        ),
        (
            {"signal": "error", "of": "all"},
            {},
            "of",
            "`of: all` goes with feature and missing, not with error",
        ),
        ({"signal": "feature:a", "of": "all"}, {}, "of", "`of: all` and the name a contradict each other"),
        ({"signal": "feature"}, {}, "signal", "`feature` does not say which feature"),
        ({"signal": "missing"}, {}, "signal", "`missing` does not say which feature"),
        ({"signal": "feature:a", "except": ["b"]}, {}, "except", "`except` goes with `of: all`"),
        ({"by": [[]]}, {}, "by.0", "a slicing names at least one feature"),
        ({"by": [["a", "a"]]}, {}, "by.0", "a slicing names each feature once"),
        ({"by": [["a", "b"], ["b", "a"]]}, {}, "by.1", "this slicing is there already"),
        (
            {"every": "1m", "detector": "ddm"},
            {},
            "detector",
            "ddm reads 0 or 1; the mean per 1m of error gives numbers from 0 to 1 (these read it: adwin, ",
        ),
        (
            {"every": {"length": "1h", "stat": "count"}, "detector": "hddm_a"},
            {},
            "detector",
            "hddm_a reads 0 or 1, numbers from 0 to 1; the count per 1h of error gives any numbers",
        ),
        (
            {"every": {"length": "1m", "stat": "share"}, "signal": "latency_ms"},
            {},
            "every.stat",
            "a share is of values that are 0 or 1; latency_ms gives any numbers (stat: mean, or count)",
        ),
        (
            {"every": "1m"},
            {"a": {"labels": {"wait": "1d"}}, "b": {"labels": {"wait": "1d", "read": "arrival"}}},
            "every",
            "outcomes of b are read as their labels come, in no order of time: most would be too late for their "
            "bucket (models: {b: {labels: {read: matured}}}, or every: null)",
        ),
    ],
)
def test_a_monitor_that_cannot_work_is_a_conflict(
    monitor: dict[str, Any], models: dict[str, Any], loc: str, what: str
) -> None:
    found = conflicts(monitor, models=models)
    assert [text for place, text in found if place == f"monitors.0.{loc}" and text.startswith(what)], found


@pytest.mark.parametrize(
    ("monitor", "models"),
    [
        ({"models": ["fraud", "topic"]}, MODELS),
        ({"models": ["anything"]}, {"*": {}}),
        ({"models": ["anything"]}, {}),
        ({"signal": "absolute_error", "models": ["price"]}, MODELS),
        ({"signal": "feature", "of": "all", "except": ["a"]}, MODELS),
        ({"signal": "missing", "of": "all"}, MODELS),
        ({"signal": "error", "detector": "ddm", "models": ["fraud"]}, MODELS),
        ({"by": [["a"], ["b"], ["a", "b"]], "where": {"c": "x"}, "models": ["fraud"]}, MODELS),
        ({"every": "1m", "models": ["fraud"]}, MODELS),
        ({"every": {"length": "1m", "stat": "share"}, "models": ["fraud"]}, MODELS),
        ({"every": {"length": "1m", "stat": "count"}, "signal": "feature", "of": "all"}, MODELS),
    ],
)
def test_a_monitor_that_can_work_is_none(monitor: dict[str, Any], models: dict[str, Any]) -> None:
    assert conflicts(monitor, models=models) == []


def test_a_senseless_signal_says_for_which_models_it_would_make_sense() -> None:
    texts = [what for _, what in conflicts({"signal": "error"}, models=MODELS)]
    assert len(texts) == 1
    assert texts[0].endswith("(models: [fraud, topic])")


def test_a_detector_that_cannot_read_the_signal_says_which_can() -> None:
    ((_, what),) = conflicts({"signal": "feature:amount", "detector": "ddm"})
    able = what.partition("these read it: ")[2].rstrip(")").split(", ")
    assert "adwin" in able
    assert "ddm" not in able
    for name in able:
        assert conflicts({"signal": "feature:amount", "detector": name}) == []


@pytest.mark.parametrize(
    ("read", "monitor", "loc", "what"),
    [
        (
            {"label": None},
            {"signal": "error"},
            "signal",
            "error reads `label`, and no input says where it stands",
        ),
        ({"prediction": None}, {"signal": "error"}, "signal", "error reads `prediction`, and no input says"),
        ({"score": None}, {"signal": "score"}, "signal", "score reads `score`, and no input says"),
        (
            {"latency_ms": None},
            {"signal": "latency_ms"},
            "signal",
            "latency_ms reads `latency_ms`, and no input",
        ),
        ({"features": None}, {"signal": "feature:a"}, "signal", "reads features, and no input says where"),
        (
            {"features": None},
            {"signal": "missing", "of": "all"},
            "signal",
            "reads features, and no input says",
        ),
        ({"features": None}, {"where": {"a": 1}}, "where", "reads features, and no input says where"),
        ({"features": None}, {"by": [["a"]]}, "by", "reads features, and no input says where"),
    ],
)
def test_a_monitor_that_could_never_read_anything_is_a_conflict(
    read: dict[str, Any], monitor: dict[str, Any], loc: str, what: str
) -> None:
    ((place, text),) = conflicts(monitor, inputs=[{"topics": ["p"], "read": read}])
    assert place == f"monitors.0.{loc}"
    assert text.startswith(what)
    two = [{"topics": ["p"], "read": read}, {"topics": ["q"]}]
    assert conflicts(monitor, inputs=two) == []


@pytest.mark.parametrize(
    ("monitor", "what"),
    [
        ({"signal": "score", "detector": "kswin"}, "kswin takes about 300 us a value"),
        (
            {"detector": {"eddm": {"warm_start": 30, "beta": 0.9}}},
            "with these settings eddm alarms on most streams whose error rate never changes",
        ),
        (
            {"signal": "feature:a", "detector": {"page_hinkley": {"scale": "none"}}},
            "with scale: none the threshold is in the units of the signal",
        ),
    ],
)
def test_what_costs_is_a_warning(monitor: dict[str, Any], what: str) -> None:
    ((place, text),) = [(p.where, p.what) for p in lint.lint(config(monitor))]
    assert place == "monitors.0.detector"
    assert text.startswith(what)


def test_a_password_in_the_clear_is_a_warning() -> None:
    kafka = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "u",
        "sasl_password": "p",
    }
    assert [p.where for p in lint.lint(config(kafka=kafka))] == ["kafka.security_protocol"]
    assert lint.lint(config(kafka={**kafka, "sasl_mechanism": "SCRAM-SHA-256"})) == []


def test_one_model_in_all_partitions_is_a_warning_if_each_is_a_task() -> None:
    inputs = [{"topics": ["p"], "read": {"model": {"const": "fraud"}}}]
    found = lint.lint(config(inputs=inputs, tasks="per_partition"))
    assert [p.where for p in found] == ["inputs.0.read.model"]
    assert lint.lint(config(inputs=inputs)) == lint.lint(config(tasks="per_partition")) == []


def test_usual_monitors_give_no_warning() -> None:
    usual = [
        {"signal": "score"},
        {"detector": "ddm"},
        {"detector": "eddm"},
        {"detector": {"eddm": {"warm_start": 30}}},
        {"detector": {"eddm": {"beta": 0.9}}},
        {"signal": "feature:a"},
        {"signal": "feature:a", "detector": "page_hinkley"},
        {"signal": "score", "detector": {"page_hinkley": {"scale": "none"}}},
    ]
    assert lint.lint(config(*usual)) == []


def test_two_windows_of_one_name_are_a_conflict() -> None:
    said = {"name": "night", "weekly": {"from": "22:00", "to": "04:00"}}
    assert conflicts(windows=[said, said]) == [
        ("windows.1.name", "another window is named night (muted alerts say the name of their window)")
    ]


LABELS = {"topics": ["l"], "kind": "labels"}
LATE = {"m": {"labels": {"wait": "7d"}}}


@pytest.mark.parametrize(
    ("more", "loc", "what"),
    [
        ({"inputs": [LABELS], "models": LATE}, "inputs", "no input has predictions"),
        ({"inputs": [{"topics": ["p"]}, LABELS]}, "inputs.1.kind", "no model in `models` waits for labels"),
        (
            {"inputs": [{"topics": ["p"], "read": {"id": None}}, LABELS], "models": LATE},
            "inputs.0.read.id",
            "late labels are joined by the id",
        ),
        (
            {"inputs": [{"topics": ["p"]}, {**LABELS, "read": {"label": None}}], "models": LATE},
            "inputs.1.read.label",
            "null says that there is none",
        ),
        (
            {"inputs": [{"topics": ["p"], "read": {"label": None}}], "models": LATE},
            "models.m.labels",
            "no input brings labels",
        ),
        ({"inputs": [{"topics": ["p"]}, {"topics": ["p"]}]}, "inputs.1.topics", "told apart by `only`"),
    ],
)
def test_late_labels_have_a_source_an_id_and_somebody_who_waits(more: Any, loc: str, what: str) -> None:
    assert [(where, what in text) for where, text in conflicts(**more) if where == loc] == [(loc, True)]


def test_one_topic_may_hold_predictions_and_labels_that_a_field_tells_apart() -> None:
    both = [
        {"topics": ["p"], "only": {"field": "type", "is": "prediction"}},
        {"topics": ["p"], "kind": "labels", "only": {"field": {"header": "type"}, "is": ["label"]}},
    ]
    assert conflicts(inputs=both, models=LATE) == []
