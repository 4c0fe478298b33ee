"""What labels say about predictions, row by row: from columns of predictions, scores and labels to a Reading.

One rule for all: a value is expected on the rows that have a label. There it is unusable when the label or
the other side cannot be used, and missing when the other side is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamwatch.classes import NOTHING, NUMBER, TEXT, UNUSABLE, positives, same, sorts, whole_numbers
from streamwatch.series import Bools, Floats, Reading, floats

Column = Sequence[Any]
Positive = str | float | bool

CLIP = 1e-15  # of a probability before its logarithm, so that one certain mistake costs 34.5 and not infinity


def error(prediction: Column, label: Column) -> Reading:
    """1 where the predicted class is not the label, 0 where it is."""
    guess, truth = whole_numbers(prediction), whole_numbers(label)
    if guess is not None and truth is not None:
        return Reading.numbers("binary", (guess != truth).astype(np.float64))
    left, right = sorts(prediction), sorts(label)
    expected = right != NOTHING
    told = (left == right) & ((left == NUMBER) | (left == TEXT))
    unusable = expected & ~told & ((left != NOTHING) | (right == UNUSABLE))
    return Reading.numbers("binary", np.where(told, ~same(prediction, label), np.nan), unusable, expected)


def _difference(prediction: Column, label: Column) -> tuple[Floats, Floats, Bools, Bools]:
    guess, guess_bad = floats(prediction)
    truth, truth_bad = floats(label)
    expected = truth_bad | ~np.isnan(truth)
    with np.errstate(over="ignore"):  # beyond float64 it becomes infinite, and so unusable
        return truth - guess, truth, expected & (guess_bad | truth_bad), expected


def residual(prediction: Column, label: Column) -> Reading:
    """label - prediction: positive where the model says too little."""
    values, _, unusable, expected = _difference(prediction, label)
    return Reading.numbers("real", values, unusable, expected)


def absolute_error(prediction: Column, label: Column) -> Reading:
    values, _, unusable, expected = _difference(prediction, label)
    return Reading.numbers("real", np.abs(values), unusable, expected)


def relative_error(prediction: Column, label: Column) -> Reading:
    """|label - prediction| / |label|; unusable where the label is 0."""
    values, truth, unusable, expected = _difference(prediction, label)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = np.abs(values) / np.abs(truth)
    return Reading.numbers("real", values, unusable | (truth == 0.0), expected)


def _probability(score: Column, label: Column, positive: Positive) -> tuple[Floats, Bools, Bools, Bools]:
    """The score, whether the label is positive, and which rows are unusable and expected."""
    scores, bad = floats(score)
    bad |= (scores < 0.0) | (scores > 1.0)
    yes, sort = positives(label, positive)
    expected = sort != NOTHING
    return np.where(expected, scores, np.nan), yes, expected & (bad | (sort == UNUSABLE)), expected


def log_loss(score: Column, label: Column, positive: Positive) -> Reading:
    """-ln of the probability given to what came true, in nats; the score is the probability of `positive`."""
    scores, yes, unusable, expected = _probability(score, label, positive)
    clipped = np.clip(scores, CLIP, 1.0 - CLIP)
    return Reading.numbers("real", -np.log(np.where(yes, clipped, 1.0 - clipped)), unusable, expected)


def brier(score: Column, label: Column, positive: Positive) -> Reading:
    """(score - outcome)**2, where the outcome is 1 for `positive` and else 0."""
    scores, yes, unusable, expected = _probability(score, label, positive)
    with np.errstate(over="ignore"):
        return Reading.numbers("unit", (scores - yes) ** 2, unusable, expected)


def label_rate(label: Column, positive: Positive) -> Reading:
    """1 where the label is `positive`, 0 where it is another."""
    yes, sort = positives(label, positive)
    told = (sort != NOTHING) & (sort != UNUSABLE)
    return Reading.numbers("binary", np.where(told, yes, np.nan), sort == UNUSABLE, sort != NOTHING)


def precision(prediction: Column, label: Column, positive: Positive) -> Reading:
    """Of the rows predicted positive: 1 where the label is positive too."""
    guess, guess_sort = positives(prediction, positive)
    truth, truth_sort = positives(label, positive)
    # A row whose prediction is not there or cannot be used may be one of these: expecting it keeps the
    # monitor from going quiet when all predictions break.
    asked = (truth_sort != NOTHING) & (guess | (guess_sort == NOTHING) | (guess_sort == UNUSABLE))
    return _share(asked, guess & truth, guess_sort, truth_sort)


def recall(prediction: Column, label: Column, positive: Positive) -> Reading:
    """Of the rows labelled positive: 1 where the prediction is positive too."""
    guess, guess_sort = positives(prediction, positive)
    truth, truth_sort = positives(label, positive)
    return _share(truth | (truth_sort == UNUSABLE), guess & truth, guess_sort, truth_sort)


def _share(asked: Bools, hit: Bools, guess_sort: Any, truth_sort: Any) -> Reading:
    unusable = asked & ((guess_sort == UNUSABLE) | (truth_sort == UNUSABLE))
    told = asked & ~unusable & (guess_sort != NOTHING)
    return Reading.numbers("binary", np.where(told, hit, np.nan), unusable, asked)
