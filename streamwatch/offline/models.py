"""The models of a sample, once the mapping is known: versions, partitions, task, positive class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamwatch.events import Decoded
from streamwatch.fields import Unusable
from streamwatch.offline.fieldprofile import EACH
from streamwatch.offline.look import Look
from streamwatch.offline.roles import POSITIVE
from streamwatch.signals import Task

MOST_CLASSES: Final = 20


@dataclass(frozen=True, slots=True)
class Guessed:
    """What a model predicts. `positive` is None where the task has none."""

    task: Task
    positive: Any = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """`comparable`: predictions and labels both come, and as the same kind of value."""

    name: str
    events: int
    versions: Mapping[str | None, int]
    partitions: frozenset[int]
    guessed: Guessed
    scores: int
    predictions: int
    labels: int
    comparable: bool


def models(look: Look, decoded: Decoded) -> list[Model]:
    """By the number of their events, the most first."""
    events = decoded.events
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(events.model):
        rows.setdefault(name, []).append(row)
    sources = look.sample.records.source[events.record].tolist()
    numbers = [source.partition for source in look.sample.records.sources]
    found = [
        _model(
            name,
            Counter(events.version[row] for row in at),
            frozenset(numbers[sources[row]] for row in at),
            {field: _usable(column, at) for field, column in events.fields.items()},
        )
        for name, at in rows.items()
    ]
    return sorted(found, key=lambda model: (-model.events, model.name))


def _usable(column: Sequence[Any], rows: Sequence[int]) -> list[Any]:
    return [v for row in rows if (v := column[row]) is not None and v == v and not isinstance(v, Unusable)]


def _model(
    name: str, versions: Counter[str | None], partitions: frozenset[int], values: Mapping[str, list[Any]]
) -> Model:
    predictions, labels, scores = (values[field] for field in ("prediction", "label", "score"))
    return Model(
        name,
        versions.total(),
        dict(versions.most_common()),
        partitions,
        guess_task(predictions, labels, scores),
        len(scores),
        len(predictions),
        len(labels),
        bool(predictions) and bool(labels) and _sorts(predictions) == _sorts(labels),
    )


def _sorts(values: Sequence[Any]) -> set[type]:
    return {str if isinstance(value, str) else float for value in values}


def guess_task(predictions: Sequence[Any], labels: Sequence[Any], scores: Sequence[Any]) -> Guessed:
    """From usable values of one model.

    >>> guess_task([0, 1, True], [], []), guess_task([120.5, 80.25, 99.0], [], [])
    (Guessed(task='binary', positive=1, doubt=''), Guessed(task='regression', positive=None, doubt=''))
    """
    said = predictions or labels
    if any(isinstance(value, list | dict) for value in said):
        return Guessed("multiclass", None, "predictions are lists or objects: they name no class")
    if not said:
        if scores:
            return Guessed("binary", 1)
        return Guessed("binary", 1, "no predictions, scores or labels were found")
    if all(isinstance(value, str) for value in said):
        return _of_texts(Counter(said))
    numbers = {float(value) for value in said if not isinstance(value, str)}
    if numbers <= {0.0, 1.0} or numbers <= {-1.0, 1.0}:
        return Guessed("binary", 1)
    whole = all(number.is_integer() for number in numbers)
    if whole and len(numbers) == 2 and len(said) >= 2 * EACH:
        positive = int(max(numbers))
        other = int(min(numbers))
        return Guessed(
            "binary", positive, f"the classes are {other} and {positive}: is {positive} the positive one?"
        )
    if (
        whole
        and len(numbers) <= MOST_CLASSES
        and len(said) >= EACH * len(numbers)
        and max(map(abs, numbers)) < 1000
    ):
        return Guessed("multiclass", None, f"{len(numbers)} whole numbers; regression, if they are amounts")
    return Guessed("regression")


def _of_texts(classes: Counter[str]) -> Guessed:
    if len(classes) > 2:
        return Guessed("multiclass")
    known = [name for name in classes if name.lower() in POSITIVE]
    rarest = min(classes, key=lambda name: (classes[name], name))
    if len(known) == 1:
        return Guessed("binary", known[0], f"is {known[0]} the positive class?")
    if len(classes) == 1:
        return Guessed("binary", rarest, "only one class was seen: which is the positive one?")
    return Guessed("binary", rarest, f"{rarest} is the rarer of two classes: is it the positive one?")
