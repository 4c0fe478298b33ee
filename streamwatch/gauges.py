"""What is read at the scrape: ages, which change without the loop, and what the monitors last saw.

Gauges of watchers have many labels and are bounded: at most `SHOWN` watchers, whole segments first; how many are left
out is a gauge itself. What is open and what is watched is counted over all of them, so that an alarm on it misses none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamwatch.engine import Gauge as Watcher

SHOWN = 500
WATCHER_LABELS = ("model", "version", "segment", "monitor", "signal")


class Live(Collector):
    def __init__(self, shown: int, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._shown = shown
        self._clock = clock
        self._now = now
        self._watchers: tuple[list[Watcher], int] = ([], 0)
        self._monitors: list[_Monitor] = []
        self.fetched_at: float | None = None
        self.stream_time_s: float | None = None

    def keep(self, watchers: Iterable[Watcher]) -> None:
        """Keep the first `shown`: whole segments before slices, then by name, so that they stay the same."""
        ordered = sorted(watchers, key=_rank)
        self._watchers = (ordered[: self._shown], max(0, len(ordered) - self._shown))

    def count(self, watchers: Sequence[Watcher], severities: Mapping[str, str]) -> None:
        """Over all watchers, by monitor. Every monitor of the config is counted, also one that watches nothing: on a 0
        an alarm can be set, on what is absent it cannot. Whoever holds no task has no monitors."""
        watching = Counter(watcher.monitor for watcher in watchers if watcher.n)
        firing = Counter(watcher.monitor for watcher in watchers if watcher.open)
        blind = Counter(watcher.monitor for watcher in watchers if watcher.blind)
        self._monitors = [
            _Monitor(name, severity, watching[name], firing[name], blind[name])
            for name, severity in severities.items()
        ]

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
        yield from _monitors(self._monitors)
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
    """How many of a monitor's watchers have read a value, have a firing alert open, are blind."""

    name: str
    severity: str
    watching: int
    firing: int
    blind: int


def _monitors(monitors: Sequence[_Monitor]) -> Iterator[Metric]:
    watching = GaugeMetricFamily(
        "streamwatch_watching", "Watchers of a monitor that have read a value.", labels=["monitor"]
    )
    opened = GaugeMetricFamily(
        "streamwatch_open_alerts", "Watchers whose alert is open.", labels=["monitor", "severity", "state"]
    )
    for one in monitors:
        watching.add_metric([one.name], one.watching)
        opened.add_metric([one.name, one.severity, "firing"], one.firing)
        opened.add_metric([one.name, one.severity, "blind"], one.blind)
    yield from (watching, opened)


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
