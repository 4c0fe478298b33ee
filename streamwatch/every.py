"""What of each bucket of time a detector reads, as the config says it. `buckets` does it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from streamwatch.series import Kind
from streamwatch.units import Seconds, duration

Stat = Literal["mean", "share", "count"]
MOST = 100  # lengths that a bucket may wait for late values: so many are open at once, and stand in the state


class Every(BaseModel):
    """Values are brought together in buckets of time before the detector reads them: `1m`, or a mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_version: ClassVar[int] = 1

    length: Seconds = Field(description="of a bucket, 1s or more; buckets are aligned to the epoch")
    stat: Stat = Field(
        "mean",
        description="what of a bucket the detector reads: the mean of its values, the share of ones (of signals that "
        "are 0 or 1), or the count of values",
    )
    late: Seconds = Field(
        10.0, description="how long after its end a bucket waits for values; later ones cannot be used"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if isinstance(given, dict | Every):
            return given
        return {"length": given}

    @field_validator("length")
    @classmethod
    def _long_enough(cls, length: float) -> float:
        if length < 1.0:
            raise ValueError(f"expected 1s or more, got {duration(length)}")
        return length

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.late > MOST * self.length:
            raise ValueError(
                f"late may be at most {MOST} times the length, {duration(MOST * self.length)}, "
                f"got {duration(self.late)}"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler(core)
        if handler.mode == "serialization":
            return mapping
        return {"anyOf": [handler.resolve_ref_schema(mapping)["properties"]["length"], mapping]}

    @property
    def meaning(self) -> list[Any]:
        """What gives the numbers that the detector reads their meaning: `late` may change and they go on."""
        return [self.state_version, self.length, self.stat]

    def __str__(self) -> str:
        return f"{self.stat} per {duration(self.length)}"

    def kind(self, kind: Kind) -> Kind:
        """Of what a detector reads, of a signal whose values are of `kind`. ValueError if there is none."""
        if self.stat == "count":
            return "real"
        if kind == "codes" or (self.stat == "share" and kind != "binary"):
            raise ValueError(
                f"there is no {self.stat} of values that are not 0 or 1: count, or mean of numbers"
            )
        return "real" if kind == "real" else "unit"
