"""What a command does, at its place among the events. Stream time stands still meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streamwatch.alerts import Alert
from streamwatch.commands import Accept, Command, Pause, Silence
from streamwatch.conditions import Conditions
from streamwatch.control import Applied, Change, Control
from streamwatch.ledger import Ledger
from streamwatch.matchers import OPEN_ALERT, Matcher, fit, matchers, parted
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
        change = self._control.obey(command, stream_time_s)
        if change is not None:
            alerts += self._changed(change, now_s)
            alerts += self._conditions.mark(now_s)
        found = 0
        match command:
            case Silence() | Pause():
                wanted = matchers(command.match)
                found = sum(1 for _ in self._fitting(wanted)) + self._conditions.count(wanted)
            case Accept():
                wanted = matchers(command.match, OPEN_ALERT)
                of_alerts = [one for one in wanted if one.name in OPEN_ALERT]
                others = [one for one in wanted if one.name not in OPEN_ALERT]
                for stream, watcher in self._fitting(others):
                    ended = self._accepted(of_alerts, stream, watcher, now_s)
                    found += ended is not None
                    alerts += ended or ()
                ended_too = self._conditions.accept(wanted, now_s)
                found += len(ended_too)
                alerts += ended_too
        return alerts, Obeyed(command, found)

    def _fitting(self, wanted: Sequence[Matcher]) -> list[tuple[Stream, Watcher]]:
        """In the order of stream keys and monitors. What is about the stream key is asked once for each stream, what is
        about the monitor once for each monitor: a service may have tens of thousands of watchers."""
        of_stream, of_monitor = parted(wanted)
        streams = [one for one in self._ledger.streams.values() if fit(of_stream, one.subject())]
        fits: dict[tuple[int, str], bool] = {}
        found: list[tuple[Stream, Watcher]] = []
        for stream in sorted(streams, key=lambda stream: stream.order):
            for at, watcher in sorted(stream.watchers.items()):
                if at not in fits:
                    fits[at] = fit(of_monitor, watcher.subject())
                if fits[at]:
                    found.append((stream, watcher))
        return found

    def _changed(self, change: Change, now_s: float) -> list[Alert]:
        """Windows have come and gone: the watchers that they are about are marked anew."""
        affected: dict[int, tuple[Stream, Watcher]] = {}
        come: set[int] = set()
        for window in change.gone:
            affected |= {id(watcher): (stream, watcher) for stream, watcher in self._fitting(window.matchers)}
        if change.come is not None:
            mine = {id(watcher): (stream, watcher) for stream, watcher in self._fitting(change.come.matchers)}
            affected |= mine
            come = set(mine)
        alerts: list[Alert] = []
        known: dict[tuple[int, bool], Applied] = {}  # most watchers have the same windows, and share them
        for stream, watcher in sorted(
            affected.values(), key=lambda pair: (pair[0].order, pair[1].position, pair[1].label)
        ):
            before, comes = watcher.applied, id(watcher) in come
            at = (id(before), comes)
            if at not in known:
                known[at] = self._control.reapplied(before, change, comes)
            watcher.applied = known[at]
            for about in sorted(watcher.said):
                alerts += self._voice.mute(stream, watcher, about, now_s)
            if watcher.said or watcher.warmup is not None:
                self._ledger.remind(stream, watcher)
        return alerts

    def _accepted(
        self, wanted: Sequence[Matcher], stream: Stream, watcher: Watcher, now_s: float
    ) -> list[Alert] | None:
        """`wanted`: which open alerts; none is all, and then the detector begins anew although nothing is open. None
        if it is not about this watcher."""
        abouts = [
            about
            for about, said in sorted(watcher.said.items())
            if about != BLIND and fit(wanted, {"incident": said.data.incident or "", "key": said.data.key})
        ]
        if wanted and not abouts:
            return None
        for about in abouts:
            del watcher.drifts[drift_name(about)]
        self._plan.restart(stream, watcher)
        self._ledger.changed(stream.key)
        decision = Decision("ended", "accepted", now_s)
        return [self._voice.end(stream, watcher, about, decision) for about in abouts]
