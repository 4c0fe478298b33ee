"""Which field is probably what: a `read` mapping from what a look showed, with its doubts.

Rules; each guess needs a name that fits its role and values that suit it:

1. features: an object with such a name; else the record itself, if it has other fields.
2. id: unique texts or numbers in the record, a header, the key; model: few values in the record, a header, the key;
   else the topic's name stands for the one model.
3. time: see `timefield`.
4. prediction, score, label: see `outputs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streamwatch.decode import Decoder, Input, Read
from streamwatch.events import Decoded, Needs
from streamwatch.mapping import split
from streamwatch.offline import roles
from streamwatch.offline.fieldprofile import Field
from streamwatch.offline.look import Look
from streamwatch.offline.outputs import Guess, differ, outputs
from streamwatch.offline.timefield import guess_time
from streamwatch.offline.unread import out_of_reach

ROLES: Final = ("id", "model", "version", "time", "prediction", "score", "label", "latency_ms", "features")
EVERYTHING: Final = Needs(frozenset({"prediction", "score", "label", "latency_ms"}), all_features=True)
MOST_MODELS: Final = 200
FEW_RECORDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """`read` by the names of ROLES; `doubts` are about the topic as a whole."""

    read: Mapping[str, Guess]
    doubts: tuple[str, ...]

    def input(self, topic: str) -> Input:
        return Input(
            topics=(topic,),
            read=Read.model_validate({name: guess.place for name, guess in self.read.items()}),
        )


def propose(look: Look) -> Proposal:
    features = _features(look)
    inside = (
        f"{features.place}." if features.field and roles.words(features.field.name) in roles.STRICT else None
    )
    fields = {path: field for path, field in look.fields.items() if not (inside and path.startswith(inside))}
    found = outputs(fields)
    taken = {guess.field.path for guess in found.values() if guess.field}
    fields = {path: field for path, field in fields.items() if path not in taken}
    read = {
        "id": _id(look, fields),
        "model": _model(look, fields),
        "version": _version(look, fields),
        "time": Guess({"record_time": True}, ""),
        **found,
        "latency_ms": _latency(fields),
        "features": features,
    }
    own = {guess.field.path for guess in read.values() if guess.field}
    read = {**read, "time": guess_time(look, fields, own)}
    if features.place == "." and not _left(look, read):
        read["features"] = Guess(None, "no other fields")
    if all(read[name].place is None for name in ("prediction", "score", "latency_ms", "features")):
        doubt = "nothing was found that a monitor can watch: say where the prediction or the score stands"
        read["prediction"] = Guess("prediction", "the default", (doubt,))
    doubts = list(out_of_reach(look))
    if look.objects < FEW_RECORDS:
        doubts.append(
            f"only {look.objects:,} records were seen: what is rare, or changes by the hour, was not"
        )
    return Proposal({name: read[name] for name in ROLES}, tuple(doubts))


def decoded(look: Look, proposal: Proposal, needs: Needs = EVERYTHING) -> Decoded:
    """The sample read by the proposed mapping."""
    return Decoder([proposal.input(look.sample.topic)], needs).decode(look.sample.records)


def _left(look: Look, read: Mapping[str, Guess]) -> list[str]:
    """Fields of a flat record that nothing else is read from."""
    own = {guess.field.path for guess in read.values() if guess.field}
    return [
        path for path, field in look.fields.items() if "." not in path and path not in own and field.present
    ]


def _features(look: Look) -> Guess:
    objects = [
        field
        for field in roles.ranked("features", look.fields.values())
        if field.present
        and field.types.get("object", 0) >= 0.9 * field.present
        and any(child.scalar for child in children(look, field.path).values())
    ]
    if not objects:
        return Guess(".", "the record itself: no object has a name such as features")
    best, others = objects[0], objects[1:]
    doubts = [f"`{other.path}` might also hold the features" for other in others[:2]]
    return Guess(best.path, f"an object of {len(children(look, best.path))}", tuple(doubts), best)


def children(look: Look, path: str) -> dict[str, Field]:
    """The fields directly in an object, by their name in the path; of "." those of the record itself."""
    depth = 0 if path == "." else len(split(path))
    prefix = "" if path == "." else f"{path}."
    return {
        p: field for p, field in look.fields.items() if p.startswith(prefix) and len(split(p)) == depth + 1
    }


def _id(look: Look, fields: Mapping[str, Field]) -> Guess:
    named = [field for field in roles.ranked("id", fields.values()) if field.named]
    unique = [field for field in named if field.unique]
    if unique:
        doubts = [f"`{other.path}` is unique too" for other in unique[1:3]]
        return Guess(unique[0].path, "all different", tuple(doubts), unique[0])
    for name, field in roles.by_header("id", look.headers):
        if field.unique:
            return Guess({"header": name}, "all different")
    key = look.keys
    if key.field.unique and not key.binary and key.field.present > 0.9 * look.records:
        return Guess({"key": True}, "the keys are all different")
    if named:
        best = named[0]
        doubt = f"`{best.path}` has only {best.distinct:,} different values: alerts will name events by it"
        return Guess(best.path, "", (doubt,), best)
    return Guess(None, "nothing looks like an id: alerts will name no events")


def _model(look: Look, fields: Mapping[str, Field]) -> Guess:
    suits = [
        field
        for field in roles.ranked("model", fields.values())
        if field.named and field.present >= 0.9 * look.objects and _few(field)
    ]
    headers = [
        (n, f)
        for n, f in roles.by_header("model", look.headers)
        if _few(f) and f.present >= 0.9 * look.objects
    ]
    others = [f"`{field.path}`" for field in suits[1:3]]
    others += [f"the header {name}" for name, _ in headers[: 2 if suits else 0]]
    doubts = [f"{other} might also name the model" for other in others]
    if suits or headers:
        field = suits[0] if suits else headers[0][1]
        if field.missing:
            doubts.append(
                f"{field.missing:,} of {look.objects:,} records have no model: they would be dead letters"
            )
        place = field.path if suits else {"header": headers[0][0]}
        return Guess(place, differ(field), tuple(doubts), field if suits else None)
    key = look.keys.field
    name = look.sample.topic
    one = "no field names a model: all events are of one, named after the topic. Also {const: NAME}, {header: NAME}"
    doubts = [one]
    if key.categorical and not look.keys.binary and not look.keys.null and key.distinct > 1:
        doubts.append(f"the key has only {key.distinct} values: {{key: true}} if it names the model")
    return Guess({"const": name}, "the topic", tuple(doubts))


def _version(look: Look, fields: Mapping[str, Field]) -> Guess:
    suits = [field for field in roles.ranked("version", fields.values()) if field.named and _few(field)]
    doubts = [f"`{field.path}` might also be the version" for field in suits[1:2]]
    if suits:
        best = suits[0]
        if roles.words(best.name) in ("version", "revision") and "model" not in roles.words(best.path):
            doubts.append("is this the version of the model, or of the format? null if it is not the model's")
        return Guess(best.path, differ(best), tuple(doubts), best)
    for name, field in roles.by_header("version", look.headers):
        if _few(field):
            return Guess({"header": name}, differ(field))
    return Guess(None, "nothing looks like a version")


def _latency(fields: Mapping[str, Field]) -> Guess:
    suits = [
        f
        for f in roles.ranked("latency_ms", fields.values())
        if f.number and f.quantiles and f.quantiles[0] >= 0
    ]
    if suits:
        doubts = [f"`{field.path}` might also be the latency" for field in suits[1:2]]
        return Guess(suits[0].path, "milliseconds", tuple(doubts), suits[0])
    other = [f for f in fields.values() if f.number and roles.DURATIONS.search(roles.words(f.name))]
    doubts = [
        f"`{f.path}` looks like a duration; if it is in milliseconds: latency_ms: {f.path}" for f in other[:1]
    ]
    return Guess(None, "nothing looks like a latency in milliseconds", tuple(doubts))


def _few(field: Field) -> bool:
    """Few enough to be names of models or versions; of few records hardly more can be said."""
    return 0 < field.distinct <= MOST_MODELS and (field.present < 10 or field.distinct <= field.present / 2)
