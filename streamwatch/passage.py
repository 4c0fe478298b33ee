"""One batch of events on its way through the ledger: who reads what, who must go, and what is said, in order.

In the order of one event: what time made due comes first, then retirement and eviction, then what the event itself
shows (blindness before drift), by stream key and monitor. Whatever would need order inside a batch (a stream key is
evicted, a version retires) cuts the batch at that row, so the result does not depend on batches.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamwatch.alerts import Alert
from streamwatch.compose import Composer
from streamwatch.config import Config
from streamwatch.detectors.base import Detection
from streamwatch.events import Events, StreamKey
from streamwatch.ledger import Ledger
from streamwatch.plan import Plan, Readings
from streamwatch.policy import (
    Decision,
    Drift,
    Look,
    Reason,
    on_detection,
    on_look,
    on_time,
    on_time_blind,
)
from streamwatch.records import Batch
from streamwatch.rowgroups import Cut, Keyed, keyed
from streamwatch.stream import Stream
from streamwatch.trail import Track
from streamwatch.watcher import BLIND, Found, Watcher, drift_about, drift_name


class Passage:
    """`run` leaves what it found in `alerts`, `evicted`, `retired`, `unusable`."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        composer: Composer,
        ledger: Ledger,
        batch: Batch,
        events: Events,
        stream_time_s: float | None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._composer = composer
        self._ledger = ledger
        self._events = events
        self._readings = Readings(events)
        before = -np.inf if stream_time_s is None else stream_time_s
        self._track = Track(
            batch.sources,
            batch.source[events.record],
            batch.offset[events.record],
            events.id,
            events.version,
            frozenset(events.version),
            np.maximum.accumulate(np.maximum(events.time_s, before)),
        )
        self._cuts: dict[Cut, Keyed] = {cut: keyed(events, cut) for cut in plan.cuts}
        self._touched: dict[int, Watcher] = {}
        self.alerts: list[Alert] = []
        self.evicted: list[StreamKey] = []
        self.retired: list[StreamKey] = []

    @property
    def stream_time_s(self) -> float:
        return float(self._track.stream_s[-1])

    def run(self) -> None:
        start, stop = 0, len(self._events)
        while start < stop:
            row, gone, reason = self._next_gone(start, stop)
            if row > start:
                self._range(start, row)
            if gone:
                self._pass_time(row)
                for key in gone:
                    self._end(key, reason, row)
            start = row

    def unusable(self) -> Mapping[str, int]:
        """Values that could not be used, by monitor; counted once."""
        counts: dict[str, int] = {}
        for watcher in self._touched.values():
            if watcher.unusable:
                counts[watcher.monitor.name] = counts.get(watcher.monitor.name, 0) + watcher.unusable
                watcher.unusable = 0
        return counts

    # ---- who must go

    def _next_gone(self, start: int, stop: int) -> tuple[int, list[StreamKey], Reason]:
        """The first row in [start, stop) before which streams must go, and which; (stop, [], _) if there is none.
        A row with nothing to go before it: the range up to it must be read before more can be said."""
        retire_at, retired = self._next_retired(start, stop)
        evict_at, evicted = self._next_evicted(start, retire_at)
        if evict_at < retire_at or evicted:
            return evict_at, evicted, "evicted"
        return retire_at, retired, "retired"

    def _next_evicted(self, start: int, stop: int) -> tuple[int, list[StreamKey]]:
        """Who is silent longest is known only once all rows before are read, so a row after `start` comes alone."""
        streams = self._ledger.streams
        limit = max(self._config.max_stream_keys, len(self._cuts))
        arriving: dict[StreamKey, int] = {}
        for cut in self._cuts.values():
            codes, first = np.unique(cut.codes[start:stop], return_index=True)
            for code, at in zip(codes.tolist(), first.tolist(), strict=True):
                if code >= 0 and cut.keys[code] not in streams:
                    arriving[cut.keys[code]] = start + at
        room = limit - len(streams)
        if len(arriving) <= room:
            return stop, []
        row = sorted(arriving.values())[room] if room >= 0 else start
        if row > start:
            return row, []
        here = {cut.keys[code] for cut in self._cuts.values() if (code := int(cut.codes[row])) >= 0}
        surplus = len(streams) + len(here - streams.keys()) - limit
        silent = sorted(
            (stream for key, stream in streams.items() if key not in here),
            key=lambda stream: (stream.trail.last_s, stream.order),
        )
        return row, [stream.key for stream in silent[:surplus]]

    def _next_retired(self, start: int, stop: int) -> tuple[int, list[StreamKey]]:
        keys = self._cuts.get(Cut("version", ()))
        if keys is None:
            return stop, []
        stream_s, after_s = self._track.stream_s, self._config.versions.retire_after
        last_s: dict[StreamKey, float] = {
            key: stream.trail.last_s
            for key, stream in self._ledger.versions.items()
            if stream.trail.last_s + after_s <= stream_s[stop - 1]
        }
        if stream_s[start] + after_s <= stream_s[stop - 1]:
            for key in keys.keys:
                if key not in self._ledger.versions:
                    last_s[key] = np.inf
        first, gone = stop, set[tuple[str, str | None]]()
        for key, time_s in last_s.items():
            row = self._silent_row(keys, key, time_s, start, stop)
            if row < first:
                first, gone = row, set()
            if row == first and row < stop:
                gone.add((key.model, key.version))
        streams = sorted(self._ledger.streams.values(), key=lambda stream: stream.order) if gone else []
        return first, [stream.key for stream in streams if stream.key[:2] in gone]

    def _silent_row(self, keys: Keyed, key: StreamKey, last_s: float, start: int, stop: int) -> int:
        """The first row in [start, stop) that is an event of another version of the model, at least `retire_after`
        after the last event of this one (the last before `start` was at `last_s`); `stop` if there is none."""
        model = [code for code, other in enumerate(keys.keys) if other.model == key.model]
        mine = [code for code in model if keys.keys[code] == key]
        codes, stream_s = keys.codes[start:stop], self._track.stream_s
        of_mine = np.isin(codes, mine)
        mine_at = start + np.flatnonzero(of_mine)
        others_at = start + np.flatnonzero(np.isin(codes, model) & ~of_mine)
        seen_s = np.concatenate(([last_s], stream_s[mine_at]))
        since = np.concatenate(([start], mine_at + 1))
        until = np.concatenate((mine_at, [stop]))
        late = np.searchsorted(stream_s, seen_s + self._config.versions.retire_after, side="left")
        rows = np.append(others_at, stop)[np.searchsorted(others_at, np.maximum(late, since))]
        silent = np.flatnonzero(rows < until)
        return int(rows[silent[0]]) if len(silent) else stop

    def _end(self, key: StreamKey, reason: Reason, row: int) -> None:
        """The stream goes, before this row; what is open on it ends."""
        stream = self._ledger.close(key)
        decision = Decision("ended", reason, float(self._track.stream_s[row]))
        for _, watcher in sorted(stream.watchers.items()):
            for about, said in sorted(watcher.said.items()):
                self.alerts.append(
                    self._composer.ended(key, stream.trail, watcher.digest, about, said, decision)
                )
        (self.evicted if reason == "evicted" else self.retired).append(key)

    # ---- who reads what

    def _range(self, start: int, stop: int) -> None:
        """Rows [start, stop): no stream goes within them."""
        found: list[tuple[tuple[object, ...], Found, Stream, Watcher]] = []
        active: list[Stream] = []
        for keys in self._cuts.values():
            for key, rows in keys.groups(start, stop):
                stream = self._ledger.streams.get(key)
                if stream is None:
                    stream = self._plan.stream(key)
                    self._ledger.open(stream)
                self._ledger.changed(key)
                active.append(stream)
                stream.trail.start(rows)
                for watcher, reading, mine in self._plan.reads(stream, rows, self._readings):
                    self._touched[id(watcher)] = watcher
                    for item in watcher.read(reading, self._events.time_s, mine):
                        about = BLIND if isinstance(item.what, Look) else drift_about(item.what.name)
                        order = (item.row, about, stream.order, watcher.position, watcher.label)
                        found.append((order, item, stream, watcher))
        found.sort(key=lambda entry: entry[0])
        for _, item, stream, watcher in found:
            self._pass_time(item.row)
            self._decide(stream, watcher, item)
        self._pass_time(stop - 1)
        for stream in active:
            stream.trail.forward(self._track, stop)

    # ---- what is said

    def _decide(self, stream: Stream, watcher: Watcher, item: Found) -> None:
        now_s = float(self._track.stream_s[item.row])
        decision: Decision | None
        drift: Drift | None = None
        if isinstance(item.what, Detection):
            name = item.what.name
            about = drift_about(name)
            decision, drift = on_detection(watcher.monitor.policy, watcher.drifts.get(name), item.what, now_s)
            if drift is not None:
                watcher.drifts[name] = drift
        else:
            about = BLIND
            decision, watcher.blindness = on_look(watcher.blindness, item.what, now_s)
        if decision is not None and decision.state is not None:
            stream.trail.forward(self._track, item.row + 1)
            self._say(stream, watcher, about, decision, drift, item.what)
        self._ledger.remind(stream, watcher)

    def _pass_time(self, row: int) -> None:
        """Say what stream time made due up to and with this row, each thing as of the row that reached its time."""
        stream_s = self._track.stream_s
        for due_s, stream, watcher, about in self._ledger.due(float(stream_s[row])):
            at = int(np.searchsorted(stream_s, due_s, side="left"))
            stream.trail.forward(self._track, at)
            policy, now_s = watcher.monitor.policy, float(stream_s[at])
            decision: Decision | None
            drift: Drift | None = None
            if about == BLIND:
                assert watcher.blindness is not None
                decision, watcher.blindness = on_time_blind(policy, watcher.blindness, now_s)
            else:
                name = drift_name(about)
                drift = watcher.drifts.pop(name)
                decision, after = on_time(policy, drift, now_s)
                if after is not None:
                    watcher.drifts[name] = drift = after
            if decision is not None:
                self._say(stream, watcher, about, decision, drift)
            self._ledger.remind(stream, watcher)

    def _say(
        self,
        stream: Stream,
        watcher: Watcher,
        about: str,
        decision: Decision,
        drift: Drift | None,
        what: Detection | Look | None = None,
    ) -> None:
        alert = self._composer.alert(stream.key, stream.trail, watcher, about, decision, drift, what)
        self.alerts.append(alert)
        if alert.open:
            watcher.said[about] = alert
        else:
            watcher.said.pop(about, None)
        self._ledger.changed(stream.key)
