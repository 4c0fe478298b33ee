"""When a detection becomes an alert: pure decisions, each returning its reason.

Two things stand or do not stand for a watched signal, each with its own alerts: its *drift* and its *blindness*.
What was last said is part of the standing, so a decision needs nothing but (policy, standing, what happened, now).
Times are stream time in seconds.

Rules for a detection, the first that fits decides:

    1  the direction is not watched                                        nothing, "other direction"
    2  the change is smaller than `ignore_below`                           nothing, "small"
    3  nothing stands                                                      firing, "first"
    4  at most half of the change last said is left                        firing, "improved"
    5  the level went to the other side of where it was before             firing, "turned"
    6  the change grew to one and a half times what was last said          firing, "worse"
    7  otherwise it is the change that was said already                    nothing, "known"

Rules for time passing, while something stands:

    8  no detection for `settle_after`, and enough values to detect one    settled, "quiet"; nothing stands
    9  nothing was said for `repeat_every`                                 firing, "reminder"

Rules for a look at the usable values:

    10  too many values were unusable                                      blind, "unusable values"
    11  no value came at all                                               blind, "no values"
    12  a whole look was good, and it has seen enough to alarm             seeing, "usable again"; nothing stands
    13  blind, nothing was said for `repeat_every`                         blind, "reminder"

Rules for a detector that has not seen enough to alarm when `warm_in` is over:

    14  it is not blind already                                            blind, "warm-up"
    15  its values were unusable or stayed away, and a whole look is good  blind, "warm-up"
    16  it has seen enough, and its values are usable                      seeing, "warmed up"; nothing stands

Rules for silences and windows that mute, while something stands:

    17  what was said last is not marked, and now it would be              said again, "silenced"
    18  what was said last is marked, and now it would not be              said again, "unsilenced"

Where windows or a pause let a detector skip, the time that they cover does not count as quiet (rule 8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from streamwatch.alerts import Severity, State
from streamwatch.detectors.base import Detection, Level, Watched
from streamwatch.units import Seconds, Share

Reason = Literal[
    "first", "improved", "turned", "worse", "reminder", "quiet",
    "unusable values", "no values", "usable again", "warm-up", "warmed up",
    "silenced", "unsilenced",
    "silent", "heard again", "few labels", "labels again", "label buffer full", "room again",
    "partition stalled", "partition moves", "records lost", "reads on", "lag", "caught up",
    "key in two partitions", "key in one partition",
    "retired", "evicted", "removed", "accepted",
    "other direction", "small", "known",
]  # fmt: skip

COLD = float("inf")
IMPROVED = 0.5
WORSE = 1.5


class BlindLimit(BaseModel):
    """When a monitor says that it cannot see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unusable: Share = Field(0.05, description="share of unusable values above which the monitor is blind")
    of_last: int = Field(100, ge=1, le=1_000_000, description="the number of expected values in one look")
    none_in: int = Field(1000, ge=1, description="so many expected values in a row that are missing: blind")


class Policy(BaseModel):
    """Severity, direction, repeating and recovery of a monitor's alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity = Field("warning", description="of the firing alert; the router decides what pages")
    direction: Watched = Field("both", description="which changes are alerts: up, down or both")
    repeat_every: Seconds = Field(
        14400.0, description="an open alert is written again this often; 0s = never"
    )
    settle_after: Seconds = Field(
        3600.0,
        gt=0,
        description="no detection for this long (stream time), and enough values to detect one = settled",
    )
    ignore_below: float | str = Field(
        0.0, description="smaller changes are no alerts: in units of the signal, or 10% of the level before"
    )
    blind: BlindLimit = Field(default_factory=BlindLimit, description="when unusable values make it blind")
    warm_in: Seconds = Field(
        86400.0,
        description="blind if its detector has not seen enough to alarm so long after a model's first event (of what "
        "comes later, after it could be there); not of slices; 0s = never",
    )
    owner: str | None = Field(None, description="who is responsible")
    runbook: str | None = Field(None, description="a link for whoever is called")
    tags: dict[str, str] = Field(default_factory=dict, description="copied to every alert")

    @field_validator("ignore_below", mode="before")
    @classmethod
    def _amount(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        elif isinstance(value, str) and value.strip().endswith("%"):
            try:
                number = float(value.strip()[:-1])
            except ValueError:
                number = -1.0
        else:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise ValueError(f"expected a number from 0 up, or a percentage like 10%, got {value!r}")
        return value

    def ignored_below(self, before: float) -> float:
        """The smallest change worth an alert, in units of the signal, at the level `before`."""
        if isinstance(self.ignore_below, str):
            return float(self.ignore_below.strip()[:-1]) / 100.0 * abs(before)
        return self.ignore_below


@dataclass(frozen=True, slots=True)
class Drift:
    """An open drift: the level before it began, the level last said, since when (the onset that the first detection
    estimated), and when things were last said or seen. `warm_s`: when the detector had read as many values since the
    last detection as it needs before it can detect anything; infinite before."""

    before: Level
    said: Level
    since_s: float
    said_s: float
    detected_s: float
    warm_s: float = COLD


@dataclass(frozen=True, slots=True)
class Blindness:
    """An open blindness. `cold`: what was said of it is that the detector has not seen enough, and not its values."""

    since_s: float
    said_s: float
    cold: bool = False


class Decision(NamedTuple):
    """`state` None: nothing is written. `time_s`: the time that the alert carries."""

    state: State | None
    reason: Reason
    time_s: float


class Look(NamedTuple):
    """Usable values, looked at: of `of` expected values `unusable` could not be used; `none` = no value came."""

    good: bool
    unusable: int
    of: int
    none: bool


class Rested(NamedTuple):
    """A detector has read as many values since its last detection as it needs before it can detect anything."""


class Warmth(NamedTuple):
    """A detector has read `seen` values since it began; it needs at least `need` before it can alarm."""

    seen: int
    need: int


def on_detection(
    policy: Policy, drift: Drift | None, found: Detection, now_s: float
) -> tuple[Decision, Drift | None]:
    """Rules 1 to 7."""
    change = found.after.mean - found.before.mean
    if policy.direction not in ("both", found.direction):
        return Decision(None, "other direction", now_s), _cold(drift)
    if abs(change) < policy.ignored_below(found.before.mean):
        return Decision(None, "small", now_s), _cold(drift)
    if drift is None:
        begun = Drift(found.before, found.after, found.onset_time_s, now_s, now_s)
        return Decision("firing", "first", now_s), begun
    said = drift.said.mean - drift.before.mean
    left = found.after.mean - drift.before.mean
    reason: Reason
    if abs(left) <= IMPROVED * abs(said):
        reason = "improved"
    elif left * said < 0:
        reason = "turned"
    elif abs(left) >= WORSE * abs(said):
        reason = "worse"
    else:
        return Decision(None, "known", now_s), replace(drift, detected_s=now_s, warm_s=COLD)
    after = replace(drift, said=found.after, said_s=now_s, detected_s=now_s, warm_s=COLD)
    return Decision("firing", reason, now_s), after


def _cold(drift: Drift | None) -> Drift | None:
    """After a detection that is none to speak of the detector begins anew all the same."""
    return None if drift is None else replace(drift, warm_s=COLD)


def drift_due_s(policy: Policy, drift: Drift, settle_s: float) -> float:
    """The stream time at which `on_time` next has something to say."""
    if policy.repeat_every == 0:
        return settle_s
    return min(settle_s, drift.said_s + policy.repeat_every)


def on_time(
    policy: Policy, drift: Drift, settle_s: float, now_s: float
) -> tuple[Decision | None, Drift | None]:
    """Rules 8 and 9. `settle_s`: when `settle_after` has passed since the last detection, not counting times that
    were skipped, and enough values have come. The alert's time is when it was due, not when that was noticed; of
    several reminders that are due at once (stream time jumped) only the last is written."""
    if now_s >= settle_s:
        return Decision("settled", "quiet", settle_s), None
    said_s = _reminder_s(policy, drift.said_s, now_s)
    if said_s is None:
        return None, drift
    return Decision("firing", "reminder", said_s), replace(drift, said_s=said_s)


def on_look(
    blindness: Blindness | None, look: Look, now_s: float, cold: bool = False
) -> tuple[Decision | None, Blindness | None]:
    """Rules 10 to 12 and 15. `cold`: its `warm_in` is over, and it has not seen enough."""
    if not look.good and (blindness is None or blindness.cold):
        reason: Reason = "no values" if look.none else "unusable values"
        since_s = now_s if blindness is None else blindness.since_s
        return Decision("blind", reason, now_s), Blindness(since_s, now_s)
    if look.good and blindness is not None and not blindness.cold:
        if cold:
            return Decision("blind", "warm-up", now_s), replace(blindness, said_s=now_s, cold=True)
        return Decision("seeing", "usable again", now_s), None
    return None, blindness


def on_cold(blindness: Blindness | None, now_s: float) -> tuple[Decision | None, Blindness | None]:
    """Rule 14: `warm_in` is over."""
    if blindness is not None:
        return None, blindness
    return Decision("blind", "warm-up", now_s), Blindness(now_s, now_s, cold=True)


def on_warm(blindness: Blindness | None, now_s: float) -> tuple[Decision | None, Blindness | None]:
    """Rule 16."""
    if blindness is None or not blindness.cold:
        return None, blindness
    return Decision("seeing", "warmed up", now_s), None


def blind_due_s(policy: Policy, blindness: Blindness) -> float:
    return blindness.said_s + policy.repeat_every if policy.repeat_every else float("inf")


def on_time_blind(
    policy: Policy, blindness: Blindness, now_s: float
) -> tuple[Decision | None, Blindness | None]:
    """Rule 13."""
    said_s = _reminder_s(policy, blindness.said_s, now_s)
    if said_s is None:
        return None, blindness
    return Decision("blind", "reminder", said_s), replace(blindness, said_s=said_s)


def on_mute(state: State, silenced: bool, muted: bool, now_s: float) -> Decision | None:
    """Rules 17 and 18: `silenced` is what was said last, `muted` what is true."""
    if silenced == muted:
        return None
    return Decision(state, "silenced" if muted else "unsilenced", now_s)


def _reminder_s(policy: Policy, said_s: float, now_s: float) -> float | None:
    if policy.repeat_every == 0 or now_s < said_s + policy.repeat_every:
        return None
    # At least one period: the quotient may round down to 0 although one has passed, and would be due for ever.
    periods = max(1, int((now_s - said_s) // policy.repeat_every))
    return said_s + periods * policy.repeat_every


def is_open(state: State) -> bool:
    """Whether somebody still has to care. Without a reference, settled closes (DESIGN: alert life)."""
    return state in ("firing", "blind")
