"""`streamwatch schema config --table`: every option of a config file as a Markdown table, made from the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from streamwatch import configschema

Loc = tuple[str | int, ...]

_READ: Loc = ("inputs", 0, "read")
_KINDS = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text"}


class Option(NamedTuple):
    """`path` as in `monitors[].detector.adwin.delta`; `default` as the file would write it, "" if there is none."""

    path: str
    values: str
    default: str
    meaning: str


def options(loc: Loc = ()) -> Iterator[Option]:
    """All that a config file may say below a place, in the order of the classes; what stands at several places alike
    (the fields of a policy, where a field of an event stands) is told once."""
    objects = [one for one in configschema.allowed(loc) if "properties" in one]
    policy = configschema.keys(("defaults",)) if loc == ("monitors", 0) else []
    for name in configschema.keys(loc):
        if name in policy:
            continue
        here = (*loc, name)
        said: dict[str, Any] = {}
        for one in [*configschema.allowed(here), *(one["properties"].get(name, {}) for one in objects)]:
            said |= {key: one[key] for key in ("description", "default") if key in one}
        required = all(name in one.get("required", ()) for one in objects)
        default = "required" if required else _default(said.get("default"))
        yield Option(_path(here), _values(here), default, _first(str(said.get("description", ""))))
        if loc == _READ and name != configschema.keys(_READ)[0]:
            continue
        yield from options(here)
        yield from options((*here, 0))
        if not configschema.keys(here):
            yield from options((*here, "NAME"))


def table() -> str:
    lines = ["| option | values | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{one.path}` | {one.values} | {one.default} | {one.meaning} |" for one in options()]
    return "\n".join(lines)


def _path(loc: Loc) -> str:
    if loc[:3] == _READ and len(loc) > 4:
        loc = (*_READ, "FIELD", *loc[4:])
    text = ""
    for part in loc:
        text += "[]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _values(loc: Loc) -> str:
    if words := configschema.words(loc):
        return ", ".join(word.lower() if word == "True" else word for word in words)
    found = configschema.allowed(loc)
    if any(one.get("examples") == ["4h"] for one in found):
        return "duration"
    if any("5%" in one.get("examples", ()) for one in found):
        return "share"
    if any(one.get("type") == "array" for one in found):
        return "list"
    kinds = [
        _KINDS[one["type"]] for one in found if isinstance(one.get("type"), str) and one["type"] in _KINDS
    ]
    return " or ".join(dict.fromkeys(kinds)) if not configschema.keys(loc) else ""


def _default(value: Any) -> str:
    if value is None or isinstance(value, dict) or value in ([], ""):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _first(text: str) -> str:
    """The first paragraph, in one cell."""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|").replace("<", "&lt;")
