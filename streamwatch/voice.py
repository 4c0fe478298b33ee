"""How anything is said: an alert is composed, and what is open is remembered with the state of its stream."""

from __future__ import annotations

from streamwatch.alerts import Alert, Labels
from streamwatch.compose import Composer
from streamwatch.control import Control
from streamwatch.detectors.base import Detection
from streamwatch.ledger import Ledger
from streamwatch.policy import Decision, Drift, Look, Warmth, on_mute
from streamwatch.stream import Stream
from streamwatch.watcher import BLIND, Watcher


class Voice:
    def __init__(self, composer: Composer, ledger: Ledger, control: Control) -> None:
        self._composer = composer
        self._ledger = ledger
        self._control = control

    def say(
        self,
        stream: Stream,
        watcher: Watcher,
        about: str,
        decision: Decision,
        drift: Drift | None = None,
        what: Detection | Look | Warmth | None = None,
        labels: Labels | None = None,
    ) -> Alert:
        """See `Composer.alert`. Marked, if a window mutes the watcher at the alert's time."""
        mute = watcher.mute(decision.time_s)
        trail = stream.trail_of(watcher)
        alert = self._composer.alert(stream.key, trail, watcher, about, decision, drift, what, mute, labels)
        if decision.reason == "first":
            self._control.fire(watcher.monitor.name)
        if alert.open:
            watcher.said[about] = alert
        else:
            watcher.said.pop(about, None)
        self._ledger.changed(stream.key)
        return alert

    def mute(self, stream: Stream, watcher: Watcher, about: str, now_s: float) -> list[Alert]:
        """What is open, said again if it is now marked and was not, or the other way round."""
        said = watcher.said[about]
        muted = watcher.mute(now_s) is not None
        decision = on_mute("blind" if about == BLIND else "firing", said.silenced, muted, now_s)
        if decision is None:
            return []
        return [self.say(stream, watcher, about, decision, watcher.spoke(about, now_s))]

    def end(self, stream: Stream, watcher: Watcher, about: str, decision: Decision) -> Alert:
        """What is open ends, for a reason outside the data."""
        said = watcher.said.pop(about)
        trail = stream.trail_of(watcher)
        return self._composer.ended(stream.key, trail, watcher.digest, about, said, decision)
