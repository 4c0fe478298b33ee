"""Signals: one number read from an event, or nothing. Each says what it needs and how it reads a whole batch.

A signal reads a batch once, before grouping (`Signal.read`); the engine then takes the rows of one stream
key. Signals of scores, predictions, latency and features expect a value on every row (`observed`), signals of
labels on every labelled row, `precision` and `recall` on the rows that fulfil their condition
(`performance`). When two classes are the same is said in `classes`, what a category is in `categories`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from streamwatch import observed, performance
from streamwatch.categories import segment_values, text
from streamwatch.events import Events, Needs
from streamwatch.labels import LabelsSpec
from streamwatch.series import Kind, Reading
from streamwatch.units import Seconds
from streamwatch.where import Where

__all__ = ["ModelSpec", "Signal", "SignalKind", "Task", "Where", "segment_values"]

SignalKind = Literal[
    "score", "prediction", "error", "absolute_error", "relative_error", "residual", "log_loss", "brier",
    "latency_ms", "feature", "missing", "category", "precision", "recall", "positive_rate", "label_rate",
]  # fmt: skip
Task = Literal["binary", "multiclass", "regression"]


class ModelSpec(BaseModel):
    """What is known of a model: its task decides which signals make sense."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = Field("binary", description="what the model predicts")
    positive: str | int | float | bool = Field(
        1,
        description="the positive class of a binary task; 1, 1.0 and true are the same, the text '1' is not",
    )
    silence: Seconds | None = Field(
        None, description="without events for so long it is blind; default: sight.silence"
    )
    labels: LabelsSpec | None = Field(
        None,
        description="how labels come later than their predictions; without it only labels in the events count",
    )

    @field_validator("positive")
    @classmethod
    def _a_class(cls, value: str | float | bool) -> str | float | bool:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected a class that an event can name, got {value!r}")
        return value


class Signal(BaseModel):
    """`score`, `error`, `feature:amount`, `missing:amount`, `category:country=DE`, or a mapping of the parts.

    All after the first colon is the name of the feature, as it stands. In `category:` the first `=` ends the
    name; a name that has one itself writes it `\\=` (and a backslash `\\\\`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SignalKind = Field(description="what is read")
    name: str | None = Field(
        default=None, min_length=1, description="the feature, for feature, missing and category"
    )
    value: str | None = Field(default=None, description="the category whose share is watched, for category")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if isinstance(given, str):
            return _parts(given)
        if isinstance(given, dict) and len(given) == 1 and given.keys() <= set(get_args(SignalKind)):
            ((kind, name),) = given.items()
            raise ValueError(
                f"expected {kind}:{name} (no blank after the colon) or {{kind: {kind}, name: {name}}}"
            )
        if isinstance(given, dict | Signal):
            return given
        raise ValueError(f"expected a text like error or feature:amount, or a mapping, got {given!r}")

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        if kind not in get_args(SignalKind):
            raise ValueError(_unknown(kind))
        return kind

    @field_validator("value", mode="before")
    @classmethod
    def _category(cls, value: Any) -> Any:
        if value is not None and text(value) is None:
            raise ValueError(f"expected a text, a number, true or false, got {value!r}")
        return text(value)

    @model_validator(mode="after")
    def _whole(self) -> Signal:
        if self.kind == "category":
            if self.name is None or self.value is None:
                raise ValueError("category needs a feature and a value: category:NAME=VALUE")
        elif self.value is not None:
            raise ValueError(
                f"{self.kind} has no value, got {self.value!r}; meant category:{self.name}={self.value}?"
            )
        elif self.name is not None and self.kind not in ("feature", "missing"):
            raise ValueError(
                f"{self.kind} is not about one feature, got the name {self.name!r}; write {self.kind}"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler(core)
        if handler.mode == "serialization":
            return mapping
        plain = "|".join(kind for kind in get_args(SignalKind) if kind != "category")
        short = {
            "type": "string",
            "pattern": rf"^({plain}|(feature|missing):[\s\S]+|category:[\s\S]+=[\s\S]*)$",
            "examples": ["error", "feature:amount", "missing:amount", "category:country=DE"],
        }
        return {"anyOf": [short, mapping]}

    def __str__(self) -> str:
        if self.name is None:
            return self.kind
        if self.value is None:
            return f"{self.kind}:{self.name}"
        name = self.name.replace("\\", "\\\\").replace("=", "\\=")
        return f"{self.kind}:{name}={self.value}"

    def named(self, name: str) -> Signal:
        """The signal of one feature, from `feature` or `missing` as `of: all` uses them."""
        return Signal(kind=self.kind, name=name)

    @property
    def of_labels(self) -> bool:
        """Whether it needs ground truth."""
        return "label" in _TRAITS[self.kind].fields

    @property
    def per(self) -> Literal["model", "version"]:
        """The default of a monitor's `per`. Scores, predictions and latency change with the version. Inputs
        do not, and labels come so late that a monitor of one version's performance would hardly warm up."""
        return "version" if self.kind in _OF_VERSION else "model"

    def needs(self) -> Needs:
        """What it reads; `feature` and `missing` without a name read all features."""
        if self.kind in _OF_FEATURES:
            return Needs(all_features=True) if self.name is None else Needs(features=frozenset({self.name}))
        return Needs(fields=frozenset(_TRAITS[self.kind].fields))

    def value_kind(self, spec: ModelSpec) -> Kind:
        """ValueError if the signal makes no sense for the task; the text says which tasks have it."""
        trait = _TRAITS[self.kind]
        if spec.task not in trait.tasks:
            only = " and ".join(task for task in get_args(Task) if task in trait.tasks)
            why = f": {trait.why}" if trait.why else ""
            raise ValueError(f"a {spec.task} model has no signal {self}, only {only} models have it{why}")
        if self.kind == "score" and spec.task == "regression":
            return "real"
        return trait.values

    def read(self, events: Events, spec: ModelSpec) -> Reading:
        """All n rows at once. ValueError as in `value_kind`, or if the feature is not named."""
        kind = self.value_kind(spec)
        trait = _TRAITS[self.kind]
        if self.kind not in _OF_FEATURES:
            columns = [events.fields[field] for field in trait.fields]
        elif self.name is None:
            raise ValueError(f"{self.kind} without a name cannot be read: name the feature, or use `of: all`")
        else:
            columns = [events.feature(self.name)]
        if trait.tasks == _BINARY:
            return trait.read(*columns, spec.positive)
        if self.kind == "category":
            return trait.read(*columns, self.value)
        if self.kind == "score":
            return trait.read(*columns, kind)
        return trait.read(*columns)


def _unknown(kind: Any) -> str:
    kinds = get_args(SignalKind)
    close = difflib.get_close_matches(str(kind), kinds, n=1)
    return (
        f"there is no signal {kind!r}, {f'did you mean {close[0]}?' if close else 'only ' + ', '.join(kinds)}"
    )


def _parts(short: str) -> dict[str, str | None]:
    kind, colon, rest = short.partition(":")
    if not colon:
        return {"kind": kind.strip()}
    kind = kind.strip()
    if not rest:
        raise ValueError(f"expected the name of a feature after the colon, got {short!r}")
    if kind != "category":
        return {"kind": kind, "name": rest}
    found = re.fullmatch(r"((?:[^=\\]|\\.)+)=(.*)", rest, re.DOTALL)
    if found is None:
        raise ValueError(f"expected category:NAME=VALUE, got {short!r}")
    return {"kind": kind, "name": re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL), "value": found[2]}


@dataclass(frozen=True, slots=True)
class _Trait:
    """What is true of one kind of signal.

    values   the kind of its values
    read     from the columns of `fields` (or of the feature) to a reading; a signal that only binary models
             have gets their positive class after the columns
    tasks    that have it; `why` the others do not
    """

    values: Kind
    read: Callable[..., Reading]
    fields: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = get_args(Task)
    why: str = ""


_OF_FEATURES = ("feature", "missing", "category")
_OF_VERSION = ("score", "prediction", "latency_ms", "positive_rate")

_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_BINARY: tuple[Task, ...] = ("binary",)
_AMOUNTS: tuple[Task, ...] = ("regression",)
_JUDGED = ("prediction", "label")
_SCORED = ("score", "label")

_POSITIVE = "it asks for the one positive class"
_TRUE = "it needs the probability of the class that came true"
_DISTANCE = "classes are equal or not, see error"

_TRAITS: dict[str, _Trait] = {
    "score": _Trait("unit", observed.number, ("score",)),
    "prediction": _Trait("real", observed.number, ("prediction",)),
    "latency_ms": _Trait("real", observed.latency, ("latency_ms",)),
    "positive_rate": _Trait("binary", observed.positive_rate, ("prediction",), _BINARY, _POSITIVE),
    "feature": _Trait("real", observed.number),
    "missing": _Trait("binary", observed.missing),
    "category": _Trait("binary", observed.category),
    "error": _Trait(
        "binary", performance.error, _JUDGED, _CLASSES, "amounts are more or less off, see absolute_error"
    ),
    "absolute_error": _Trait("real", performance.absolute_error, _JUDGED, _AMOUNTS, _DISTANCE),
    "relative_error": _Trait("real", performance.relative_error, _JUDGED, _AMOUNTS, _DISTANCE),
    "residual": _Trait("real", performance.residual, _JUDGED, _AMOUNTS, _DISTANCE),
    "log_loss": _Trait("real", performance.log_loss, _SCORED, _BINARY, _TRUE),
    "brier": _Trait("unit", performance.brier, _SCORED, _BINARY, _TRUE),
    "precision": _Trait("binary", performance.precision, _JUDGED, _BINARY, _POSITIVE),
    "recall": _Trait("binary", performance.recall, _JUDGED, _BINARY, _POSITIVE),
    "label_rate": _Trait("binary", performance.label_rate, ("label",), _BINARY, _POSITIVE),
}
