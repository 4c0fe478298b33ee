"""What a command does, at its place among the events. Stream time stands still meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamwatch.alerts import Alert
from streamwatch.commands import Accept, Command, Pause, Silence
from streamwatch.conditions import Conditions
from streamwatch.control import Control
from streamwatch.ledger import Ledger
from streamwatch.matchers import OPEN_ALERT, Matcher, fit, matchers
from streamwatch.plan import Plan
from streamwatch.policy import Decision
from streamwatch.stream import Stream
from streamwatch.voice import Voice
from streamwatch.watcher import BLIND, Watcher, drift_name


class Obeyed(NamedTuple):
    """A command, and how many watchers it is about just now. What it is not about yet may come."""

    command: Command
    watchers: int


class Execution:
    def __init__(
        self, plan: Plan, ledger: Ledger, control: Control, voice: Voice, conditions: Conditions
    ) -> None:
        self._conditions = conditions
        self._plan = plan
        self._ledger = ledger
        self._control = control
        self._voice = voice

    def obey(self, command: Command, stream_time_s: float | None) -> tuple[list[Alert], Obeyed]:
        """What it makes us say. SenderError if it cannot be obeyed; then nothing has happened."""
        now_s = stream_time_s or 0.0
        alerts: list[Alert] = []
        if self._control.obey(command, stream_time_s):
            for stream, watcher in self._watchers():
                alerts += self._refreshed(stream, watcher, now_s)
            alerts += self._conditions.mark(now_s)
        found = 0
        match command:
            case Silence() | Pause():
                wanted = matchers(command.match)
                found = sum(fit(wanted, watcher.subject(stream.key)) for stream, watcher in self._watchers())
                found += self._conditions.count(wanted)
            case Accept():
                wanted = matchers(command.match, OPEN_ALERT)
                for stream, watcher in self._watchers():
                    ended = self._accepted(wanted, stream, watcher, now_s)
                    found += ended is not None
                    alerts += ended or ()
                ended_too = self._conditions.accept(wanted, now_s)
                found += len(ended_too)
                alerts += ended_too
        return alerts, Obeyed(command, found)

    def _watchers(self) -> Iterator[tuple[Stream, Watcher]]:
        for stream in sorted(self._ledger.streams.values(), key=lambda stream: stream.order):
            for _, watcher in sorted(stream.watchers.items()):
                yield stream, watcher

    def _refreshed(self, stream: Stream, watcher: Watcher, now_s: float) -> list[Alert]:
        watcher.applied = self._control.applied(watcher.subject(stream.key))
        alerts = [
            alert
            for about in sorted(watcher.said)
            for alert in self._voice.mute(stream, watcher, about, now_s)
        ]
        self._ledger.remind(stream, watcher)
        return alerts

    def _accepted(
        self, wanted: tuple[Matcher, ...], stream: Stream, watcher: Watcher, now_s: float
    ) -> list[Alert] | None:
        """None if it is not about this watcher."""
        subject = watcher.subject(stream.key)
        of_alerts = any(one.name in OPEN_ALERT for one in wanted)
        abouts = [
            about
            for about, said in sorted(watcher.said.items())
            if about != BLIND
            and fit(wanted, {**subject, "incident": said.data.incident or "", "key": said.data.key})
        ]
        if not abouts and (of_alerts or not fit(wanted, subject)):
            return None
        for about in abouts:
            del watcher.drifts[drift_name(about)]
        self._plan.restart(watcher, stream.key.model)
        self._ledger.changed(stream.key)
        decision = Decision("ended", "accepted", now_s)
        return [self._voice.end(stream, watcher, about, decision) for about in abouts]
