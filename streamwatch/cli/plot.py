"""A small plot of a signal around a change, in text of 80 columns: its means as a line of dots, the levels before and
after, onset and alert marked.

    >>> from streamwatch.sketch import Sketch
    >>> import numpy as np
    >>> sketch = Sketch()
    >>> times_s = np.arange(4000.0) + 1.7e9
    >>> sketch.add(times_s, np.where(times_s < 1.7e9 + 2000, 0.1, 0.3))
    >>> marks = Marks(onset_s=1.7e9 + 2000, uncertain_s=9.0, alert_s=1.7e9 + 2250, before=(0.1, 2000), after=(0.3, 250))
    >>> for text in plot(sketch.buckets(), marks, rows=3):
    ...     print(text)
          0.3 ┤                                  ⢸⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉
              │                                  ⢸        ┊
          0.1 ┤⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣸        ┊
              └──────────────────────────────────○────────●─────────────────────────
               2023-11-14T22:30:00Z                             2023-11-14T23:03:20Z
               ○ onset 2023-11-14T22:46:40Z ± 9s   ● alert 2023-11-14T22:50:50Z
               ┄ 0.1 before (2,000 values), 0.3 since (250)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamwatch.alerts import rfc3339
from streamwatch.series import Floats
from streamwatch.sketch import Buckets
from streamwatch.units import duration

COLUMNS = 80
ROWS = 8
LABEL = 10
# A cell of braille has 2 x 4 dots; the bits of U+2800, by column and row.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE = 0x2800
# A mean of fewer values than this is mostly noise: the line then has fewer, longer steps.
VALUES = 40
FEWEST_STEPS = 12
PLAIN = str.maketrans(
    {"┤": "|", "│": "|", "└": "+", "─": "-", "┄": "-", "┊": ":", "○": "o", "●": "x", "±": "+-"}
)


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked: times in seconds since the epoch; before and after as (mean, number of values).

    `later_s`: values are drawn at the times of their predictions, and are read so much later, with their labels. The
    alert is marked at the predictions that were read then.
    """

    onset_s: float
    uncertain_s: float
    alert_s: float
    before: tuple[float, int]
    after: tuple[float, int]
    later_s: float = 0.0

    @property
    def found_s(self) -> float:
        return self.alert_s - self.later_s


def plot(buckets: Buckets, marks: Marks, rows: int = ROWS, plain: bool = False) -> list[str]:
    """Lines of at most 80 columns; none if nothing was drawn around the change. `plain`: ASCII only."""
    start_s, stop_s = _window(buckets, marks)
    width = COLUMNS - LABEL - 1
    means = _steps(buckets, start_s, stop_s, 2 * width)
    means[~np.isfinite(means)] = np.nan  # sums beyond float64
    if np.isnan(means).all():
        return []
    levels = (marks.before[0], marks.after[0])
    low = min(float(np.nanmin(means)), *levels)
    high = max(float(np.nanmax(means)), *levels)
    pad = 0.0 if high > low else max(abs(high), 1.0) * 0.1
    field = _Field(start_s, stop_s, low - pad, high + pad, width, rows)
    field.line(means)
    field.level(levels[0], start_s, marks.onset_s)
    field.level(levels[1], marks.onset_s, stop_s)
    for time_s in (marks.onset_s, marks.found_s):
        field.upright(time_s)
    text = [*field.drawn(), field.axis(marks), *_legend(marks, start_s, stop_s)]
    if plain:
        text = [
            "".join("*" if BRAILLE < ord(c) < BRAILLE + 256 else c for c in line).translate(PLAIN)
            for line in text
        ]
    return text


def _window(buckets: Buckets, marks: Marks) -> tuple[float, float]:
    """Around the change, so wide that it can be seen that it is one; all there is if that is not much more."""
    begin_s, end_s = buckets.start_s, buckets.start_s + len(buckets) * buckets.width_s
    span_s = max(8.0 * (marks.found_s - marks.onset_s), 4.0 * marks.uncertain_s, 64.0 * buckets.width_s)
    if span_s > 0.7 * (end_s - begin_s):
        return begin_s, end_s
    start_s = max(begin_s, marks.onset_s - 0.5 * span_s)
    stop_s = min(end_s, start_s + span_s)
    return max(begin_s, stop_s - span_s), stop_s


def _steps(buckets: Buckets, start_s: float, stop_s: float, most: int) -> Floats:
    """The mean at each of `most` places; those of one step have the same, those without values NaN."""
    middles_s = buckets.starts_s + 0.5 * buckets.width_s
    within = (middles_s >= start_s) & (middles_s < stop_s)
    n = int(buckets.counts[within].sum())
    steps = max(1, min(most, int(within.sum()), max(FEWEST_STEPS, n // VALUES)))
    step = np.minimum(
        ((middles_s[within] - start_s) / (stop_s - start_s) * steps).astype(np.int64), steps - 1
    )
    counts = np.bincount(step, buckets.counts[within], steps)
    sums = np.bincount(step, buckets.sums[within], steps)
    means = np.full(steps, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means[np.arange(most) * steps // most]


class _Field:
    """Cells of text, 2 x 4 dots each; times to the right, values upwards."""

    def __init__(self, start_s: float, stop_s: float, low: float, high: float, width: int, rows: int) -> None:
        self._start_s, self._stop_s = start_s, stop_s
        self._low, self._high = low, high
        self._width, self._rows = width, rows
        self._dots = np.zeros((rows, width), dtype=np.int64)
        self._cells = np.full((rows, width), " ")

    def column(self, time_s: float) -> int:
        share = (time_s - self._start_s) / (self._stop_s - self._start_s)
        return min(max(int(share * self._width), 0), self._width - 1)

    def _height(self, value: float, most: int) -> int:
        """From the top, 0 to most - 1."""
        return round((self._high - value) / (self._high - self._low) * (most - 1))

    def line(self, means: Floats) -> None:
        before: int | None = None
        for x, mean in enumerate(means.tolist()):
            if math.isnan(mean):
                before = None
                continue
            y = self._height(mean, 4 * self._rows)
            first = y if before is None else before
            for between in range(min(first, y), max(first, y) + 1):
                self._dots[between // 4, x // 2] |= DOTS[x % 2][between % 4]
            before = y

    def level(self, value: float, start_s: float, stop_s: float) -> None:
        row = self._height(value, self._rows)
        self._cells[row, self.column(start_s) : self.column(stop_s) + 1] = "┄"

    def upright(self, time_s: float) -> None:
        self._cells[:, self.column(time_s)] = "┊"

    def drawn(self) -> list[str]:
        lines = []
        for row in range(self._rows):
            label = {0: f"{self._high:.4g}", self._rows - 1: f"{self._low:.4g}"}.get(row, "")
            cells = [
                chr(BRAILLE + dots) if dots else cell
                for dots, cell in zip(self._dots[row], self._cells[row], strict=True)
            ]
            lines.append(f"{label:>{LABEL - 1}} {'┤' if label else '│'}{''.join(cells)}".rstrip())
        return lines

    def axis(self, marks: Marks) -> str:
        line = ["─"] * self._width
        line[self.column(marks.found_s)] = "●"
        line[self.column(marks.onset_s)] = "○"
        return " " * LABEL + "└" + "".join(line)


def _legend(marks: Marks, start_s: float, stop_s: float) -> list[str]:
    indent = " " * (LABEL + 1)
    (before, before_n), (after, after_n) = marks.before, marks.after
    left, right = _time(start_s), _time(stop_s)
    gap = COLUMNS - LABEL - 1 - len(left) - len(right)
    return [
        f"{indent}{left}{' ' * gap}{right}",
        f"{indent}○ onset {_time(marks.onset_s)} ± {about(marks.uncertain_s)}   ● alert {_time(marks.alert_s)}",
        *(
            [f"{indent}● at the predictions that it rests on, {about(marks.later_s)} before it"]
            if marks.later_s
            else []
        ),
        f"{indent}┄ {before:.4g} before ({before_n:,} values), {after:.4g} since ({after_n:,})",
    ]


def _time(time_s: float) -> str:
    return rfc3339(math.floor(time_s))


def about(seconds: float) -> str:
    """A duration to two digits or so.

    >>> about(0.3), about(59.6), about(240.0), about(5_000.0), about(260_000.0)
    ('1s', '1m', '4m', '83m', '3d')
    """
    for unit_s, most in ((1.0, 120.0), (60.0, 7_200.0), (3_600.0, 360_000.0)):
        if seconds < most:
            return duration(max(1.0, round(seconds / unit_s)) * unit_s)
    return duration(round(seconds / 86_400.0) * 86_400.0)
