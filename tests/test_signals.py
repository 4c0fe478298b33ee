"""Signals as a config writes them, what they need, and that how a column is cut never changes what is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from streamwatch.events import Events, Needs
from streamwatch.series import Reading
from streamwatch.signals import ModelSpec, Signal, SignalKind, Task

KINDS = get_args(SignalKind)
TASKS = get_args(Task)
SHORT = ["category:x=a" if k == "category" else f"{k}:x" if k in ("feature", "missing") else k for k in KINDS]
PAIRS = [
    (short, task)
    for short in SHORT
    for task in TASKS
    if not (
        (
            task != "binary"
            and short in ("log_loss", "brier", "precision", "recall", "positive_rate", "label_rate")
        )
        or (task == "regression" and short == "error")
        or (task != "regression" and short in ("absolute_error", "relative_error", "residual"))
    )
]


def signal(form: Any) -> Signal:
    return Signal.model_validate(form)


def events(**columns: Sequence[Any]) -> Events:
    """Events with the four fields and the feature x; a column that is not given is all None."""
    n = max((len(column) for column in columns.values()), default=0)
    whole = {
        name: columns.get(name, [None] * n) for name in ("prediction", "score", "label", "latency_ms", "x")
    }
    x = whole.pop("x")
    nobody: list[str | None] = [None] * n
    return Events(np.arange(n), np.arange(n, dtype=np.float64), nobody, ["m"] * n, nobody, whole, {"x": x})


def problem(form: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        signal(form)
    return "; ".join(error["msg"] for error in caught.value.errors())


# The forms of a signal


@pytest.mark.parametrize(
    ("short", "kind", "name", "value"),
    [
        ("error", "error", None, None),
        ("feature", "feature", None, None),
        ("feature:amount", "feature", "amount", None),
        ("feature:in.amount", "feature", "in.amount", None),
        ("feature:a:b=c", "feature", "a:b=c", None),
        ("feature: amount ", "feature", " amount ", None),
        ("missing:größe", "missing", "größe", None),
        ("category:country=DE", "category", "country", "DE"),
        ("category:country=", "category", "country", ""),
        ("category:url=a=b:c", "category", "url", "a=b:c"),
        (r"category:a\=b=c", "category", "a=b", "c"),
        (r"category:a\\=c\d", "category", "a\\", r"c\d"),
    ],
)
def test_the_short_form_is_read_and_given_back(
    short: str, kind: str, name: str | None, value: str | None
) -> None:
    read = signal(short)
    assert (read.kind, read.name, read.value) == (kind, name, value)
    assert str(read) == short


@given(
    st.sampled_from(["feature", "missing", "category"]),
    st.text(min_size=1),
    st.text(),
)
def test_two_signals_have_the_same_text_only_if_they_are_the_same(kind: str, name: str, value: str) -> None:
    """The text goes into alert ids and state, so reading it back must give the signal, whatever the names."""
    made = signal({"kind": kind, "name": name} | ({"value": value} if kind == "category" else {}))
    assert signal(str(made)) == made


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (1.0, "1"), (True, "true"), (0.5, "0.5"), ("DE", "DE")]
)
def test_a_category_in_the_mapping_form_may_be_a_number_or_a_truth(value: Any, text: str) -> None:
    assert signal({"kind": "category", "name": "plan", "value": value}).value == text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("eror", "no signal 'eror', did you mean error?"),
        ("lateny", "did you mean latency_ms?"),
        ("featur:amount", "did you mean feature?"),
        ({"kind": "misssing", "name": "x"}, "did you mean missing?"),
        ("nonsense", "no signal 'nonsense', only score, prediction, error"),
        ("feature:", "expected the name of a feature after the colon, got 'feature:'"),
        ("category", "category needs a feature and a value: category:NAME=VALUE"),
        ("category:x", "expected category:NAME=VALUE, got 'category:x'"),
        ("category:=x", "expected category:NAME=VALUE, got 'category:=x'"),
        ("score:x", "score is not about one feature, got the name 'x'; write score"),
        ({"kind": "feature", "name": "x", "value": "y"}, "meant category:x=y?"),
        (
            {"kind": "category", "name": "x", "value": [1]},
            "expected a text, a number, true or false, got [1]",
        ),
        ({"kind": "category", "name": "x", "value": float("nan")}, "true or false, got nan"),
        ({"kind": "feature", "name": ""}, "at least 1 character"),
        ({"feature": "x"}, "expected feature:x (no blank after the colon) or {kind: feature, name: x}"),
        (3, "expected a text like error or feature:amount, or a mapping, got 3"),
        ({"kind": "score", "nmae": "x"}, "Extra inputs"),
    ],
)
def test_a_wrong_form_says_what_was_expected_and_meant(form: Any, says: str) -> None:
    assert says in problem(form)


@pytest.mark.parametrize(
    "form", [*SHORT, {"kind": "feature", "name": "x"}, "feature", r"category:a\=b=", 3, "eror"]
)
def test_the_json_schema_takes_what_the_validator_takes(form: Any) -> None:
    class Part(BaseModel):
        signal: Signal

    schema = jsonschema.Draft202012Validator(Part.model_json_schema())
    try:
        Part.model_validate({"signal": form})
    except ValidationError:
        assert not schema.is_valid({"signal": form})
    else:
        schema.validate({"signal": form})


def test_named_turns_the_signal_of_all_features_into_that_of_one() -> None:
    assert signal("missing").named("amount") == signal("missing:amount")
    assert signal("feature").needs() == Needs(all_features=True)
    with pytest.raises(ValueError, match="feature without a name cannot be read"):
        signal("feature").read(events(x=[1]), ModelSpec())


# What a signal is


@pytest.mark.parametrize(
    ("short", "fields", "of_labels", "per"),
    [
        ("score", "score", False, "version"),
        ("prediction", "prediction", False, "version"),
        ("error", "prediction label", True, "model"),
        ("absolute_error", "prediction label", True, "model"),
        ("relative_error", "prediction label", True, "model"),
        ("residual", "prediction label", True, "model"),
        ("log_loss", "score label", True, "model"),
        ("brier", "score label", True, "model"),
        ("latency_ms", "latency_ms", False, "version"),
        ("feature:x", "", False, "model"),
        ("missing:x", "", False, "model"),
        ("category:x=a", "", False, "model"),
        ("precision", "prediction label", True, "model"),
        ("recall", "prediction label", True, "model"),
        ("positive_rate", "prediction", False, "version"),
        ("label_rate", "label", True, "model"),
    ],
)
def test_each_signal_says_what_it_reads_and_how_it_is_kept(
    short: str, fields: str, of_labels: bool, per: str
) -> None:
    made = signal(short)
    features = frozenset("x") if short.endswith((":x", "=a")) else frozenset()
    assert made.needs() == Needs(frozenset(fields.split()), features)
    assert (made.of_labels, made.per) == (of_labels, per)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("short", SHORT)
def test_a_signal_reads_models_of_its_tasks_and_refuses_the_others_by_name(short: str, task: Task) -> None:
    spec = ModelSpec(task=task)
    if (short, task) in PAIRS:
        assert signal(short).read(events(x=[]), spec).kind == signal(short).value_kind(spec)
        return
    for ask in (lambda: signal(short).value_kind(spec), lambda: signal(short).read(events(x=[1]), spec)):
        with pytest.raises(
            ValueError, match=f"a {task} model has no signal {short}, only .* models have it: "
        ):
            ask()


def test_the_score_of_a_class_is_a_share_and_of_a_regression_any_number() -> None:
    score = signal("score")
    column = events(score=[1.5, -0.1, 0.5])
    kinds = [score.value_kind(ModelSpec(task=task)) for task in TASKS]
    assert kinds == ["unit", "unit", "real"]
    assert score.read(column, ModelSpec()).unusable.tolist() == [True, True, False]
    assert score.read(column, ModelSpec(task="regression")).unusable.tolist() == [False, False, False]


def test_a_positive_class_that_no_event_can_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected a class that an event can name, got nan"):
        ModelSpec(positive=float("nan"))


# How a signal reads

ODD = st.sampled_from([
    None, 0, 1, 0.0, 1.0, -0.0, True, False, "0", "1", "a", "b", "", "true", 0.25, -3, 5e-324, 1.7e308, -1.7e308,
    float("nan"), float("inf"), -float("inf"), 10**400, 2**53, 2**53 + 1, [], [1], {}, {"a": 1},
])  # fmt: skip
TAME = st.one_of(
    st.lists(st.sampled_from([0, 1]), min_size=40, max_size=40),
    st.lists(st.floats(0, 1), min_size=40, max_size=40),
    st.lists(st.sampled_from(["a", "b", "1"]), min_size=40, max_size=40),
    st.lists(st.sampled_from([0, 1, None]), min_size=40, max_size=40),
    st.lists(st.sampled_from(["a", None]), min_size=40, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
)


@st.composite
def mixed(draw: st.DrawFn) -> Events:
    """Columns that are clean (the quick paths), or hold a few odd values, or nothing else."""
    columns: dict[str, list[Any]] = {}
    for name in ("prediction", "score", "label", "latency_ms", "x"):
        column = list(draw(TAME))
        for row in draw(st.lists(st.integers(0, 39), max_size=12)):
            column[row] = draw(ODD)
        columns[name] = column
    return events(**columns)


def cut(whole: Events, start: int, stop: int) -> Events:
    return events(
        **{name: column[start:stop] for name, column in whole.fields.items()},
        x=whole.features["x"][start:stop],
    )


def same(left: Reading, right: Sequence[Reading]) -> None:
    np.testing.assert_array_equal(left.values, np.concatenate([part.values for part in right]))
    np.testing.assert_array_equal(left.unusable, np.concatenate([part.unusable for part in right]))
    np.testing.assert_array_equal(left.expected, np.concatenate([part.expected for part in right]))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("short", "task"), PAIRS)
@settings(max_examples=8, deadline=None)
@given(whole=mixed(), at=st.integers(0, 40), positive=st.sampled_from([1, True, "1", "a"]))
def test_a_row_is_read_alike_alone_in_any_part_and_in_the_whole(
    short: str, task: Task, whole: Events, at: int, positive: Any
) -> None:
    spec = ModelSpec(task=task, positive=positive)
    made = signal(short)
    reading = made.read(whole, spec)
    same(reading, [made.read(cut(whole, 0, at), spec), made.read(cut(whole, at, 40), spec)])
    same(reading, [made.read(cut(whole, row, row + 1), spec) for row in range(40)])


@pytest.mark.parametrize(("short", "task"), PAIRS)
@settings(max_examples=8, deadline=None)
@given(whole=mixed())
def test_a_reading_keeps_the_promises_of_its_kind(short: str, task: Task, whole: Events) -> None:
    """No infinity; a value only where one is expected; unusable only where expected, and then without a value."""
    reading = signal(short).read(whole, ModelSpec(task=task))
    given_ = ~np.isnan(reading.values)
    values = reading.values[given_]
    assert np.isfinite(values).all()
    assert not (given_ & ~reading.expected).any()
    assert not (reading.unusable & (given_ | ~reading.expected)).any()
    if reading.kind == "binary":
        assert set(values.tolist()) <= {0.0, 1.0}
    elif reading.kind == "unit":
        assert ((values >= 0.0) & (values <= 1.0)).all()


@pytest.mark.parametrize(("short", "task"), PAIRS)
def test_reading_does_not_change_the_columns(short: str, task: Task) -> None:
    scores = np.array([0.5, np.nan, 2.0])
    whole = events(prediction=scores, score=scores, label=scores, latency_ms=scores, x=scores)
    signal(short).read(whole, ModelSpec(task=task))
    np.testing.assert_array_equal(scores, [0.5, np.nan, 2.0])
