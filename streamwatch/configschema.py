"""The JSON Schema of a config file, made from the pydantic classes; and what it allows at a place.

The file has short forms that the `Config` value has not (`configfile` expands them); they are added here, and nothing
else is written twice. Wherever something other than text is expected a variable (`${PORT}`) may stand as well.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from streamwatch.config import Config, Defaults
from streamwatch.units import duration

Schema = dict[str, Any]

_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
_VARIABLE = {"$ref": "#/$defs/FromEnvironment"}


def schema() -> Schema:
    """The JSON Schema (2020-12) of one whole config file."""
    whole: Schema = copy.deepcopy(_file_form())
    whole["properties"] = {name: _with_variables(part) for name, part in whole["properties"].items()}
    whole["$defs"] = {name: _with_variables(part) for name, part in whole["$defs"].items()}
    whole["$defs"]["FromEnvironment"] = _FROM_ENVIRONMENT | {
        "description": "a value, or part of it, from the environment"
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


@cache
def _file_form() -> Schema:
    whole = Config.model_json_schema(by_alias=True)
    defs = whole["$defs"]
    monitor, policy = defs["Monitor"], defs.pop("Policy")
    del monitor["properties"]["policy"]
    defs["Defaults"] = {
        **policy,
        "title": "Defaults",
        "description": Defaults.__doc__,
        "properties": {**policy["properties"], "every": monitor["properties"]["every"]},
    }
    monitor["properties"] |= policy["properties"]
    monitor["properties"]["per"]["description"] += "; the default depends on the signal"
    monitor["properties"]["by"] |= {
        "items": {"anyOf": [{"type": "string"}, monitor["properties"]["by"]["items"]]},
        "description": "slicings beside the whole: [country]; [a, b] is one by the pair; [[a], [b]] are two",
    }
    monitor["required"] = [name for name in monitor["required"] if name != "per"]
    monitor["description"] = "A named signal, its detector and its policy."
    whole["properties"]["defaults"] = {
        "$ref": "#/$defs/Defaults",
        "description": "what the monitors of this file inherit where they do not say it themselves",
    }
    dead_letters = defs["Outputs"]["properties"]["dead_letters"]
    short = {"type": "string", "description": "the topic"}
    defs["Outputs"]["properties"]["dead_letters"] = {
        "anyOf": [short, {"$ref": dead_letters["$ref"]}],
        "description": dead_letters.get("description", ""),
    }
    _write_durations(whole)
    return whole


def _write_durations(part: Any) -> None:
    """Defaults of durations as the file writes them: pydantic gives them in seconds."""
    if isinstance(part, dict):
        if part.get("type") == "string" and isinstance(part.get("default"), float):
            part["default"] = duration(part["default"])
        for child in part.values():
            _write_durations(child)
    elif isinstance(part, list):
        for child in part:
            _write_durations(child)


def _with_variables(part: Any) -> Any:
    """The same schema where numbers, booleans and fixed words may be variables."""
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, dict):
        return part
    done = {
        key: value if key in ("default", "examples", "required", "enum") else _with_variables(value)
        for key, value in part.items()
    }
    kinds = part.get("type")
    fixed = "enum" in part or "const" in part or "pattern" in part
    if kinds in ("integer", "number", "boolean") or (kinds == "string" and fixed):
        about = {key: done.pop(key) for key in ("title", "description", "default") if key in done}
        return {**about, "anyOf": [done, _VARIABLE]}
    return done


def allowed(loc: Sequence[str | int]) -> list[Schema]:
    """What may stand at a place of the file: every alternative, references followed."""
    now = list(_alternatives(_file_form()))
    for part in loc:
        following: list[Schema] = []
        for one in now:
            if isinstance(part, int):
                following += _alternatives(one.get("items", {}))
            elif part in one.get("properties", {}):
                following += _alternatives(one["properties"][part])
            elif isinstance(one.get("additionalProperties"), dict):
                following += _alternatives(one["additionalProperties"])
        now = following
    return now


def keys(loc: Sequence[str | int]) -> list[str]:
    """The keys that a mapping at this place may have, in the order of the classes."""
    return list(dict.fromkeys(name for one in allowed(loc) for name in one.get("properties", {})))


def words(loc: Sequence[str | int]) -> list[str]:
    """The fixed words that may stand at this place."""
    return list(
        dict.fromkeys(
            str(word)
            for one in allowed(loc)
            for word in [*one.get("enum", []), *([one["const"]] if "const" in one else [])]
        )
    )


def secret(loc: Sequence[str | int]) -> bool:
    return any(one.get("writeOnly") or one.get("format") == "password" for one in allowed(loc))


def only_text(loc: Sequence[str | int]) -> bool:
    """Whether a scalar at this place is text and never a number or a boolean."""
    kinds = _kinds(loc)
    return "string" in kinds and not kinds & {"integer", "number", "boolean", "anything"}


def nullable(loc: Sequence[str | int]) -> bool:
    return "null" in _kinds(loc)


def _kinds(loc: Sequence[str | int]) -> set[str]:
    kinds: set[str] = set()
    for one in allowed(loc):
        if "const" in one or "enum" in one:
            kinds.add("string")
        elif isinstance(found := one.get("type"), str):
            kinds.add(found)
        elif found is not None:
            kinds.update(found)
        elif not one.keys() & {"anyOf", "oneOf", "allOf"}:
            kinds.add("anything")
    return kinds


def _alternatives(part: Schema) -> Iterator[Schema]:
    if "$ref" in part:
        yield from _alternatives(_file_form()["$defs"][part["$ref"].rpartition("/")[2]])
        return
    yield part
    for combined in ("anyOf", "oneOf", "allOf"):
        for one in part.get(combined, ()):
            yield from _alternatives(one)
