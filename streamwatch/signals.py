"""Signals: one number read from an event, or nothing. Each says what it needs and how it reads a whole batch.

A signal reads a batch once, before grouping (`Signal.read`); the engine then takes the rows of one stream key.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamwatch.events import Events, Needs
from streamwatch.series import Kind, Reading

SignalKind = Literal[
    "score", "prediction", "error", "absolute_error", "relative_error", "residual", "log_loss", "brier",
    "latency_ms", "feature", "missing", "category", "precision", "recall", "positive_rate", "label_rate",
]  # fmt: skip
Task = Literal["binary", "multiclass", "regression"]


class ModelSpec(BaseModel):
    """What is known of a model: its task decides which signals make sense."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = Field("binary", description="what the model predicts")
    positive: str | int | float | bool = Field(1, description="the positive class of a binary task")


class Signal(BaseModel):
    """`score`, `error`, `feature:amount`, `missing:amount`, `category:country=DE`; a mapping with the same parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SignalKind
    name: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        raise NotImplementedError

    @property
    def of_labels(self) -> bool:
        """Whether it needs ground truth."""
        raise NotImplementedError

    @property
    def per(self) -> Literal["model", "version"]:
        """The default of a monitor's `per` (DESIGN 6)."""
        raise NotImplementedError

    def needs(self) -> Needs:
        raise NotImplementedError

    def value_kind(self, spec: ModelSpec) -> Kind:
        """ValueError if the signal makes no sense for the task; the text says which tasks have it."""
        raise NotImplementedError

    def read(self, events: Events, spec: ModelSpec) -> Reading:
        raise NotImplementedError


class Where(BaseModel):
    """Which events a monitor reads, by features: `{country: DE}`, `{country: [DE, AT]}`, `{amount: {min: 100}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
