"""pydantic's errors as problems of a config: placed in the file, in plain words.

1. An error belongs to the deepest part of the file that its location reaches.
2. Members of a union that the value does not even resemble are left out; what is left becomes one problem.
3. A value that came from the environment is shown as written (`${PORT}`), a secret not at all.
4. A misspelt key or word gets the closest valid one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamwatch import configschema
from streamwatch.errors import Problem
from streamwatch.yamltree import Loc, Node

_NAME_PATTERN = "^[a-zA-Z0-9]"
_OF_TYPE = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
    "is_instance_of": "another type",
}
_BOUNDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than": lambda ctx: f"a number above {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"a number from {ctx['ge']:g} up",
    "less_than": lambda ctx: f"a number below {ctx['lt']:g}",
    "less_than_equal": lambda ctx: f"a number up to {ctx['le']:g}",
    "too_short": lambda ctx: f"at least {ctx['min_length']} of them",
    "too_long": lambda ctx: f"at most {ctx['max_length']} of them",
    "string_too_short": lambda ctx: "text that is not empty",
    "string_too_long": lambda ctx: f"at most {ctx['max_length']} characters",
}


def explain(error: ValidationError, tree: Node, prefix: Loc = ()) -> list[Problem]:
    """`tree` is what was validated; `prefix` is where it stands in the file."""
    problems = [
        _problem(tree, path, errors, prefix)
        for path, errors in _grouped(error.errors(include_url=False), tree)
    ]
    meant = {(p.where, p.hint.removeprefix("did you mean ").removesuffix("?")) for p in problems if p.hint}
    return [p for p in problems if (p.where, _missing_key(p)) not in meant]


def at(tree: Node, loc: Sequence[str | int], what: str, hint: str = "", prefix: Loc = ()) -> Problem:
    """A problem of the deepest value that `loc` reaches."""
    return Problem(*tree.deepest(loc)[0].place, where(tree, tree.path(loc), prefix), what, hint)


def at_key(tree: Node, loc: Sequence[str | int], what: str, hint: str = "", prefix: Loc = ()) -> Problem:
    """A problem of the key that ends `loc`."""
    return Problem(*tree.deepest(loc)[1], where(tree, tree.path(loc), prefix), what, hint)


def where(tree: Node, path: Sequence[str | int], prefix: Loc = ()) -> str:
    """`monitors[error-rate].severity`: entries of a list by their name where they have one."""
    text = ".".join(str(part) for part in prefix)
    node: Node | None = tree
    for position, part in enumerate(path):
        if isinstance(part, int):
            items = node.items if node else None
            node = items[part] if items and part < len(items) else None
            name = node.get("name") if node else None
            text += f"[{name.text if name and name.text and not name.source else part}]"
        else:
            node = node.get(part) if node else None
            if not (part == "policy" and position == 2):
                text += f".{part}" if text else part
    return text


def shown(node: Node, loc: Sequence[str | int]) -> str:
    """What came, as it may be shown."""
    if configschema.secret(loc):
        return "something else"
    if node.source is not None:
        return f"the value of {node.source}"
    if node.mapping is not None:
        return "a mapping"
    if node.items is not None:
        return "a list" if node.items else "an empty list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if isinstance(node.value, int | float):
        return f"the number {node.text}"
    text = node.text if len(node.text) <= 80 else f"{node.text[:77]}..."
    return repr(text)


def closest(word: str, valid: Iterable[str]) -> str:
    """A hint: the valid word closest to a misspelt one, or all of them if none is close and they are few."""
    known = list(valid)
    by_case = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), by_case, n=1, cutoff=0.6)
    if found:
        return f"did you mean {by_case[found[0]]}?"
    return f"there are {', '.join(known)}" if 0 < len(known) <= 30 else ""


def file_loc(path: Sequence[str | int], prefix: Loc = ()) -> Loc:
    """A location of the value as a location in the file: a monitor's policy stands flat there."""
    if len(path) > 2 and path[0] == "monitors" and path[2] == "policy":
        path = (*path[:2], *path[3:])
    return (*prefix, *path)


def _grouped(errors: Sequence[ErrorDetails], tree: Node) -> list[tuple[Loc, list[ErrorDetails]]]:
    groups: dict[Loc, list[ErrorDetails]] = {}
    for error in errors:
        path = tree.path(error["loc"])
        if error["type"] == "missing":
            path = (*path, error["loc"][-1])
        groups.setdefault(path, []).append(error)
    kept = []
    for path, found in groups.items():
        inner = any(len(other) > len(path) and other[: len(path)] == path for other in groups)
        union = any(error["loc"] != path for error in found)
        if inner and all(error["type"] == "too_short" for error in found):
            continue  # pydantic counts only the entries that are right
        if inner and union and all(error["type"] in _OF_TYPE or _is_word(error) for error in found):
            continue
        kept.append((path, found))
    return kept


def _missing_key(problem: Problem) -> str | None:
    found = re.fullmatch(r"`(.*)` is missing", problem.what)
    return found[1] if found else None


def _is_word(error: ErrorDetails) -> bool:
    return error["type"] in ("literal_error", "enum")


def _problem(tree: Node, path: Loc, errors: list[ErrorDetails], prefix: Loc) -> Problem:
    node, place = tree.deepest(path)
    loc = file_loc(path, prefix)
    name = str(loc[-1]) if loc else ""
    kinds = {error["type"] for error in errors}
    parent = where(tree, path[:-1], prefix)
    if "missing" in kinds:
        return Problem(*node.place, parent, f"`{name}` is missing", _about(loc))
    if "extra_forbidden" in kinds:
        return Problem(*place, parent, f"unknown key `{name}`", closest(name, configschema.keys(loc[:-1])))
    texts: list[str] = []
    wanted: list[str] = []
    words: list[str] = []
    for error in errors:
        context: dict[str, Any] = error.get("ctx", {})
        if error["type"] in _OF_TYPE:
            wanted.append(_OF_TYPE[error["type"]])
        elif error["type"] in _BOUNDS:
            wanted.append(_BOUNDS[error["type"]](context))
        elif error["type"] == "union_tag_invalid":
            words += re.findall(r"'([^']*)'", context["expected_tags"])
        elif _is_word(error):
            words += configschema.words(loc) or re.findall(r"'([^']*)'", context.get("expected", ""))
        elif error["type"] == "string_pattern_mismatch" and context["pattern"].startswith(_NAME_PATTERN):
            wanted.append("a name of up to 100 letters, digits, . _ and -, with a letter or digit first")
        else:
            texts.append(_own_text(error, node, loc))
    here = where(tree, path, prefix)
    if texts:
        return Problem(*node.place, here, "; ".join(dict.fromkeys(texts)))
    words = list(dict.fromkeys(words))
    if words:
        wanted.append(words[0] if len(words) == 1 else f"one of {', '.join(words)}")
    if kinds <= _OF_TYPE.keys() and node.value is not None and configschema.nullable(loc):
        wanted.append("null")
    what = f"expected {' or '.join(dict.fromkeys(wanted))}, got {shown(node, loc)}"
    hint = ""
    if words and node.source is None and isinstance(node.value, str):
        hint = closest(node.value, words)
        hint = "" if hint.startswith("there are") else hint
    elif "text" in wanted and isinstance(node.value, bool | int | float):
        hint = "write it in quotes"
    return Problem(*node.place, here, what, hint)


def _own_text(error: ErrorDetails, node: Node, loc: Loc) -> str:
    """The text of one of our own validators, without what must not be shown."""
    text = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if configschema.secret(loc):
        return "is not valid" if node.text in text else text
    sources = list(_sources(node))
    if not sources:
        return text
    if node.source is not None or re.search(r"\bgot [{\[]", text):
        text = re.sub(r"\bgot .*", lambda _: f"got {shown(node, loc)}", text, flags=re.DOTALL)

    def masked(quoted: re.Match[str]) -> str:
        part = quoted[0][1:-1]
        return next((str(one.source) for one in sources if part in one.text), quoted[0])

    text = re.sub(r"'[^']*'|\"[^\"]*\"", masked, text)
    for one in sources:
        if len(one.text) > 3:
            text = text.replace(one.text, str(one.source))
    return text


def _sources(node: Node) -> Iterable[Node]:
    if node.source is not None:
        yield node
    for child in node.entries.values():
        yield from _sources(child)
    for child in node.items or ():
        yield from _sources(child)


def _about(loc: Loc) -> str:
    for one in configschema.allowed(loc):
        if one.get("description"):
            return str(one["description"]).splitlines()[0]
    return ""
