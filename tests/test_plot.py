"""The plot of a change: within 80 columns, true to the sketch, and readable without Unicode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamwatch.cli.plot import COLUMNS, LABEL, Marks, plot
from streamwatch.series import Floats
from streamwatch.sketch import Sketch

START_S = 1_760_000_000.0


def sketched(times_s: Floats, values: Floats) -> Sketch:
    sketch = Sketch()
    sketch.add(times_s, values)
    return sketch


def step(n: int, at: int, gap_s: float = 1.0, low: float = 10.0, high: float = 30.0) -> tuple[Sketch, Marks]:
    times_s = START_S + np.arange(float(n)) * gap_s
    sketch = sketched(times_s, np.where(np.arange(n) < at, low, high))
    onset_s = float(times_s[at])
    return sketch, Marks(onset_s, 9.0 * gap_s, onset_s + 50 * gap_s, (low, at), (high, 50))


def column(lines: list[str], mark: str) -> int:
    return next(line.index(mark) for line in lines if mark in line)


@pytest.mark.parametrize("gap_s", [0.001, 1.0, 3600.0])
@pytest.mark.parametrize(("n", "at"), [(60, 9), (4_000, 2_000), (100_000, 99_940)])
def test_it_fits_into_80_columns_whatever_the_length_of_the_data(n: int, at: int, gap_s: float) -> None:
    lines = plot(*_parts(step(n, at, gap_s)))
    assert max(map(len, lines)) <= COLUMNS
    assert len(lines) == 12


def _parts(made: tuple[Sketch, Marks]) -> tuple[object, ...]:
    sketch, marks = made
    return sketch.buckets(), marks


def test_the_line_is_low_before_the_onset_and_high_after_it() -> None:
    lines = plot(*_parts(step(4_000, 2_000)))
    onset, alert = column(lines, "○"), column(lines, "●")
    top, bottom = lines[0], lines[7]
    assert (top.split("┤")[0].strip(), bottom.split("┤")[0].strip()) == ("30", "10")
    drawn = {line: [i for i, c in enumerate(line) if "⠀" < c <= "⣿"] for line in (top, bottom)}
    assert LABEL < onset < alert < COLUMNS
    assert min(drawn[top]) >= onset - 1
    assert max(drawn[bottom]) <= onset
    assert len(drawn[top]) > 20
    assert len(drawn[bottom]) > 20


def test_it_shows_the_change_and_not_all_of_a_long_run() -> None:
    """Or the change of ten minutes in a day would be one column wide."""
    sketch, marks = step(86_400, 43_200)
    lines = plot(sketch.buckets(), marks)
    assert column(lines, "●") - column(lines, "○") >= 1
    whole = plot(sketch.buckets(), Marks(marks.onset_s, 9.0, START_S + 80_000, marks.before, marks.after))
    assert lines[9] != whole[9]
    assert lines[9].split() == sorted(lines[9].split())


def test_it_says_onset_alert_and_levels_in_words() -> None:
    lines = plot(*_parts(step(4_000, 2_000)))
    assert lines[-2].strip() == "○ onset 2025-10-09T09:26:40Z ± 9s   ● alert 2025-10-09T09:27:30Z"
    assert lines[-1].strip() == "┄ 10 before (2,000 values), 30 since (50)"


def test_an_alert_of_late_labels_is_marked_at_the_predictions_that_were_read_then() -> None:
    """Values stand at the times of their predictions: at its own time the alert would be a week to the right."""
    sketch, marks = step(4_000, 2_000)
    soon = plot(sketch.buckets(), marks)
    late = plot(sketch.buckets(), replace(marks, alert_s=marks.alert_s + 7 * 86_400, later_s=7 * 86_400.0))
    assert late[:10] == soon[:10]
    assert late[-3].strip() == "○ onset 2025-10-09T09:26:40Z ± 9s   ● alert 2025-10-16T09:27:30Z"
    assert late[-2].strip() == "● at the predictions that it rests on, 7d before it"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    sketch, marks = step(4_000, 2_000)
    lines = plot(sketch.buckets(), marks, plain=True)
    assert all(line.isascii() for line in lines)
    assert "*" in lines[0]


def test_values_that_are_all_alike_or_nothing_at_all_can_be_drawn() -> None:
    sketch, marks = step(500, 250, low=5.0, high=5.0)
    assert len(plot(sketch.buckets(), marks)) == 12
    assert plot(Sketch().buckets(), marks) == []
