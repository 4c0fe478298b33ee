"""Which fields are probably what a model said and what came true.

1. score: numbers in [0, 1], or out of a list of probabilities. A `prediction` of fractions in [0, 1] is a score.
2. prediction and label: scalars; the class of the largest probability. A `label` beside a score that is always there,
   with no prediction, is the prediction.
3. Predictions and labels of which one are texts and the other numbers get a map, where the texts are 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from streamwatch.offline import roles
from streamwatch.offline.fieldprofile import Field

MOST_CLASSES: Final = 200
_NUMBERS: Final = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1, "0.0": 0, "1.0": 1}


@dataclass(frozen=True, slots=True)
class Guess:
    """`place` as in a config's `read`; None: the records do not have it. `field` is what it was guessed from."""

    place: Any
    why: str
    doubts: tuple[str, ...] = ()
    field: Field | None = None


def outputs(fields: Mapping[str, Field]) -> dict[str, Guess]:
    """prediction, score and label: what one of them is depends on the others."""
    scores = [field for field in roles.ranked("score", fields.values()) if field.number]
    units = [field for field in scores if field.unit]
    vectors = [
        f for role in ("score", "prediction") for f in roles.ranked(role, fields.values()) if f.vectors
    ]
    predictions = [f for f in roles.ranked("prediction", fields.values()) if _says(f) and f not in units]
    labels = [
        f for f in roles.ranked("label", fields.values()) if _says(f) and f not in (*units, *predictions[:1])
    ]
    score = Guess(None, "nothing looks like a probability")
    prediction = Guess(None, "nothing looks like a prediction")
    label = Guess(None, "nothing looks like the ground truth")
    if units:
        others = tuple(f"`{field.path}` might also be the score" for field in units[1:3])
        score = Guess(units[0].path, "numbers from 0 to 1", others, units[0])
    if predictions:
        others = tuple(f"`{field.path}` might also be the prediction" for field in predictions[1:3])
        prediction = Guess(predictions[0].path, differ(predictions[0]), others, predictions[0])
    if vectors:
        prediction, score = _of_vector(vectors[0], prediction, score)
    if labels:
        others = tuple(f"`{field.path}` might also be the label" for field in labels[1:3])
        label = Guess(labels[0].path, differ(labels[0]), others, labels[0])
    first = prediction.field
    if first and score.place is None and first.number and first.unit and not first.whole and first.scalar:
        doubt = "a probability, or the number that a regression predicts? Then: prediction, not score"
        score, prediction = Guess(first.path, "fractions from 0 to 1", (doubt,), first), Guess(None, "")
    odd = next((field for field in scores if not field.unit), None)
    if odd and prediction.place is None and score.place is None:
        doubt = (
            f"`{odd.path}` is no probability (it is not within 0 and 1): read as the number that is predicted"
        )
        prediction = Guess(odd.path, "numbers", (doubt,), odd)
    said = label.field
    if said and prediction.place is None and score.place is not None and not said.missing and said.text:
        doubt = "always there and beside a score: taken for the predicted class. If it is the truth: label"
        prediction, label = replace(label, doubts=(doubt, *label.doubts)), Guess(None, "")
    prediction, label = _alike(prediction, label)
    return {"prediction": prediction, "score": score, "label": label}


def _says(field: Field) -> bool:
    """A class or a number; of few records, any short text may be a class."""
    if field.number or field.boolean:
        return True
    few = field.distinct <= MOST_CLASSES and (field.present < 20 or field.distinct <= field.present / 2)
    return field.text and field.json is None and few


def _alike(prediction: Guess, label: Guess) -> tuple[Guess, Guess]:
    """Classes that one side writes as texts and the other as numbers, made the same by a map."""
    one, other = prediction.field, label.field
    if not one or not other or one.text == other.text or isinstance(prediction.place, Mapping):
        return prediction, label
    if one.text and one.path != other.path:
        return _numbered(prediction, one), label
    return prediction, _numbered(label, other)


def _numbered(guess: Guess, field: Field) -> Guess:
    table = {name: _NUMBERS.get(name.lower(), name) for name, _ in field.common}
    if len(table) == field.distinct and all(name.lower() in _NUMBERS for name in table):
        return replace(guess, place={"path": field.path, "map": table})
    doubt = (
        "texts here and numbers there are never equal, so no error is watched: say what each text stands for: "
        "{path: ..., map: {TEXT: 1, OTHER: 0}}"
    )
    return replace(guess, doubts=(doubt, *guess.doubts))


def _of_vector(field: Field, prediction: Guess, score: Guess) -> tuple[Guess, Guess]:
    vectors = field.vectors
    if vectors is None or not vectors.numbers:
        return prediction, score
    if vectors.probabilities:
        if score.place is None:
            binary = vectors.longest == 2
            which, why = (1, "of the second of two classes") if binary else ("max", "the largest probability")
            doubt = ("is the second class the positive one? Else pick: 0",) if binary else ()
            score = Guess({"path": field.path, "pick": which}, why, doubt, field)
        if prediction.place is None:
            prediction = Guess({"path": field.path, "pick": "argmax"}, "the most probable class", (), field)
    elif prediction.place is None:
        doubts: tuple[str, ...] = ()
        if vectors.longest > 1:
            doubts = (
                f"up to {vectors.longest} numbers a record: this version reads one prediction of each record",
            )
        prediction = Guess({"path": field.path, "pick": 0}, "the first of a list", doubts, field)
    return prediction, score


def differ(field: Field) -> str:
    return "always the same" if field.distinct == 1 else f"{field.distinct:,} different values"
