"""What the service counts and shows to Prometheus, on a registry of its own.

Counters follow commits, so a batch that is processed twice is counted once. What monitors see is in `gauges`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from streamwatch import __version__
from streamwatch.engine import Engine, Restored
from streamwatch.errors import PlatformError
from streamwatch.gauges import SHOWN, Live
from streamwatch.join import UNJOINED
from streamwatch.observer import Work
from streamwatch.transports.base import Closed, Opened, Progress, Stalled

SNAPSHOT_S = 5.0
# Of 40,000 watchers a snapshot takes a second: the next one comes after so many times what the last one took.
SNAPSHOT_SHARE = 30.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COMMIT_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class Metrics:
    """An observer that counts. `text` may be called from any thread."""

    def __init__(
        self,
        shown: int = SHOWN,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._snapshot_due = float("-inf")
        self._overtaken = 0
        self._lag_of: set[tuple[str, str]] = set()
        self._live = Live(shown, clock, now)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"streamwatch_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"streamwatch_{name}", text, labels, registry=self.registry)

        self._records = counter("records", "Input records processed and committed.")
        self._events = counter("events", "Prediction events processed and committed.")
        self._labels = counter("labels", "Label events processed and committed.")
        self._outcomes = counter(
            "outcomes", "Outcomes read: predictions with their labels, or what no label means."
        )
        self._joined = counter("joined_labels", "Labels that found their prediction.")
        self._unjoined = counter("unjoined_predictions", "Predictions that no label was joined to.", "reason")
        self._strays = counter("unjoined_labels", "Labels whose prediction did not come, or had left.")
        self._ignored = counter("ignored_records", "Records that the mapping says are not for us.")
        self._tombstones = counter("tombstones", "Records without a value.")
        self._dead_letters = counter("dead_letters", "Records that could not be read.", "code")
        self._alerts = counter("alerts", "Alerts written.", "state", "severity")
        self._unusable = counter(
            "unusable_values", "Values that a monitor could not use, or too late.", "monitor"
        )
        self._evicted = counter("evicted_stream_keys", "Stream keys that went because there were too many.")
        self._retired = counter("retired_stream_keys", "Stream keys of versions that fell silent.")
        self._commits = counter("commits", "Transactions committed.")
        self._seconds = Histogram(
            "streamwatch_commit_seconds",
            "Time of one commit.",
            buckets=COMMIT_BUCKETS_S,
            registry=self.registry,
        )
        self._overtakings = counter("overtaken_records", "Records that came after a later one was processed.")
        self._lost = counter("lost_records", "Records deleted before they were read.", "topic", "partition")
        self._restores = counter("restores", "Tasks restored from their last commit.")
        self._stalls = counter("stalls", "Times that a partition gave nothing though not at its end.")
        self._errors = counter("errors", "Failed polls and commits.", "error")
        self._tasks = gauge("tasks", "Tasks held by this worker.")
        self._lag = gauge("lag_records", "Records not yet processed.", "topic", "partition")
        self._ready = gauge("ready", "1 when joined, restored and reading, or a healthy standby.")
        self._early = gauge("waiting_labels", "Labels that wait for their predictions.")
        self._keys = gauge("stream_keys", "Stream keys with state.")
        self._pooled = gauge("pooled_slicings", "Slicings of a model that have more segments than may be.")
        gauge("build_info", "Always 1; says the version.", "version").labels(__version__).set(1)
        self.registry.register(self._live)

    def text(self) -> bytes:
        return generate_latest(_Told(self.registry))

    def opened(self, opened: Opened) -> None:
        self._restores.inc()
        for source, count in opened.lost.items():
            self._lost.labels(source.topic, str(source.partition)).inc(count)

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        pass

    def closed(self, closed: Closed) -> None:
        pass

    def stalled(self, stalled: Stalled) -> None:
        if stalled.stalled:
            self._stalls.inc()

    def committed(self, work: Work, seconds: float) -> None:
        self._commits.inc()
        self._seconds.observe(seconds)
        self._records.inc(work.records)
        self._events.inc(work.events)
        self._labels.inc(work.labels)
        self._outcomes.inc(work.joined.get("outcomes", 0))
        self._joined.inc(work.joined.get("labels", 0))
        self._strays.inc(work.joined.get("labels without a prediction", 0))
        for reason in UNJOINED:
            self._unjoined.labels(reason).inc(work.joined.get(reason, 0))
        self._ignored.inc(work.ignored)
        self._tombstones.inc(work.tombstones)
        self._evicted.inc(len(work.evicted))
        self._retired.inc(len(work.retired))
        for monitor, count in work.unusable.items():
            self._unusable.labels(monitor).inc(count)
        for alert in work.alerts:
            self._alerts.labels(alert.state, alert.severity).inc()
        for letter in work.dead_letters:
            self._dead_letters.labels(letter.code).inc()

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        self._errors.labels(type(error).__name__).inc()

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        if progress.overtaken > self._overtaken:
            self._overtakings.inc(progress.overtaken - self._overtaken)
            self._overtaken = progress.overtaken
        self._ready.set(progress.ready and healthy)
        self._live.fetched_at = progress.fetched_at
        began = self._clock()
        if began < self._snapshot_due and healthy:
            return
        self._snapshot(progress, engines)
        ended = self._clock()
        self._snapshot_due = ended + max(SNAPSHOT_S, SNAPSHOT_SHARE * (ended - began))

    def _snapshot(self, progress: Progress, engines: Mapping[int, Engine]) -> None:
        lag_of = {(source.topic, str(source.partition)) for source in progress.lag}
        for labels in self._lag_of - lag_of:
            self._lag.remove(*labels)
        self._lag_of = lag_of
        for source, count in progress.lag.items():
            self._lag.labels(source.topic, str(source.partition)).set(count)
        self._tasks.set(len(engines))
        self._keys.set(sum(engine.stream_keys for engine in engines.values()))
        self._pooled.set(sum(len(engine.pooled) for engine in engines.values()))
        times = [t for t in (engine.stream_time_s for engine in engines.values()) if t is not None]
        self._live.stream_time_s = max(times, default=None)
        watchers = [watcher for engine in engines.values() for watcher in engine.gauges()]
        self._live.keep(watchers)
        configs = [engine.config for engine in engines.values()]
        late = {name for config in configs for name in config.late_monitors}
        self._live.count(watchers, [m for config in configs for m in config.monitors], late)
        self._live.stand([c for e in engines.values() for c in e.conditions()] if engines else None)
        self._live.wait(waiting for engine in engines.values() for waiting in engine.waiting())
        self._early.set(sum(engine.early_labels for engine in engines.values()))


class _Told(CollectorRegistry):
    """A registry without the `_created` series that prometheus-client adds to each counter: they double the
    number of series, and can be switched off only for the whole process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
