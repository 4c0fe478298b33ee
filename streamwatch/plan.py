"""What a config wants to be watched: which monitors read which stream keys, and what they need of an event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from streamwatch.alerts import Alert, stable_id
from streamwatch.bucketed import Bucketed
from streamwatch.categories import writable
from streamwatch.config import Config, Monitor, plain
from streamwatch.control import Control
from streamwatch.decode import Input
from streamwatch.errors import StateDamaged
from streamwatch.events import Events, Needs, StreamKey
from streamwatch.held import Held, Signals
from streamwatch.rowgroups import Cut, Rows
from streamwatch.series import Bools, Reading, floats
from streamwatch.signals import ModelSpec, Signal
from streamwatch.sketch import Sketch
from streamwatch.stream import Stream, subject
from streamwatch.trail import Trail
from streamwatch.warmup import WarmUp, in_s
from streamwatch.watcher import Watcher, said_before

MAX_ENTRIES = 100_000
FEW_NAMES = 64
MAX_FEATURES = 1000  # watchers of one `of: all` monitor on one stream key


class Removed(NamedTuple):
    """A watcher in the state that the config does not have any more, or has with another meaning."""

    monitor: str
    digest: str
    said: Mapping[str, Alert]


class Entry(NamedTuple):
    """A monitor as it stands for the stream keys of one cut and model. `spec_id` tells specs apart, cheaply. `late`:
    it reads outcomes, whose labels come later."""

    position: int
    monitor: Monitor
    label: str
    spec: ModelSpec
    spec_id: int
    late: bool


class Unwatched(NamedTuple):
    """A monitor that cannot watch a model, and why: events bring models that the config does not name, and what is
    known of all others (`models: "*"`, or a binary task) does not suit the monitor."""

    monitor: str
    model: str
    why: str


class Plan:
    """`control` says which windows are about a watcher. `sketch`: watchers draw what they read."""

    def __init__(self, config: Config, control: Control, sketch: bool = False) -> None:
        self.config = config
        self._control = control
        self._sketch = sketch
        self.needs = _needs(config.monitors)
        self.needs_of_outcomes = _needs([one for one in config.monitors if one.signal.of_labels])
        self.cuts = tuple(dict.fromkeys(cut for monitor in config.monitors for cut in cuts_of(monitor)))
        self._digests: dict[tuple[int, int], str] = {}
        self._needs: dict[tuple[int, int], int] = {}
        self._entries: dict[tuple[Cut, str], tuple[Entry, ...]] = {}
        self._specs: list[ModelSpec] = []
        self._unwatched: list[Unwatched] = []
        self._told: set[tuple[str, str]] = set()

    def entries(self, key: StreamKey) -> tuple[Entry, ...]:
        """The monitors that watch this stream key, in the order of the config."""
        at = cut_of(key), key.model
        found = self._entries.get(at)
        if found is None:
            spec = self.config.spec(key.model)
            if spec not in self._specs:
                self._specs.append(spec)
            found = tuple(
                Entry(
                    position,
                    monitor,
                    str(monitor.signal),
                    spec,
                    self._specs.index(spec),
                    monitor.signal.of_labels and spec.labels is not None,
                )
                for position, monitor in enumerate(self.config.monitors)
                if at[0] in cuts_of(monitor)
                and (monitor.models is None or key.model in monitor.models)
                and self._suits(monitor, key.model, spec)
            )
            if len(self._entries) >= MAX_ENTRIES:  # models without end: what was told may be told again
                self._entries.clear()
                self._told.clear()
            self._entries[at] = found
        return found

    def _suits(self, monitor: Monitor, model: str, spec: ModelSpec) -> bool:
        try:
            kind = monitor.read_kind(spec)
        except ValueError as error:
            why = str(error)
        else:
            if kind in monitor.detector.accepts:
                return True
            why = f"{monitor.detector.label} does not read {kind} values, which {monitor.read} gives"
        self._tell(Unwatched(monitor.name, model, why))
        return False

    def _tell(self, unwatched: Unwatched) -> None:
        if unwatched[:2] not in self._told:
            self._told.add(unwatched[:2])
            self._unwatched.append(unwatched)

    def take_unwatched(self) -> list[Unwatched]:
        """What has come up since the last call."""
        found, self._unwatched = self._unwatched, []
        return found

    def stream(self, key: StreamKey) -> Stream:
        """A fresh stream. Watchers of `of: all` monitors come when their feature has its first value."""
        stream = Stream(key)
        for entry in self.entries(key):
            if entry.monitor.of is None:
                stream.add(self.watcher(entry, entry.monitor.signal, key))
        return stream

    def watcher(self, entry: Entry, signal: Signal, key: StreamKey) -> Watcher:
        monitor = entry.monitor
        kind = monitor.read_kind(entry.spec)
        detector = monitor.detector.build(kind, monitor.policy.direction)
        parts = monitor, entry.position, signal, detector, self.digest(entry)
        watcher = Watcher(*parts) if monitor.every is None else Bucketed(*parts, kind)
        self._set_up(watcher, entry, key)
        watcher.warmup = self._warmup(entry) if watcher.asked else None
        return watcher

    def _set_up(self, watcher: Watcher, entry: Entry, key: StreamKey) -> Watcher:
        watcher.late = entry.late
        watcher.need = self._need(entry)
        watcher.asked = not key.segment and entry.monitor.policy.warm_in > 0
        control = self._control
        watcher.applied = (
            control.applied({**subject(key), **watcher.subject()}) if control.windows else control.unaffected
        )
        watcher.sketch = Sketch() if self._sketch else None
        return watcher

    def _need(self, entry: Entry) -> int:
        """Values that a fresh detector needs, at least."""
        monitor, at = entry.monitor, (entry.position, entry.spec_id)
        if at not in self._needs:
            kind = monitor.read_kind(entry.spec)
            self._needs[at] = max(1, monitor.detector.build(kind, monitor.policy.direction).needs)
        return self._needs[at]

    def _warmup(self, entry: Entry) -> WarmUp:
        labels, need = entry.spec.labels, self._need(entry)
        wait_s = labels.wait if entry.late and labels is not None else 0.0
        return WarmUp(in_s(entry.monitor, wait_s, need), need)

    def restart(self, stream: Stream, watcher: Watcher) -> None:
        """The detector begins anew, with what is read from now on; so does its warm-up."""
        kind = watcher.monitor.read_kind(self.config.spec(stream.key.model))
        watcher.detector = watcher.monitor.detector.build(kind, watcher.monitor.policy.direction)
        if isinstance(watcher, Bucketed):
            watcher.buckets.restart()
        watcher.rest = watcher.need
        if watcher.asked and not watcher.cold:
            (entry,) = (one for one in self.entries(stream.key) if one.position == watcher.position)
            watcher.warmup = self._warmup(entry)
            stream.fresh = True

    def hold(self, stream: Stream, rows: Rows, readings: Readings) -> bool:
        """Let a few rows of events wait if nothing can be found in them; False: they are to be read."""
        held = stream.held or self._held(stream)
        at = rows.tolist()
        times_s = [readings.times_s[row] for row in at]
        if not held.fits(times_s):
            return False
        table = readings.tables.get(held.signals)
        if table is None:
            table = readings.table(held.signals, self.entries(stream.key))
        values = [table[row] for row in at]
        if None in values:
            return False
        held.take(values, times_s)
        return True

    def _held(self, stream: Stream) -> Held:
        """For nothing (its room is 0) where one watcher does not simply read every row."""
        entries = self.entries(stream.key)
        watchers = [stream.watchers.get((one.position, one.label)) for one in entries]
        apart = any(one.late or one.monitor.where is not None for one in entries)
        simple = [one for one in watchers if one is not None and not apart]
        simple = simple if len(simple) == len(entries) else []
        stream.held = held = Held(tuple((one.label, one.spec_id) for one in entries), simple)
        for watcher in simple:
            watcher.held = held
        return held

    def reads(
        self, stream: Stream, events: Rows, outcomes: Rows, readings: Readings
    ) -> Iterator[tuple[Watcher, Reading, Rows]]:
        """Each watcher of the stream with its reading of the batch, and the rows that it reads: of those of events,
        or of those of outcomes."""
        if stream.held is not None:
            stream.held.release()
        for entry in self.entries(stream.key):
            mine = rows = outcomes if entry.late else events
            if not len(mine):
                continue
            if entry.monitor.where is not None:
                mine = rows[readings.where(entry)[rows]]
                if not len(mine):
                    continue
            if entry.monitor.of is None:
                watcher = stream.watchers[entry.position, entry.label]
                yield watcher, readings.of(entry, watcher.signal, entry.label), mine
            else:
                yield from self._reads_all(stream, entry, mine, readings)

    def _reads_all(
        self, stream: Stream, entry: Entry, rows: Rows, readings: Readings
    ) -> Iterator[tuple[Watcher, Reading, Rows]]:
        known = {label: watcher for (at, label), watcher in stream.watchers.items() if at == entry.position}
        for label, watcher in known.items():
            yield watcher, readings.of(entry, watcher.signal, label), rows
        room = MAX_FEATURES - len(known)
        arriving = self._arriving(entry, known, rows, readings, room + 1)
        if len(arriving) > room:
            why = f"at most {MAX_FEATURES} features are watched: {arriving[room][1]!r} and later ones are not"
            self._tell(Unwatched(entry.monitor.name, stream.key.model, why))
        for first, _, signal in arriving[:room]:
            watcher = self.watcher(entry, signal, stream.key)
            stream.add(watcher)
            yield watcher, readings.of(entry, signal, watcher.label), rows[first:]

    def _arriving(
        self, entry: Entry, known: Mapping[str, Watcher], rows: Rows, readings: Readings, limit: int
    ) -> list[tuple[int, str, Signal]]:
        """Features that nobody watches yet and that have a value: (index in `rows` of their first value, name,
        signal), by row and name; not many more than `limit`."""
        monitor = entry.monitor
        left_out = {watcher.signal.name for watcher in known.values()} | set(monitor.except_)
        names = [name for name in readings.feature_names() - left_out if name and writable(name)]
        found: list[tuple[int, str]] = []
        if len(names) <= FEW_NAMES:
            for name in names:
                signal = monitor.signal.named(name)
                values = readings.of(entry, signal, str(signal)).values[rows]
                there = np.flatnonzero(values == 0 if signal.kind == "missing" else ~np.isnan(values))
                if len(there):
                    found.append((int(there[0]), name))
        else:  # a reading of every name would take for ever: value by value, until there are enough
            unseen = set(names)
            for index, row in enumerate(rows.tolist()):
                here = [name for name in readings.features(row) if name in unseen]
                has = [name for name in here if _has_value(monitor.signal, readings.features(row)[name])]
                found.extend((index, name) for name in has)
                unseen.difference_update(has)
                if len(found) >= limit or not unseen:
                    break
        return [(index, name, monitor.signal.named(name)) for index, name in sorted(found)]

    def digest(self, entry: Entry) -> str:
        """Of what gives a monitor's numbers their meaning on one model; not of severity, owner, texts or times."""
        at = entry.position, entry.spec_id  # not by model: of 10,000 models it would be half of a restore
        found = self._digests.get(at)
        if found is None:
            monitor = entry.monitor
            needs = _needs_of(monitor)
            fields = sorted(needs.fields | {"model", "version", "time"})
            if needs.features or needs.all_features:
                fields.append("features")
            found = self._digests[at] = stable_id(
                str(monitor.signal),
                monitor.of,
                monitor.detector.label,
                monitor.detector.state_version,
                plain(monitor.detector),
                monitor.policy.direction,
                None if monitor.where is None else plain(monitor.where),
                monitor.by,
                monitor.per,
                _spec(entry.spec, monitor.signal.of_labels),
                [
                    {name: plain(source.read).get(name) for name in fields} | _only(source)
                    for source in self.config.inputs
                    if source.kind == "predictions"
                ],
                [
                    {name: plain(source.read).get(name) for name in ("id", "model", "label")} | _only(source)
                    for source in self.config.inputs
                    if source.kind == "labels" and monitor.signal.of_labels
                ],
                *([] if monitor.every is None else [monitor.every.meaning]),
            )
        return found

    def load(self, content: Mapping[str, Any], where: str) -> tuple[Stream, tuple[str, ...], list[Removed]]:
        """A stream from its dump; the monitors whose state was taken over, and the watchers that were not."""
        try:
            model, version, segment = content["key"]
            key = StreamKey(model, version, tuple((str(name), str(value)) for name, value in segment))
            dumps = list(content["watchers"])
            trail = Trail.load(content["trail"])
            outcomes = content["outcomes"] and Trail.load(content["outcomes"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"state {where}: not a stream: {error!r}") from error
        stream = self.stream(key)
        stream.trail = trail
        stream.outcomes = outcomes or stream.outcomes
        by_name = {entry.monitor.name: entry for entry in self.entries(key)}
        kept: list[str] = []
        removed: list[Removed] = []
        for dump in dumps:
            try:
                name, text, digest = str(dump["monitor"]), str(dump["signal"]), str(dump["digest"])
            except (KeyError, TypeError) as error:
                raise StateDamaged(f"state {where}: not a watcher: {error!r}") from error
            entry = by_name.get(name)
            try:
                signal = Signal.model_validate(text)
            except ValueError as error:
                raise StateDamaged(f"state {where}: not a signal: {text!r}") from error
            if entry is None or self.digest(entry) != digest or signal.name in entry.monitor.except_:
                removed.append(Removed(name, digest, said_before(dump)))
                continue
            of = Watcher if entry.monitor.every is None else Bucketed
            kind = entry.monitor.read_kind(entry.spec)
            loaded = self._set_up(of.load(dump, entry.monitor, entry.position, signal, kind), entry, key)
            loaded.warmup = self._warmup_before(loaded, entry, dump)
            stream.add(loaded)
            kept.append(name)
        return stream, tuple(kept), removed

    def _warmup_before(self, watcher: Watcher, entry: Entry, dump: Mapping[str, Any]) -> WarmUp | None:
        """That of a watcher from its dump. One that was not asked before is from now on; what was said of one that is
        not asked any more still has its end."""
        said = dump.get("warmup")
        if said is None:
            asked = watcher.asked and "warmup" not in dump and watcher.detector.needs
            return self._warmup(entry) if asked else None
        warmup = self._warmup(entry)
        warmup.load(said)
        return warmup if watcher.asked or warmup.cold else None


class Readings:
    """What the signals read of one batch: each once, before grouping."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._readings: dict[tuple[str, int], Reading] = {}
        self._where: dict[int, Bools] = {}
        self.tables: dict[Signals, list[tuple[float, ...] | None]] = {}
        self._names: frozenset[str] | None = None

    def of(self, entry: Entry, signal: Signal, label: str) -> Reading:
        at = label, entry.spec_id
        reading = self._readings.get(at)
        if reading is None:
            reading = self._readings[at] = signal.read(self._events, entry.spec)
        return reading

    def table(self, signals: Signals, entries: tuple[Entry, ...]) -> list[tuple[float, ...] | None]:
        """The values of all signals by row; None for a row where not all of them are usable."""
        found = [self.of(one, one.monitor.signal, one.label) for one in entries]
        table = self.tables[signals] = list(zip(*(one.values.tolist() for one in found), strict=True))
        for row in np.flatnonzero(np.isnan([one.values for one in found]).any(axis=0)).tolist():
            table[row] = None
        return table

    @cached_property
    def times_s(self) -> list[float]:
        times_s: list[float] = self._events.time_s.tolist()
        return times_s

    def where(self, entry: Entry) -> Bools:
        rows = self._where.get(entry.position)
        if rows is None:
            assert entry.monitor.where is not None
            rows = self._where[entry.position] = entry.monitor.where.rows(self._events)
        return rows

    def features(self, row: int) -> Mapping[str, Any]:
        found = (self._events.all_features or ())[row]
        return found if isinstance(found, Mapping) else {}

    def feature_names(self) -> frozenset[str]:
        """Names of all features that occur in the batch."""
        if self._names is None:
            rows = self._events.all_features or ()
            self._names = frozenset().union(*(row for row in rows if isinstance(row, Mapping)))
        return self._names


def _has_value(signal: Signal, value: Any) -> bool:
    """Whether a feature's first value makes a watcher, as the signal's reading of its column would say."""
    if signal.kind == "missing":
        return value is not None and not (isinstance(value, float) and value != value)
    values, unusable = floats([value])
    return bool(values[0] == values[0] and not unusable[0])


def cut_of(key: StreamKey) -> Cut:
    return Cut("model" if key.version is None else "version", tuple(name for name, _ in key.segment))


def cuts_of(monitor: Monitor) -> tuple[Cut, ...]:
    return (Cut(monitor.per, ()), *(Cut(monitor.per, by) for by in monitor.by))


def _only(entry: Input) -> dict[str, Any]:
    return {} if entry.only is None else {"only": plain(entry.only)}


def _spec(spec: ModelSpec, of_labels: bool) -> dict[str, Any]:
    """What of a model's entry gives a signal its meaning."""
    said = plain(spec)
    labels = said.pop("labels")
    del said["silence"]
    if of_labels and labels is not None:
        names = ("wait", "read", "absent_means", "conflict", "sample")
        said["labels"] = {name: labels[name] for name in names}
    return said


def _needs_of(monitor: Monitor) -> Needs:
    needs = monitor.signal.needs()
    if monitor.of == "all":
        needs |= Needs(all_features=True)
    if monitor.where is not None:
        needs |= monitor.where.needs()
    return needs | Needs(features=frozenset(name for by in monitor.by for name in by))


def _needs(monitors: Iterable[Monitor]) -> Needs:
    needs = Needs()
    for monitor in monitors:
        needs |= _needs_of(monitor)
    return needs
