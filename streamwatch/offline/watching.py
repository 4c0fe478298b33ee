"""Which monitors make sense for what was found, with sensible settings and their doubts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamwatch.mapping import split
from streamwatch.offline import roles
from streamwatch.offline.fieldprofile import Field
from streamwatch.offline.look import Look
from streamwatch.offline.models import Model
from streamwatch.offline.proposal import Proposal, children
from streamwatch.signals import Signal

MOST_CATEGORIES: Final = 8
UNUSABLE: Final = 0.05  # the share of values that cannot be used from which a monitor is blind, by default
RARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A monitor as a config writes it; `models` is empty where it suits all."""

    name: str
    signal: str
    extra: Mapping[str, Any]
    models: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    field: Field


def suggest(look: Look, proposal: Proposal, models: Sequence[Model]) -> list[Suggestion]:
    suggestions = [*_outputs(proposal, models), *_performance(models), *_inputs(look, proposal)]
    if proposal.read["latency_ms"].place is not None:
        suggestions.append(Suggestion("latency", "latency_ms", {"direction": "up"}))
    if not suggestions:  # a config has at least one monitor
        suggestions.append(Suggestion("prediction", "prediction", {}))
    return _named(suggestions)


def _outputs(proposal: Proposal, models: Sequence[Model]) -> Iterator[Suggestion]:
    if proposal.read["score"].place is not None and (able := [m for m in models if m.scores]):
        yield Suggestion("score", "score", {}, _only(able, models))
    predicting = [m for m in models if m.predictions]
    if able := [m for m in predicting if m.guessed.task == "regression"]:
        yield Suggestion("prediction", "prediction", {}, _only(able, models))
    if able := [m for m in predicting if m.guessed.task == "binary"]:
        yield Suggestion("positive-rate", "positive_rate", {}, _only(able, models))


def _performance(models: Sequence[Model]) -> Iterator[Suggestion]:
    up = {"direction": "up", "severity": "critical"}
    able = [m for m in models if m.comparable]
    if classes := [m for m in able if m.guessed.task != "regression"]:
        yield Suggestion("error-rate", "error", up, _only(classes, models))
    if amounts := [m for m in able if m.guessed.task == "regression"]:
        yield Suggestion("error", "absolute_error", up, _only(amounts, models))
    scored = [m for m in models if m.labels and not m.predictions and m.scores and m.guessed.task == "binary"]
    if scored:
        yield Suggestion("brier", "brier", up, _only(scored, models))


def _only(able: Sequence[Model], models: Sequence[Model]) -> tuple[str, ...]:
    return () if len(able) == len(models) else tuple(model.name for model in able)


def _inputs(look: Look, proposal: Proposal) -> Iterator[Suggestion]:
    found = features(look, proposal)
    if not found:
        return
    # Not: fields that the config reads as something else, in an object that holds more than features.
    others = [name for name in _mapped_inside(proposal) if name]
    except_ = {"except": others} if others else {}
    yield Suggestion("features-missing", "missing", {"of": "all", **except_, "direction": "up"})
    numeric = [f for f in found if f.field.number or f.field.boolean]
    left_out = {f.name: why for f in numeric if (why := _unfit(f.field))}
    mixed = {f.name: "numbers among other values" for f in found if _mixed(f.field)}
    if len(numeric) > len(left_out):
        doubts = [f"left out: {_listed(names)} ({why})" for why, names in _by_why({**left_out, **mixed})]
        names = sorted({*others, *left_out, *mixed})
        extra = {"of": "all", **({"except": names} if names else {})}
        yield Suggestion("features", "feature", extra, (), tuple(doubts))
    texts = [f for f in found if f.field.text and f.field.common and f.field.distinct > 1]
    for feature in texts[:MOST_CATEGORIES]:
        value, count = feature.field.common[0]
        signal = Signal(kind="category", name=feature.name, value=value)
        rest = [name for name, n in feature.field.common[1:] if n >= RARE * feature.field.records]
        why = f"{count / feature.field.records:.0%} of the records" + (
            f"; also {_listed(rest)}" if rest else ""
        )
        yield Suggestion(f"{feature.name}-{value}", str(signal), {}, (), (), why)


def features(look: Look, proposal: Proposal) -> list[Feature]:
    """The features of an event by their names, without what the mapping reads as something else."""
    place = proposal.read["features"].place
    if place is None:
        return []
    mapped = set(_mapped_inside(proposal)) | (_mapped(proposal) if place == "." else set())
    return [
        Feature(split(path)[-1], field)
        for path, field in children(look, place).items()
        if field.present and split(path)[-1] not in mapped
    ]


def _mapped(proposal: Proposal) -> set[str]:
    """First names of the paths that other fields are read from: of a flat record they are no features."""
    own = (guess.field for name, guess in proposal.read.items() if name != "features")
    return {split(field.path)[0] for field in own if field}


def _mapped_inside(proposal: Proposal) -> list[str]:
    """Names within the object of the features that other fields are read from."""
    place = proposal.read["features"].place
    if place is None:
        return []
    at = split(place)
    own = [split(g.field.path) for name, g in proposal.read.items() if g.field and name != "features"]
    whole = [path[len(at)] for path in own if len(path) > len(at) and path[: len(at)] == at]
    # Of a flat record the engine itself leaves out what is read by a path of one name.
    return sorted({name for name in whole if at or [name] not in [list(path) for path in own]})


def _unfit(field: Field) -> str:
    """Why a field of numbers is none to watch; empty: it is."""
    unusable = field.types.get("NaN", 0) / field.records
    if field.time:
        return "a time"
    if (
        field.whole
        and (field.unique or field.distinct > 100)
        and roles.IDENTIFIERS.search(roles.words(field.name))
    ):
        return "an identifier"
    if unusable > UNUSABLE:
        return f"NaN in {unusable:.0%} of the records"
    return ""


def _mixed(field: Field) -> bool:
    numbers = field.types.get("integer", 0) + field.types.get("number", 0)
    return numbers > 0 and not field.number


def _by_why(names: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, why in names.items():
        found.setdefault(why, []).append(name)
    return list(found.items())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _named(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """With names that a config takes, each once."""
    taken: set[str] = set()
    named = []
    for one in suggestions:
        plain = name = slug(one.name)
        number = 2
        while name in taken:
            name = f"{plain[:90]}-{number}"
            number += 1
        taken.add(name)
        named.append(Suggestion(name, one.signal, one.extra, one.models, one.doubts, one.why))
    return named


def slug(text: str) -> str:
    """A name of a service or monitor out of any text.

    >>> slug("Übung: a/b "), slug("...")
    ('bung-a-b', 'x')
    """
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", text).strip("-._")[:90] or "x"
