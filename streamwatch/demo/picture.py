"""A signal over time as a few lines of text, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from streamwatch.config import Config, Monitor
from streamwatch.decode import Decoder
from streamwatch.demo.feed import Feed
from streamwatch.records import Batch, Source
from streamwatch.series import Floats

WIDTH, HEIGHT = 60, 7


def signal(config: Config, monitor: Monitor, feed: Feed) -> tuple[Floats, Floats]:
    """The monitor's signal of the events as the service reads it: times (seconds) and values, the usable ones."""
    (topic,) = config.input_topics
    n = len(feed)
    batch = Batch(
        0,
        (Source(topic, 0),),
        np.zeros(n, dtype=np.int32),
        np.arange(n, dtype=np.int64),
        np.round(np.array(feed.times_s) * 1000.0).astype(np.int64),
        (None,) * n,
        tuple(feed.value(row) for row in range(n)),
        ((),) * n,
    )
    events = Decoder(config.inputs, monitor.signal.needs()).decode(batch).events
    reading = monitor.signal.read(events, config.spec(events.model[0]))
    usable = ~np.isnan(reading.values)
    return events.time_s[usable], reading.values[usable]


def picture(times_s: Floats, values: Floats, marks: Mapping[str, float]) -> list[str]:
    """Means of WIDTH spans of equal length, a dot each, and below them the marks by their times, as they come.

    times_s ascends; there must be values.
    """
    first_s, last_s = float(times_s[0]), float(times_s[-1])
    column = _columns(times_s, first_s, last_s)
    counts = np.bincount(column, minlength=WIDTH)
    sums = np.bincount(column, weights=values, minlength=WIDTH)
    means = np.full(WIDTH, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    scale = (HEIGHT - 1) / (high - low) if high > low else 0.0
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    for at, mean in enumerate(means):
        if not np.isnan(mean):
            rows[round((high - mean) * scale)][at] = "*"
    labels = {0: _short(high), HEIGHT - 1: _short(low)}
    lines = [f"{labels.get(row, ''):>8} |{''.join(marked).rstrip()}" for row, marked in enumerate(rows)]
    lines.append(f"{'':>8} +{'-' * WIDTH}")
    for name, time_s in marks.items():
        at = int(_columns(np.array([time_s]), first_s, last_s)[0])
        text = f"{' ' * at}^ {name}" if at + len(name) + 2 <= WIDTH else f"{name} ^".rjust(at + 1)
        lines.append(f"{'':>8}  {text}")
    return lines


def _columns(times_s: Floats, first_s: float, last_s: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    span_s = max(last_s - first_s, 1e-9)
    return np.clip((times_s - first_s) / span_s * WIDTH, 0, WIDTH - 1).astype(np.int64)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"
