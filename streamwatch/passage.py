"""One batch of events on its way through the ledger: who reads what, who must go, and what is said, in order.

In the order of one event: what time made due comes first, then retirement and eviction, then what the event itself
shows (blindness before drift), by stream key and monitor. Whatever would need order inside a batch (a stream key is
evicted, a version retires) cuts the batch at that row, so the result does not depend on batches.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from streamwatch.alerts import Alert
from streamwatch.coded import coded
from streamwatch.config import Config
from streamwatch.detectors.base import Detection
from streamwatch.events import StreamKey
from streamwatch.held import FEW
from streamwatch.ledger import Ledger
from streamwatch.notices import Notices
from streamwatch.plan import Plan, Readings, cut_of
from streamwatch.policy import (
    COLD,
    Decision,
    Drift,
    Look,
    Reason,
    Rested,
    Warmth,
    on_cold,
    on_detection,
    on_look,
    on_time,
    on_time_blind,
    on_warm,
)
from streamwatch.rowgroups import UNVERSIONED, Cut, Keyed, Rows, keyed
from streamwatch.segments import Segments
from streamwatch.series import Bools
from streamwatch.stream import Order, Stream
from streamwatch.traffic import Traffic
from streamwatch.trail import Track
from streamwatch.voice import Voice
from streamwatch.warmup import WarmUp
from streamwatch.watcher import BLIND, MUTE, WARM_UP, Found, Watcher, drift_about, drift_name
from streamwatch.windows import covered

RESTED = "rested"  # said after what is detected


class Passage:
    """`run` leaves what it found in `alerts`, `evicted`, `retired`, `unusable`."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        voice: Voice,
        ledger: Ledger,
        notices: Notices,
        segments: Segments,
        traffic: Traffic,
    ) -> None:
        self._config = config
        self._plan = plan
        self._voice = voice
        self._ledger = ledger
        self._notices = notices
        self._segments = segments
        events = traffic.events
        self._traffic = traffic
        self._events = events
        self._readings = Readings(events)
        self._track = Track(
            traffic.sources,
            traffic.source,
            traffic.offset,
            events.id,
            events.version,
            frozenset(coded(events.version).words),
            traffic.stream_s,
            traffic.arrived_s,
        )
        self._all_segments: dict[Cut, Keyed] = {cut: keyed(events, cut) for cut in plan.cuts}
        self._key(0)
        self._limit = max(config.max_stream_keys, len(self._cuts))
        self._arrivals: list[tuple[int, str, str, StreamKey]] | None = None
        self._silent: list[tuple[float, Order, StreamKey]] | None = None
        self._touched: dict[int, Watcher] = {}
        self._covered: dict[int, Bools | None] = {}
        self.alerts: list[Alert] = []
        self.evicted: list[StreamKey] = []
        self.retired: list[StreamKey] = []

    def _key(self, start: int) -> None:
        """The stream keys of the rows from `start` on."""
        outcome = self._traffic.outcome
        self._cuts = self._segments.keyed(self._all_segments, outcome, start)
        # Outcomes open no stream, keep none alive and retire none: only events do.
        self._coming = {cut: keys.without(outcome) for cut, keys in self._cuts.items()}

    @property
    def stream_time_s(self) -> float:
        return float(self._track.stream_s[-1])

    def run(self) -> None:
        self._notices.begin(self._traffic)
        start, stop = 0, len(self._events)
        retire_at = self._next_retired(start)
        while start < stop:
            row = min(retire_at, self._next_evicted(start))
            if row > start:
                self._range(start, row)
                start = row
            elif row == retire_at:
                retired = self._retired(start)
                self._end(retired, "retired", start)
                retire_at = self._next_retired(start if retired else start + 1)
            else:
                self._end(self._silent_longest(start), "evicted", start)
        self._notices.end()

    def unusable(self) -> Mapping[str, int]:
        """Values that could not be used, by monitor; counted once."""
        counts: dict[str, int] = {}
        for watcher in self._touched.values():
            if watcher.unusable:
                counts[watcher.monitor.name] = counts.get(watcher.monitor.name, 0) + watcher.unusable
                watcher.unusable = 0
        return counts

    # ---- who must go: a row comes first that may make somebody go; all before it is read; then it is decided who

    def _next_evicted(self, start: int) -> int:
        """The first row from `start` on that brings more stream keys than there is room for; the end if none does."""
        stop = len(self._events)
        if self._arrivals is None:
            if len(self._ledger.streams) + sum(len(cut.keys) for cut in self._cuts.values()) <= self._limit:
                return stop
            self._arrivals = sorted(
                (row, key.model, str(key), key)
                for cut in self._coming.values()
                for key, row in cut.first_rows(start)
                if key not in self._ledger.streams and self._plan.entries(key)
            )
        at = bisect.bisect_left(self._arrivals, start, key=lambda arrival: arrival[0])
        room = self._limit - len(self._ledger.streams)
        if room < 0:
            return start
        return self._arrivals[at + room][0] if at + room < len(self._arrivals) else stop

    def _silent_longest(self, row: int) -> list[StreamKey]:
        """Who goes so that there is room for what this row brings: the streams that are silent longest."""
        streams = self._ledger.streams
        if self._silent is None:
            self._silent = [(stream.trail.last_s, stream.order, key) for key, stream in streams.items()]
            heapq.heapify(self._silent)
        here = {
            cut.keys[code]
            for cut in self._coming.values()
            if (code := int(cut.codes[row])) >= 0 and self._plan.entries(cut.keys[code])
        }
        surplus = len(streams) + len(here - streams.keys()) - self._limit
        gone: dict[StreamKey, None] = {}
        kept: dict[StreamKey, tuple[float, Order, StreamKey]] = {}
        while len(gone) < surplus and self._silent:
            last_s, order, key = heapq.heappop(self._silent)
            stream = streams.get(key)
            if stream is None or key in gone or key in kept:  # who went and came back stands there twice
                continue
            if stream.trail.last_s != last_s:
                heapq.heappush(self._silent, (stream.trail.last_s, order, key))
            elif key in here:
                kept[key] = last_s, order, key
            else:
                gone[key] = None
        for entry in kept.values():
            heapq.heappush(self._silent, entry)
        return list(gone)

    def _next_retired(self, start: int) -> int:
        """The first row from `start` on that is an event of another version of a model, at least `retire_after`
        after the last event of one version; the end if there is none."""
        stop, stream_s = len(self._events), self._track.stream_s
        keys = self._coming.get(Cut("version", ()))
        if keys is None or start >= stop:
            return stop
        after_s = self._config.versions.retire_after
        codes_of: dict[str, dict[str | None, int]] = {}
        for code, key in enumerate(keys.keys):
            codes_of.setdefault(key.model, {})[key.version] = code
        last_s: dict[tuple[str, str | None], float] = {}
        for (model, version), streams in self._ledger.versions.items():
            others = codes_of.get(model)
            if others is not None and (len(others) > 1 or version not in others):
                time_s = max(stream.trail.last_s for stream in streams.values())
                if time_s + after_s <= stream_s[-1]:
                    last_s[model, version] = time_s
        if stream_s[start] + after_s <= stream_s[-1]:
            for key in keys.keys:
                new = key[:2] not in self._ledger.versions and self._plan.entries(key)
                if new and len(codes_of[key.model]) > 1:
                    last_s[key[:2]] = np.inf  # begins in this batch
        for of_version, time_s in last_s.items():
            stop = self._silent_row(keys, codes_of[of_version[0]], of_version[1], time_s, start, stop)
        return stop

    def _silent_row(
        self,
        keys: Keyed,
        of_model: Mapping[str | None, int],
        version: str | None,
        last_s: float,
        start: int,
        stop: int,
    ) -> int:
        """The first row in [start, stop) at which this version is to retire; `stop` if there is none. Its last event
        before `start` was at `last_s`."""
        codes, stream_s = keys.codes[start:stop], self._track.stream_s
        of_mine = codes == of_model.get(version, -2)
        mine_at = start + np.flatnonzero(of_mine)
        others_at = start + np.flatnonzero(np.isin(codes, list(of_model.values())) & ~of_mine)
        seen_s = np.concatenate(([last_s], stream_s[mine_at]))
        since = np.concatenate(([start], mine_at + 1))
        until = np.concatenate((mine_at, [stop]))
        late = np.searchsorted(stream_s, seen_s + self._config.versions.retire_after, side="left")
        rows = np.append(others_at, stop)[np.searchsorted(others_at, np.maximum(late, since))]
        silent = np.flatnonzero(rows < until)
        return int(rows[silent[0]]) if len(silent) else stop

    def _retired(self, row: int) -> list[StreamKey]:
        """The streams of all versions that the event at this row retires."""
        model, version = self._events.model[row], self._events.version[row] or UNVERSIONED
        before_s = float(self._track.stream_s[row])
        gone = [
            stream
            for (of_model, other), streams in self._ledger.versions.items()
            if of_model == model
            and other != version
            and max(stream.trail.last_s for stream in streams.values()) + self._config.versions.retire_after
            <= before_s
            for stream in streams.values()
        ]
        return [stream.key for stream in sorted(gone, key=lambda stream: stream.order)]

    def _end(self, keys: list[StreamKey], reason: Reason, row: int) -> None:
        """The streams go, before this row; what is open on them ends."""
        self._pass_time(row)
        decision = Decision("ended", reason, float(self._track.stream_s[row]))
        forgotten = False
        for key in keys:
            stream = self._ledger.close(key)
            again = self._coming[cut_of(key)].next_row(key, row) if self._arrivals is not None else None
            if self._arrivals is not None and again is not None:
                bisect.insort(self._arrivals, (again, key.model, str(key), key))
            for _, watcher in sorted(stream.watchers.items()):
                for about in sorted(watcher.said):
                    self.alerts.append(self._voice.end(stream, watcher, about, decision))
            if key.model not in self._ledger.models:
                self.alerts.extend(self._notices.gone(key.model, decision))
                self._segments.forget(key.model, row)
                forgotten = True
        if forgotten:
            self._key(row)
            self._arrivals = None
        (self.evicted if reason == "evicted" else self.retired).extend(keys)

    # ---- who reads what

    def _range(self, start: int, stop: int) -> None:
        """Rows [start, stop): no stream goes within them."""
        found: list[tuple[tuple[object, ...], Found, Stream, Watcher]] = []
        active: list[Stream] = []
        warming: list[WarmUp] = []
        for keys in self._cuts.values():
            for key, rows in keys.groups(start, stop):
                stream = self._ledger.streams.get(key)
                events, outcomes = self._parted(rows)
                if stream is None:
                    if not len(events) or not self._plan.entries(key):
                        continue
                    outcomes = outcomes[outcomes > events[0]]
                    stream = self._plan.stream(key)
                    self._ledger.open(stream)
                    if self._silent is not None:
                        heapq.heappush(self._silent, (stream.trail.last_s, stream.order, key))
                self._ledger.changed(key)
                active.append(stream)
                stream.start(events, outcomes)
                if stream.fresh and len(events):
                    self._begin(stream, int(events[0]))
                few = len(rows) <= FEW and not len(outcomes) and stream.warm_by_s > self.stream_time_s
                if few and self._plan.hold(stream, events, self._readings):
                    continue
                for watcher, reading, of_signal in self._plan.reads(stream, events, outcomes, self._readings):
                    if watcher.warmup is not None and watcher.warmup.began_s is None and not watcher.late:
                        self._begin(stream, int(of_signal[0]))  # the first value of a feature
                    mine = self._not_skipped(watcher, of_signal) if watcher.applied.skips else of_signal
                    if not len(mine):
                        continue
                    self._touched[id(watcher)] = watcher
                    if watcher.warmup is not None:
                        warming.append(watcher.warmup)
                    for item in watcher.read(reading, self._events.time_s, mine):
                        order = (item.row, _about(item), stream.order, watcher.position, watcher.label)
                        found.append((order, item, stream, watcher))
        found.sort(key=lambda entry: entry[0])
        for _, item, stream, watcher in found:
            self._pass_time(item.row)
            self._decide(stream, watcher, item)
        self._pass_time(stop - 1)
        for stream in active:
            stream.forward(self._track, stop)
        for warmup in warming:
            warmup.forward()

    def _begin(self, stream: Stream, row: int) -> None:
        """The warm-up of watchers that are new begins with the event of this row."""
        stream.fresh = False
        for watcher in stream.watchers.values():
            if watcher.warmup is not None and watcher.warmup.began_s is None:
                watcher.warmup.began_s = float(self._track.stream_s[row])
                self._ledger.remind(stream, watcher)

    def _parted(self, rows: Rows) -> tuple[Rows, Rows]:
        """Events and outcomes."""
        if self._traffic.outcome is None:
            return rows, rows[:0]
        late = self._traffic.outcome[rows]
        return rows[~late], rows[late]

    def _not_skipped(self, watcher: Watcher, rows: Rows) -> Rows:
        """Those whose events are not of a time that a window or a pause lets the watcher skip."""
        for window in watcher.applied.skips:
            if id(window) not in self._covered:
                self._covered[id(window)] = covered((window,), self._events.time_s)
            skipped = self._covered[id(window)]
            if skipped is not None:
                rows = rows[~skipped[rows]]
        return rows

    # ---- what is said

    def _decide(self, stream: Stream, watcher: Watcher, item: Found) -> None:
        now_s = float(self._track.stream_s[item.row])
        decision: Decision | None
        drift: Drift | None = None
        if isinstance(item.what, Rested):
            self._rest(stream, watcher, item.row, now_s)
            return
        what: Detection | Look | Warmth = item.what
        if isinstance(what, Detection):
            name = what.name
            about = drift_about(name)
            decision, drift = on_detection(watcher.monitor.policy, watcher.drifts.get(name), what, now_s)
            if drift is not None:
                watcher.drifts[name] = drift
        elif isinstance(what, Look):
            about = BLIND
            decision, watcher.blindness = on_look(watcher.blindness, what, now_s, watcher.cold)
            if decision is not None and decision.reason == "warm-up" and watcher.warmup is not None:
                what = watcher.warmup.at(item.row)
        else:
            about = BLIND
            watcher.warmup = None
            decision, watcher.blindness = on_warm(watcher.blindness, now_s)
        if decision is not None and decision.state is not None:
            stream.forward(self._track, item.row + 1)
            self._say(item.row, stream, watcher, about, decision, drift, what)
        self._ledger.remind(stream, watcher)

    def _rest(self, stream: Stream, watcher: Watcher, row: int, now_s: float) -> None:
        """Its detector can detect something again. A drift that was long enough without a detection settles now."""
        policy = watcher.monitor.policy
        for name, drift in sorted(watcher.drifts.items()):
            if drift.warm_s != COLD:
                continue
            watcher.drifts[name] = drift = replace(drift, warm_s=now_s)
            if (settle_s := watcher.settle_s(drift)) <= now_s:
                del watcher.drifts[name]
                decision, _ = on_time(policy, drift, settle_s, now_s)
                assert decision is not None
                stream.forward(self._track, row + 1)
                self._say(row, stream, watcher, drift_about(name), decision, drift)
        self._ledger.remind(stream, watcher)

    def _pass_time(self, row: int) -> None:
        """Say what stream time made due up to and with this row, each thing as of the row that reached its time."""
        stream_s = self._track.stream_s
        for due_s, stream, watcher, about in self._ledger.due(float(stream_s[row])):
            at = int(np.searchsorted(stream_s, due_s, side="left"))
            self.alerts.extend(self._notices.until(at, due_s))
            stream.forward(self._track, at)
            policy, now_s = watcher.monitor.policy, float(stream_s[at])
            decision: Decision | None
            drift: Drift | None = None
            warmth: Warmth | None = None
            if about.startswith(MUTE):
                self.alerts.extend(self._voice.mute(stream, watcher, about.removeprefix(MUTE), due_s))
                decision = None
            elif about == BLIND:
                assert watcher.blindness is not None
                decision, watcher.blindness = on_time_blind(policy, watcher.blindness, now_s)
            elif about == WARM_UP:
                about, (decision, warmth) = BLIND, self._cold(stream, watcher, at, due_s)
            else:
                name = drift_name(about)
                drift = watcher.drifts.pop(name)
                decision, after = on_time(policy, drift, watcher.settle_s(drift), now_s)
                if after is not None:
                    watcher.drifts[name] = drift = after
            if decision is not None:
                self._say(at, stream, watcher, about, decision, drift, warmth)
            self._ledger.remind(stream, watcher)
        self.alerts.extend(self._notices.until(row, float(stream_s[row])))

    def _cold(
        self, stream: Stream, watcher: Watcher, at: int, due_s: float
    ) -> tuple[Decision | None, Warmth | None]:
        """Its time to warm up is over, before this row."""
        self._ledger.changed(stream.key)
        silence_s = self._config.silence(stream.key.model)
        if silence_s and stream.trail.last_s + silence_s <= due_s and watcher.warmup is not None:
            row = self._coming[cut_of(stream.key)].next_row(stream.key, at)
            watcher.warmup.began_s = None if row is None else float(self._track.stream_s[row])
            stream.fresh = stream.fresh or row is None
            return None, None
        warmth = watcher.chill(at)
        if warmth is None:
            return None, None
        decision, watcher.blindness = on_cold(watcher.blindness, due_s)
        return decision, warmth

    def _say(
        self,
        row: int,
        stream: Stream,
        watcher: Watcher,
        about: str,
        decision: Decision,
        drift: Drift | None,
        what: Detection | Look | Warmth | None = None,
    ) -> None:
        labels = self._traffic.labels(stream.key.model, row) if watcher.late else None
        self.alerts.append(self._voice.say(stream, watcher, about, decision, drift, what, labels))


def _about(item: Found) -> str:
    """What is found at one row is said in this order. First comes that enough has been seen: a look at the same value
    can then say that it sees."""
    match item.what:
        case Detection(name=name):
            return drift_about(name)
        case Look():
            return BLIND
        case Rested():
            return RESTED
    return ""
