"""The engine: records of one task in, alerts out.

It returns and does not send: no clock, no I/O, no log. Time is stream time: the running maximum of the events' own
times. Results never depend on how records fall into batches, and an engine restored from what `changes` and `mark`
gave goes on exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamwatch.alerts import Alert
from streamwatch.compose import Composer
from streamwatch.config import Config
from streamwatch.decode import Decoder
from streamwatch.errors import StateDamaged, StateForeign
from streamwatch.events import DeadLetter, StreamKey
from streamwatch.ledger import Ledger
from streamwatch.passage import Passage
from streamwatch.plan import Plan, Unwatched, cut_of
from streamwatch.policy import Decision
from streamwatch.records import Batch
from streamwatch.state import pack, unpack


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch gave. Every record gives events, or is one of dead letters, ignored, tombstones.

    unusable  values that could not be used, by monitor
    evicted   stream keys that went because there were too many
    retired   stream keys of versions that are silent while another is not
    unwatched monitors that cannot watch a model which has just appeared; each is said once
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


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore took over: monitors whose state was kept and dropped, and the alerts that end what was open of
    the dropped ones (to be written with the next commit)."""

    keys: int = 0
    kept: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()


class Gauge(NamedTuple):
    """One watcher's present state, for the metrics."""

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


class Engine:
    def __init__(self, config: Config, task: int = 0) -> None:
        self.config = config
        self.task = task
        self.stream_time_s: float | None = None
        self.restored = Restored()
        self._plan = Plan(config)
        self._decoder = Decoder(
            config.inputs, self._plan.needs, config.ahead, config.outputs.dead_letters.payload
        )
        self._composer = Composer(config)
        self._ledger = Ledger()

    def process(self, batch: Batch) -> Output:
        decoded = self._decoder.decode(batch)
        if not len(decoded.events):
            return Output((), decoded.dead_letters, 0, decoded.ignored, decoded.tombstones)
        passage = Passage(
            self.config,
            self._plan,
            self._composer,
            self._ledger,
            batch,
            decoded.events,
            self.stream_time_s,
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
        )

    def changes(self) -> dict[str, bytes | None]:
        """State that changed since the last call, by key; None = deleted. To be committed with the alerts."""
        return self._ledger.changes()

    def mark(self) -> bytes:
        """What the task as a whole needs to go on."""
        return pack("mark", {"service": self.config.service, "stream_time_s": self.stream_time_s})

    @classmethod
    def restore(cls, config: Config, task: int, state: Mapping[str, bytes], mark: bytes) -> Engine:
        """An engine that goes on from what `changes` and `mark` gave; StateError if that cannot be used."""
        engine = cls(config, task)
        if mark:
            engine._restore_mark(unpack("mark", mark, "mark"))
        kept: set[str] = set()
        dropped: set[str] = set()
        alerts: list[Alert] = []
        decision = Decision("ended", "removed", engine.stream_time_s or 0.0)
        for where, data in sorted(state.items()):
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
        engine.restored = Restored(
            len(engine._ledger.streams), tuple(sorted(kept)), tuple(sorted(dropped)), tuple(alerts)
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

    def gauges(self) -> list[Gauge]:
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
            )
            for key, stream in self._ledger.streams.items()
            for watcher in stream.watchers.values()
        ]
