"""Which events a monitor reads, by features: `{country: DE}`, `{country: [DE, AT]}`, `{amount: {min: 100}}`.

All conditions must hold. Values are compared as categories (see `categories`): 1, 1.0 and "1" are the same,
and true is another. A missing value fulfils nothing but `not`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    RootModel,
    Tag,
    model_validator,
)

from streamwatch.categories import text, texts
from streamwatch.events import Events, Needs
from streamwatch.series import Bools, floats


def _known(value: Any) -> Any:
    if text(value) is None:
        raise ValueError(f"expected a text, a number, true or false, got {value!r}")
    return value


Value = Annotated[str | bool | int | float, BeforeValidator(_known)]
Values = Annotated[tuple[Value, ...], Field(min_length=1)]


class Range(BaseModel):
    """Numbers from `min` to `max`, both included. What is no number does not match."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: FiniteFloat | None = Field(None, description="the feature is a number from this one up")
    max: FiniteFloat | None = Field(None, description="the feature is a number up to this one")

    @model_validator(mode="after")
    def _bounds(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no number matches")
        return self

    def rows(self, column: Sequence[Any]) -> Bools:
        values, _ = floats(column)
        low = -np.inf if self.min is None else self.min
        high = np.inf if self.max is None else self.max
        return (values >= low) & (values <= high)


def _one_or_many(value: Any) -> str | None:
    return "list" if isinstance(value, list | tuple) else "value"


class Not(BaseModel):
    """Every other value than these; a missing value too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_: Annotated[
        Annotated[Value, Tag("value")] | Annotated[Values, Tag("list")], Discriminator(_one_or_many)
    ] = Field(alias="not", description="the feature is none of these values, or missing")


def _form(value: Any) -> str | None:
    if isinstance(value, Not) or (isinstance(value, dict) and "not" in value):
        return "not"
    if isinstance(value, Range | dict):
        return "range"
    return None if value is None else _one_or_many(value)


Condition = Annotated[
    Annotated[Value, Tag("value")]
    | Annotated[Values, Tag("list")]
    | Annotated[Range, Tag("range")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _form,
        custom_error_type="condition",
        custom_error_message="expected a value, a list of values, {min: 1, max: 2} or {not: 1}, got nothing",
    ),
]


class Where(RootModel[Annotated[dict[str, Condition], Field(min_length=1)]]):
    """Which events a monitor reads: by feature a value, a list of values, `{min, max}` or `{not: ...}`."""

    model_config = ConfigDict(frozen=True)

    def needs(self) -> Needs:
        return Needs(features=frozenset(self.root))

    def rows(self, events: Events) -> Bools:
        """(n,) bool: the events that fulfil every condition."""
        match: Bools = np.ones(len(events), dtype=bool)
        for name, condition in self.root.items():
            column = events.feature(name)
            if isinstance(condition, Range):
                match &= condition.rows(column)
            elif isinstance(condition, Not):
                match &= ~_among(column, condition.not_)
            else:
                match &= _among(column, condition)
        return match


def _among(column: Sequence[Any], values: Value | tuple[Value, ...]) -> Bools:
    wanted = {text(value) for value in (values if isinstance(values, tuple) else (values,))}
    said, _ = texts(column)
    return np.fromiter(map(wanted.__contains__, said), dtype=bool, count=len(column))
