"""The engine: records of one task in, alerts out.

It returns and does not send: no clock, no I/O, no log. Time is stream time: the running maximum of the events' own
times. Results never depend on how records fall into batches, and an engine restored from what `changes` and `mark`
gave goes on exactly. Commands stand among the records, and act at their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from streamwatch import conditions
from streamwatch.alerts import Alert, Labels, Severity
from streamwatch.commands import command
from streamwatch.compose import Composer
from streamwatch.conditions import About, Conditions, Kind
from streamwatch.config import Config
from streamwatch.control import STATE_KEY, Control
from streamwatch.decode import Decoder
from streamwatch.errors import SenderError, StateDamaged, StateForeign
from streamwatch.events import DeadLetter, Decoded, StreamKey
from streamwatch.execute import Execution, Obeyed
from streamwatch.join import PREFIX, Join
from streamwatch.latemodel import Waiting
from streamwatch.ledger import Ledger
from streamwatch.notices import Notices
from streamwatch.passage import Passage
from streamwatch.plan import Plan, Unwatched, cut_of
from streamwatch.policy import Decision
from streamwatch.records import Batch
from streamwatch.segments import PREFIX as SEGMENTS
from streamwatch.segments import Segments, Slicing
from streamwatch.sketch import Sketch
from streamwatch.state import pack, unpack
from streamwatch.traffic import Traffic, merged, plain
from streamwatch.voice import Voice
from streamwatch.windows import covering


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch gave. Every record gives events or a label, or is one of dead letters, ignored, tombstones.

    unusable  values that could not be used, by monitor
    evicted   stream keys that went because there were too many
    retired   stream keys of versions that are silent while another is not
    unwatched monitors that cannot watch a model which has just appeared; each is said once
    obeyed    commands, in their order
    labels    label events
    joined    what became of predictions and labels that wait for each other, see `Join.take_counts`
    pooled    slicings of which further segments are pooled from now on; each is said once
    """

    alerts: Sequence[Alert] = ()
    dead_letters: Sequence[DeadLetter] = ()
    events: int = 0
    ignored: int = 0
    tombstones: int = 0
    unusable: Mapping[str, int] = field(default_factory=dict)
    evicted: Sequence[StreamKey] = ()
    retired: Sequence[StreamKey] = ()
    unwatched: Sequence[Unwatched] = ()
    obeyed: Sequence[Obeyed] = ()
    labels: int = 0
    joined: Mapping[str, int] = field(default_factory=dict)
    pooled: Sequence[Slicing] = ()


class OpenAlert(NamedTuple):
    """What is open: the alert last said of it, and since when: the onset of the drift, else the time of its first
    alert."""

    alert: Alert
    since_s: float


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore took over: monitors whose state was kept and dropped, and the alerts that end what was open of
    the dropped ones (to be written with the next commit). `not_waiting`: models whose predictions wait no longer for
    their labels, because the config reads something else of them now."""

    keys: int = 0
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    not_waiting: tuple[str, ...] = ()


class Gauge(NamedTuple):
    """One watcher's present state, for the metrics. `silenced`: what is open of it is marked; `waiting`: values in
    buckets that are not closed."""

    model: str
    version: str | None
    segment: tuple[tuple[str, str], ...]
    monitor: str
    signal: str
    level: float
    n: int
    statistic: float | None
    warm: bool
    open: bool
    blind: bool
    reference: float | None = None
    silenced: bool = False
    paused: bool = False
    waiting: int = 0


class Condition(NamedTuple):
    """What keeps more than one monitor from seeing, for the metrics."""

    kind: Kind
    severity: Severity
    silenced: bool


class Engine:
    """`sketch`: watchers draw what they read, see `sketches`."""

    def __init__(self, config: Config, task: int = 0, sketch: bool = False) -> None:
        self.config = config
        self.task = task
        self.stream_time_s: float | None = None
        self.restored = Restored()
        self.control = Control(config)
        self._plan = Plan(config, self.control, sketch)
        self._decoder = Decoder(
            config.inputs, self._plan.needs, config.ahead, config.outputs.dead_letters.payload
        )
        self._composer = Composer(config)
        self._ledger = Ledger()
        self._segments = Segments(config.max_segments, self._plan)
        late = any(spec.labels is not None for spec in config.models.values())
        self._orphans: set[str] = set()
        self._join = Join(config, self._plan.needs_of_outcomes) if late else None
        self._voice = Voice(self._composer, self._ledger, self.control)
        self._conditions = Conditions(self._composer, self.control)
        self._notices = Notices(config, self._conditions, self._join, self._ledger.models)
        self._execution = Execution(self._plan, self._ledger, self.control, self._voice, self._conditions)

    def process(self, batch: Batch) -> Output:
        commands = [
            index for index, source in enumerate(batch.sources) if source.topic == self.config.control_topic
        ]
        rows = np.flatnonzero(np.isin(batch.source, commands)).tolist() if commands else []
        outputs: list[Output] = []
        start = 0
        for row in rows:
            if row > start:
                outputs.append(self._events(batch.rows(start, row)))
            outputs.append(self._command(batch, row))
            start = row + 1
        if start < len(batch) or not outputs:
            outputs.append(self._events(batch.rows(start, len(batch))))
        return outputs[0] if len(outputs) == 1 else _joined(outputs)

    def _command(self, batch: Batch, row: int) -> Output:
        value = batch.value[row]
        if value is None:
            return Output(tombstones=1)
        try:
            alerts, obeyed = self._execution.obey(command(value), self.stream_time_s)
        except SenderError as error:
            return Output(dead_letters=[self._decoder.dead_letter(batch, row, error)])
        return Output(alerts, obeyed=[obeyed])

    def _events(self, batch: Batch) -> Output:
        decoded = self._decoder.decode(batch)
        traffic = self._traffic(batch, decoded)
        if not len(traffic):
            return Output(
                (),
                decoded.dead_letters,
                0,
                decoded.ignored,
                decoded.tombstones,
                labels=len(decoded.labels),
                joined=self._joined(),
            )
        if len(decoded.events):
            self.control.began(float(decoded.events.time_s[0]))
        passage = Passage(
            self.config,
            self._plan,
            self._voice,
            self._ledger,
            self._notices,
            self._segments,
            traffic,
        )
        passage.run()
        self.stream_time_s = passage.stream_time_s
        return Output(
            passage.alerts,
            decoded.dead_letters,
            len(decoded.events),
            decoded.ignored,
            decoded.tombstones,
            passage.unusable(),
            passage.evicted,
            passage.retired,
            self._plan.take_unwatched(),
            labels=len(decoded.labels),
            joined=self._joined(),
            pooled=self._segments.take_full(),
        )

    def _joined(self) -> Mapping[str, int]:
        return {} if self._join is None else self._join.take_counts()

    def _traffic(self, batch: Batch, decoded: Decoded) -> Traffic:
        events = decoded.events
        before_s = self.stream_time_s
        least = -np.inf if before_s is None else before_s
        stream_s = np.maximum.accumulate(np.maximum(events.time_s, least))
        outcomes = None
        if self._join is not None:
            outcomes = self._join.take(batch, events, decoded.labels, stream_s, before_s)
        if outcomes is None:
            if self._join is not None:
                self._join.place(np.arange(len(events)), len(events))
            return replace(plain(batch, events, stream_s), labels=self._standing)
        traffic, rows = merged(batch, events, stream_s, outcomes)
        assert self._join is not None
        self._join.place(rows, len(traffic))
        return replace(traffic, labels=self._standing)

    def _standing(self, model: str, row: int) -> Labels | None:
        return None if self._join is None else self._join.standing(model, row)

    @property
    def pending_bytes(self) -> int:
        """About how much of state `changes` will give."""
        return self._ledger.pending_bytes + (0 if self._join is None else self._join.pending_bytes)

    def changes(self) -> dict[str, bytes | None]:
        """State that changed since the last call, by key; None = deleted. To be committed with the alerts."""
        join = {} if self._join is None else self._join.changes()
        join |= dict.fromkeys(self._orphans)
        self._orphans = set()
        changes = {**self._ledger.changes(), **self.control.changes(), **self._conditions.changes(), **join}
        return changes | self._segments.changes()

    def mark(self) -> bytes:
        """What the task as a whole needs to go on."""
        return pack("mark", {"service": self.config.service, "stream_time_s": self.stream_time_s})

    @classmethod
    def restore(
        cls, config: Config, task: int, state: Mapping[str, bytes], mark: bytes, sketch: bool = False
    ) -> Engine:
        """An engine that goes on from what `changes` and `mark` gave; StateError if that cannot be used."""
        engine = cls(config, task, sketch)
        not_waiting: list[str] = []
        if mark:
            engine._restore_mark(unpack("mark", mark, "mark"))
            said = state.get(STATE_KEY)
            content = None if said is None else unpack(STATE_KEY, said, STATE_KEY)
            engine.control.load(content, engine.stream_time_s)
            if conditions.STATE_KEY in state:
                where = conditions.STATE_KEY
                engine._conditions.load(unpack(where, state[where], where))
            of_labels = {key: data for key, data in state.items() if key.startswith(PREFIX)}
            if engine._join is not None:
                not_waiting = engine._join.load(of_labels)
            else:
                engine._orphans = set(of_labels)  # the config has no late labels any more
        kept: set[str] = set()
        dropped: set[str] = set()
        alerts: list[Alert] = []
        decision = Decision("ended", "removed", engine.stream_time_s or 0.0)
        for where, data in sorted(state.items()):
            if where in (STATE_KEY, conditions.STATE_KEY) or where.startswith(PREFIX):
                continue
            if where.startswith(SEGMENTS):
                engine._segments.load(unpack("segments", data, where), where)
                continue
            stream, names, removed = engine._plan.load(unpack("key", data, where), where)
            kept.update(names)
            dropped.update(watcher.monitor for watcher in removed)
            alerts.extend(
                engine._composer.ended(stream.key, stream.trail, watcher.digest, about, said, decision)
                for watcher in removed
                for about, said in sorted(watcher.said.items())
            )
            if cut_of(stream.key) not in engine._plan.cuts or not engine._plan.entries(stream.key):
                engine._ledger.forget(stream.key)
                continue
            engine._ledger.open(stream)
            if removed:
                engine._ledger.changed(stream.key)
            for watcher in stream.watchers.values():
                engine._ledger.remind(stream, watcher)
            engine._notices.heard(stream)
        engine._notices.restored()
        engine._segments.loaded(engine._ledger.streams)
        engine.restored = Restored(
            len(engine._ledger.streams),
            tuple(sorted(kept)),
            tuple(sorted(dropped)),
            tuple(alerts),
            tuple(not_waiting),
        )
        return engine

    def _restore_mark(self, content: Mapping[str, object]) -> None:
        if content.get("service") != self.config.service:
            raise StateForeign(
                f"the state belongs to the service {content.get('service')!r}, this is {self.config.service!r}: "
                "choose another state topic or another service name"
            )
        match content.get("stream_time_s"):
            case None:
                self.stream_time_s = None
            case float(time_s):
                self.stream_time_s = time_s
            case other:
                raise StateDamaged(f"mark: stream time: expected seconds, got {other!r}")

    @property
    def stream_keys(self) -> int:
        return len(self._ledger.streams)

    @property
    def pooled(self) -> list[Slicing]:
        """Slicings of which some segments are pooled."""
        return self._segments.pooled

    def open(self) -> list[OpenAlert]:
        """What is open, by stream key and monitor."""
        found = []
        for stream in sorted(self._ledger.streams.values(), key=lambda stream: stream.order):
            for _, watcher in sorted(stream.watchers.items()):
                for about, said in sorted(watcher.said.items()):
                    found.append(OpenAlert(said, watcher.standing(about).since_s))
        return found + [OpenAlert(*standing[:2]) for _, standing in sorted(self._conditions.standing.items())]

    def on_clock(self, now_s: float) -> list[Alert]:
        """What only time can show: models that are silent although all has been read by `now_s`, seconds since the
        epoch. To be committed with what else is said; outside "live equals replay"."""
        return self._notices.on_clock(now_s)

    def blind_inputs(self) -> list[About]:
        """What `on_input` was told and has not been told the end of."""
        return self._conditions.of_inputs()

    def on_input(self, about: About, blind: bool, detail: str, now_s: float) -> list[Alert]:
        """What the transport tells of its inputs; as `on_clock`."""
        return self._notices.on_input(about, blind, detail, now_s)

    def sketches(self) -> dict[tuple[StreamKey, str, str], Sketch]:
        """What watchers drew, by stream key, monitor and signal."""
        return {
            (key, watcher.monitor.name, watcher.label): watcher.sketch
            for key, stream in self._ledger.streams.items()
            for watcher in stream.watchers.values()
            if watcher.sketch is not None
        }

    def gauges(self) -> list[Gauge]:
        now_s = self.stream_time_s
        return [
            Gauge(
                key.model,
                key.version or None,
                key.segment,
                watcher.monitor.name,
                watcher.label,
                watcher.detector.level.mean,
                watcher.detector.level.n,
                watcher.detector.statistic,
                watcher.detector.warm,
                bool(watcher.drifts),
                watcher.blindness is not None,
                None,
                any(said.silenced for said in watcher.said.values()),
                now_s is not None and covering(watcher.applied.skips, now_s) is not None,
                watcher.waiting,
            )
            for key, stream in self._ledger.streams.items()
            for watcher in stream.watchers.values()
        ]

    def conditions(self) -> list[Condition]:
        """What stands of them."""
        return [
            Condition(about.kind, said.severity, said.silenced)
            for about, (said, *_) in sorted(self._conditions.standing.items())
        ]

    def waiting(self) -> list[Waiting]:
        """Predictions that wait for their labels, by model."""
        return [] if self._join is None else self._join.waiting()

    @property
    def early_labels(self) -> int:
        """Labels that wait for their predictions."""
        return 0 if self._join is None else self._join.early


def _joined(outputs: Sequence[Output]) -> Output:
    """The outputs of the parts of one batch as one."""
    unusable: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for output in outputs:
        unusable.update(output.unusable)
        joined.update(output.joined)
    return Output(
        [alert for output in outputs for alert in output.alerts],
        [letter for output in outputs for letter in output.dead_letters],
        sum(output.events for output in outputs),
        sum(output.ignored for output in outputs),
        sum(output.tombstones for output in outputs),
        unusable,
        [key for output in outputs for key in output.evicted],
        [key for output in outputs for key in output.retired],
        [one for output in outputs for one in output.unwatched],
        [one for output in outputs for one in output.obeyed],
        sum(output.labels for output in outputs),
        joined,
        [one for output in outputs for one in output.pooled],
    )
