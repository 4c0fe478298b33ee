"""What is read at the scrape: ages, which change without the loop, and what the monitors last saw.

Gauges of watchers have many labels and are bounded: at most `SHOWN` watchers, whole segments first; how many are left
out is a gauge itself. What is open and what is watched is counted over all of them, so that an alarm on it misses none.
Models whose labels come late are bounded in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import NamedTuple, get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamwatch.conditions import MONITOR as SERVICE
from streamwatch.conditions import Kind
from streamwatch.config import Monitor
from streamwatch.engine import Condition
from streamwatch.engine import Gauge as Watcher
from streamwatch.latemodel import Waiting

SHOWN = 500
WATCHER_LABELS = ("model", "version", "segment", "monitor", "signal")


class Live(Collector):
    def __init__(self, shown: int, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._shown = shown
        self._clock = clock
        self._now = now
        self._watchers: tuple[list[Watcher], int] = ([], 0)
        self._monitors: list[_Monitor] = []
        self._conditions: Counter[tuple[str, bool]] | None = None
        self._waiting: tuple[list[Waiting], int] = ([], 0)
        self.fetched_at: float | None = None
        self.stream_time_s: float | None = None

    def keep(self, watchers: Iterable[Watcher]) -> None:
        """Keep the first `shown`: whole segments before slices, then by name, so that they stay the same."""
        ordered = sorted(watchers, key=_rank)
        self._watchers = (ordered[: self._shown], max(0, len(ordered) - self._shown))

    def count(self, watchers: Sequence[Watcher], monitors: Iterable[Monitor], late: Container[str]) -> None:
        """Over all watchers, by monitor. Every monitor of the config is counted, also one that watches nothing: on a 0
        an alarm can be set, on what is absent it cannot. Whoever holds no task has no monitors. `late`: those that
        read outcomes, which come no sooner than labels do."""
        watching = Counter(watcher.monitor for watcher in watchers if watcher.n)
        paused = Counter(watcher.monitor for watcher in watchers if watcher.paused)
        firing = Counter((watcher.monitor, watcher.silenced) for watcher in watchers if watcher.open)
        blind = Counter((watcher.monitor, watcher.silenced) for watcher in watchers if watcher.blind)
        self._monitors = [
            _Monitor(
                name,
                monitor.policy.severity,
                "outcomes" if name in late else "events",
                watching[name],
                paused[name],
                (firing[name, False], firing[name, True]),
                (blind[name, False], blind[name, True]),
            )
            for name, monitor in {monitor.name: monitor for monitor in monitors}.items()
        ]

    def stand(self, conditions: Iterable[Condition] | None) -> None:
        """What the service as a whole cannot see. None: it holds no task, and so cannot say."""
        self._conditions = (
            None if conditions is None else Counter((one.kind, one.silenced) for one in conditions)
        )

    def wait(self, waiting: Iterable[Waiting]) -> None:
        """Keep the first `shown` models by name."""
        ordered = sorted(waiting)
        self._waiting = (ordered[: self._shown], max(0, len(ordered) - self._shown))

    def collect(self) -> Iterator[Metric]:
        if self.fetched_at is not None:
            age = max(0.0, self._clock() - self.fetched_at)
            yield GaugeMetricFamily(
                "streamwatch_last_fetch_age_seconds", "Since the last fetch that succeeded.", age
            )
        if self.stream_time_s is not None:
            text = "How far the time of the newest event is behind the clock."
            delay = self._now() - self.stream_time_s
            yield GaugeMetricFamily("streamwatch_stream_time_delay_seconds", text, delay)
        yield from _monitors(self._monitors, self._conditions)
        yield from _waiting(*self._waiting)
        watchers, left_out = self._watchers
        yield GaugeMetricFamily(
            "streamwatch_monitors_left_out", "Watchers without gauges, because there are too many.", left_out
        )
        for name, text, read in _WATCHED:
            family = GaugeMetricFamily(f"streamwatch_monitor_{name}", text, labels=WATCHER_LABELS)
            for watcher in watchers:
                value = read(watcher)
                if value is not None:
                    family.add_metric(_labels(watcher), float(value))
            yield family


class _Monitor(NamedTuple):
    """How many of a monitor's watchers have read a value, are paused, have a firing alert open, are blind; of the last
    two those that are not silenced, and those that are."""

    name: str
    severity: str
    reads: str
    watching: int
    paused: int
    firing: tuple[int, int]
    blind: tuple[int, int]


def _monitors(monitors: Sequence[_Monitor], conditions: Counter[tuple[str, bool]] | None) -> Iterator[Metric]:
    """The service is a monitor, too: the one in whose name is said what it cannot see as a whole."""
    watching = GaugeMetricFamily(
        "streamwatch_watching", "Watchers of a monitor that have read a value.", labels=["monitor", "reads"]
    )
    paused = GaugeMetricFamily(
        "streamwatch_paused",
        "Watchers of a monitor that read nothing because of a pause.",
        labels=["monitor"],
    )
    opened = GaugeMetricFamily(
        "streamwatch_open_alerts",
        "Watchers whose alert is open.",
        labels=["monitor", "severity", "state", "silenced"],
    )
    standing = GaugeMetricFamily(
        "streamwatch_conditions",
        "What keeps more than one monitor from seeing: open alerts of the service, by kind.",
        labels=["kind", "silenced"],
    )
    for one in monitors:
        watching.add_metric([one.name, one.reads], one.watching)
        paused.add_metric([one.name], one.paused)
        for state, counts in (("firing", one.firing), ("blind", one.blind)):
            for silenced, count in zip(_SILENCED, counts, strict=True):
                opened.add_metric([one.name, one.severity, state, silenced], count)
    if conditions is not None:
        for marked, silenced in enumerate(_SILENCED):
            of = {kind: conditions[kind, bool(marked)] for kind in get_args(Kind)}
            opened.add_metric([SERVICE, "warning", "blind", silenced], sum(of.values()))
            for kind, count in of.items():
                standing.add_metric([kind, silenced], count)
    yield from (watching, paused, opened, standing)


_SILENCED = ("false", "true")


def _waiting(models: Sequence[Waiting], left_out: int) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "streamwatch_models_left_out",
        "Models with late labels that have no gauges, because there are too many.",
        left_out,
    )
    for name, text, read in _LATE:
        family = GaugeMetricFamily(f"streamwatch_{name}", text, labels=["model"])
        for model in models:
            value = read(model)
            if value is not None:
                family.add_metric([model.model], float(value))
        yield family


_LATE: tuple[tuple[str, str, Callable[[Waiting], float | None]], ...] = (
    ("waiting_predictions", "Predictions that wait for their labels.", lambda w: w.predictions),
    (
        "waiting_predictions_most",
        "How many may wait; then the oldest leave before their time.",
        lambda w: w.most,
    ),
    (
        "label_coverage",
        "Share of the last 1,000 predictions to leave that had a label.",
        lambda w: w.labels.coverage,
    ),
    ("label_delay_seconds", "Median delay of the last 256 labels.", lambda w: w.labels.median_delay_s),
)


_WATCHED: tuple[tuple[str, str, Callable[[Watcher], float | None]], ...] = (
    ("level", "Mean of the signal since its last change.", lambda w: w.level if w.n else None),
    ("values", "Values that the level rests on.", lambda w: w.n),
    ("statistic", "The detector's own statistic.", lambda w: w.statistic),
    ("reference", "Level of the reference.", lambda w: w.reference),
    ("warm", "1 when the detector has seen enough to alarm.", lambda w: w.warm),
    ("open", "1 while a firing alert is open.", lambda w: w.open),
    ("blind", "1 while the monitor cannot see.", lambda w: w.blind),
)


def _segment(watcher: Watcher) -> str:
    return ",".join(f"{name}={value}" for name, value in watcher.segment)


def _rank(watcher: Watcher) -> tuple[bool, tuple[str, ...]]:
    return bool(watcher.segment), _labels(watcher)


def _labels(watcher: Watcher) -> tuple[str, str, str, str, str]:
    return watcher.model, watcher.version or "", _segment(watcher), watcher.monitor, watcher.signal
