"""When a detection becomes an alert: a pure decision that returns its reason."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from streamwatch.alerts import Severity
from streamwatch.detectors.base import Watched
from streamwatch.units import Seconds, Share


class BlindLimit(BaseModel):
    """When a monitor says that it cannot see: over `of_last` expected values, more than `unusable` were unusable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unusable: Share = Field(0.05, description="share of unusable values above which the monitor is blind")
    of_last: int = Field(100, ge=1, le=1_000_000, description="values expected in one look")


class Policy(BaseModel):
    """Severity, direction, repeating and recovery of a monitor's alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity = Field("warning", description="of the firing alert; the router decides what pages")
    direction: Watched = Field("both", description="which changes are alerts: up, down or both")
    repeat_every: Seconds = Field(14400.0, description="an open alert is written again this often; 0 = never")
    settle_after: Seconds = Field(3600.0, description="quiet for this long (stream time) = settled")
    ignore_below: float | str = Field(
        0.0, description="changes smaller than this are no alerts: in units of the signal, or 10% of the level before"
    )
    blind: BlindLimit = Field(default_factory=BlindLimit, description="when unusable values make it blind")
    owner: str | None = Field(None, description="who is responsible")
    runbook: str | None = Field(None, description="a link for whoever is called")
    tags: dict[str, str] = Field(default_factory=dict, description="copied to every alert")

    @field_validator("ignore_below")
    @classmethod
    def _amount(cls, value: float | str) -> float | str:
        if isinstance(value, str):
            if not value.strip().endswith("%"):
                raise ValueError(f"expected a number or a percentage like 10%, got {value!r}")
            number = float(value.strip()[:-1])
        else:
            number = value
        if not number >= 0:
            raise ValueError(f"expected 0 or more, got {value!r}")
        return value


Reason = Literal["first", "reminder", "worse", "improved", "turned", "quiet", "retired", "evicted", "removed"]
