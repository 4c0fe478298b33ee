"""What keeps more than one monitor from seeing: a model without events, labels that stay away, an input that stalls.

Each is one `blind` alert with its own reason when it begins, and one `seeing` when it ends, in the name of the
service: their monitor is called `service`. What only the clock can show (`on_clock`) is outside "live equals replay".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from streamwatch.alerts import Alert, Unseen
from streamwatch.compose import Composer
from streamwatch.control import Applied, Control
from streamwatch.errors import StateDamaged
from streamwatch.matchers import Matcher, fit
from streamwatch.policy import Decision, on_mute
from streamwatch.state import pack
from streamwatch.windows import NEVER, covered_until, covering, next_covered

STATE_KEY = "conditions"
MONITOR = "service"
ALL_MODELS = "*"

Kind = Literal["events", "coverage", "buffer", "stalled", "lost", "lag", "partition"]


INPUTS: tuple[Kind, ...] = ("lag", "lost", "stalled")  # told by the transport


class About(NamedTuple):
    """What cannot be seen: the events or labels of a model, or an input (`place` is its partition)."""

    kind: Kind
    model: str = ALL_MODELS
    place: str = ""

    @property
    def text(self) -> str:
        return f"{self.kind} {self.place}" if self.place else self.kind


class Standing(NamedTuple):
    """The alert last said, the time of its first and its own."""

    alert: Alert
    since_s: float
    said_s: float


class Conditions:
    def __init__(self, composer: Composer, control: Control) -> None:
        self._composer = composer
        self._control = control
        self._changed = False
        self._accepted: set[About] = set()
        self._next_s: float | None = None
        self.standing: dict[About, Standing] = {}

    def silent(self) -> set[str]:
        """Models that are silent, said or accepted."""
        return {about.model for about in (*self.standing, *self._accepted) if about.kind == "events"}

    def end(self, model: str, decision: Decision) -> list[Alert]:
        """All that stands of a model ends, for a reason outside the data."""
        ended: list[Alert] = []
        for about in sorted(about for about in (*self.standing, *self._accepted) if about.model == model):
            self._accepted.discard(about)
            standing = self.standing.pop(about, None)
            if standing is not None:
                ended.append(self._composer.condition_ended(standing.alert, decision))
            self._touch()
        return ended

    def known(self, about: About) -> bool:
        """Whether it was said, or accepted, and is not over."""
        return about in self.standing or about in self._accepted

    def of_inputs(self) -> list[About]:
        """What is so of the inputs, accepted or not."""
        return sorted(about for about in (*self.standing, *self._accepted) if about.kind in INPUTS)

    def blind(
        self, about: About, reason: str, time_s: float, what: str, unseen: Unseen | None = None
    ) -> list[Alert]:
        """Nothing if it was said already, or accepted. `what` is the sentence of the summary."""
        if self.known(about):
            return []
        alert = self._alert(about, "blind", reason, time_s, what, unseen)
        self.standing[about] = Standing(alert, time_s, time_s)
        self._touch()
        return [alert]

    def seeing(self, about: About, reason: str, time_s: float, what: str) -> list[Alert]:
        """Nothing if nothing stands."""
        if about in self._accepted:
            self._accepted.remove(about)
            self._touch()
        standing = self.standing.pop(about, None)
        if standing is None:
            return []
        self._touch()
        alert = self._alert(about, "seeing", reason, time_s, what, None)
        return [replace(alert, data=replace(alert.data, incident=standing.alert.data.incident))]

    # ---- silences and windows that mute: rules 17 and 18 of the policy

    @property
    def next_s(self) -> float:
        """The stream time at which a mark begins or ends next."""
        if self._next_s is None:
            self._next_s = min((self._mark_due_s(about) for about in self.standing), default=NEVER)
        return self._next_s

    def mark(self, time_s: float) -> list[Alert]:
        """What stands, said again where its mark is not what it would be now."""
        alerts: list[Alert] = []
        self._next_s = None
        for about, standing in sorted(self.standing.items()):
            mute = covering(self._applied(about).mutes, time_s)
            decision = on_mute("blind", standing.alert.silenced, mute is not None, time_s)
            if decision is not None:
                alert = self._composer.condition_marked(standing.alert, decision, mute)
                self.standing[about] = Standing(alert, standing.since_s, time_s)
                self._touch()
                alerts.append(alert)
        return alerts

    def _mark_due_s(self, about: About) -> float:
        applied, standing = self._applied(about), self.standing[about]
        from_s = max(standing.said_s, applied.since_s)
        muted = covering(applied.mutes, from_s) is not None
        if muted != standing.alert.silenced:
            return from_s
        return (covered_until if muted else next_covered)(applied.mutes, from_s)

    def _applied(self, about: About) -> Applied:
        return (
            self._control.applied(self._subject(about)) if self._control.windows else self._control.unaffected
        )

    def _subject(self, about: About) -> dict[str, str]:
        """What matchers look at."""
        sight = self._composer.sight
        return {
            "model": about.model,
            "monitor": MONITOR,
            "signal": about.text,
            "severity": "warning",
            "owner": sight.owner or "",
            **{f"tags.{name}": value for name, value in sight.tags.items()},
        }

    # ---- commands

    def count(self, wanted: Sequence[Matcher]) -> int:
        """How many that stand fit."""
        return sum(fit(wanted, self._subject(about)) for about in self.standing)

    def accept(self, wanted: Sequence[Matcher], time_s: float) -> list[Alert]:
        """What fits ends, and is not said again before it was over once: a model that was taken out of service."""
        ended: list[Alert] = []
        for about, (alert, *_) in sorted(self.standing.items()):
            subject = {**self._subject(about), "incident": alert.data.incident or "", "key": alert.data.key}
            if fit(wanted, subject):
                del self.standing[about]
                self._accepted.add(about)
                self._touch()
                ended.append(self._composer.condition_ended(alert, Decision("ended", "accepted", time_s)))
        return ended

    def _alert(
        self,
        about: About,
        state: Literal["blind", "seeing"],
        reason: str,
        time_s: float,
        what: str,
        unseen: Unseen | None,
    ) -> Alert:
        mutes = self._applied(about).mutes
        return self._composer.condition(
            MONITOR,
            about.kind,
            about.text,
            about.model,
            state,
            reason,
            time_s,
            what,
            unseen,
            covering(mutes, time_s),
        )

    def _touch(self) -> None:
        self._changed = True
        self._next_s = None

    def changes(self) -> dict[str, bytes | None]:
        """As `Ledger.changes`."""
        if not self._changed:
            return {}
        self._changed = False
        rows = [
            [*about, standing.since_s, standing.said_s, msgspec.to_builtins(standing.alert)]
            for about, standing in sorted(self.standing.items())
        ]
        accepted = [list(about) for about in sorted(self._accepted)]
        return {STATE_KEY: pack(STATE_KEY, {"standing": rows, "accepted": accepted})}

    def load(self, content: Mapping[str, Any]) -> None:
        """StateDamaged if it is not what `changes` wrote."""
        try:
            for kind, model, place, since_s, said_s, alert in content["standing"]:
                about = About(kind, str(model), str(place))
                self.standing[about] = Standing(msgspec.convert(alert, Alert), float(since_s), float(said_s))
            for kind, model, place in content["accepted"]:
                self._accepted.add(About(kind, str(model), str(place)))
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"state {STATE_KEY}: {error!r}") from error
