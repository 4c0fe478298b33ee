"""A config from one or several YAML files: all problems at once, each with file, line and column.

Several files make one config of one service. Their `monitors`, `inputs`, `windows` and `models` are joined (an input or
a window that several files give alike is one); all else may be said in any of them, and twice only alike. `defaults`
hold for the monitors of their own file, so that each file can have its own owner. Short forms are written out by
`shortforms`. Python's `of` takes what a file would hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamwatch import lint
from streamwatch.config import Config
from streamwatch.configschema import schema
from streamwatch.errors import ConfigError, Problem
from streamwatch.explain import at, explain, shown
from streamwatch.shortforms import describe, expanded, plain, sighted, supported
from streamwatch.yamlread import parse, parse_text
from streamwatch.yamltree import Loc, Node, Place

__all__ = ["Loaded", "describe", "load", "of", "read", "schema"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config, and what is allowed in it but worth saying."""

    config: Config
    warnings: Sequence[Problem]


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Config:
    """The config in these files. ConfigError with every problem in them."""
    return read(paths, environ).config


def read(paths: Sequence[Path], environ: Mapping[str, str]) -> Loaded:
    """As `load`, with the warnings."""
    problems: list[Problem] = []
    trees = []
    for number, path in enumerate(paths):
        if path in paths[:number]:
            problems.append(Problem(str(path), 0, 0, "", "is given twice"))
            continue
        if (tree := _expanded(parse(path, environ, problems), problems)) is not None:
            trees.append(tree)
    return _loaded(trees, [str(path) for path in paths], problems)


def of(given: Mapping[str, Any], environ: Mapping[str, str], name: str = "the config") -> Config:
    """The config that a file of this content would be; problems call it `name`."""
    problems: list[Problem] = []
    # By way of JSON, which is YAML: a value means what it would mean in a file, variables too.
    text = json.dumps(given, ensure_ascii=False, default=str)
    tree = parse_text(name, text, environ, problems)
    problems = [replace(problem, line=0, column=0) for problem in problems]
    tree = _expanded(None if tree is None else tree.placed(Place(name)), problems)
    return _loaded([] if tree is None else [tree], [name], problems).config


def _expanded(tree: Node | None, problems: list[Problem]) -> Node | None:
    """With short forms written out; None if it is no mapping."""
    if tree is None:
        return None
    if tree.mapping is None:
        problems.append(at(tree, (), f"expected a mapping (key: value), got {shown(tree, ())}"))
        return None
    return expanded(supported(tree, problems), problems)


def _loaded(trees: Sequence[Node], names: Sequence[str], problems: list[Problem]) -> Loaded:
    whole = sighted(reduce(lambda one, other: _merged(one, other, (), problems), trees)) if trees else None
    config = None
    if whole is not None:
        _unique_names(whole, problems)
        config, wrong = _validated(whole, problems, incomplete=len(trees) < len(names))
        if config is not None:
            problems += [
                at(whole, one.loc, one.what, one.hint)
                for one in lint.conflicts(config)
                if one.loc[:2] not in wrong
            ]
    if problems or config is None or whole is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda p: (_rank(p, names), p.line, p.column)))
    return Loaded(config, [at(whole, one.loc, one.what, one.hint) for one in lint.warnings(config)])


def _rank(problem: Problem, names: Sequence[str]) -> int:
    return names.index(problem.path) if problem.path in names else len(names)


def _validated(tree: Node, problems: list[Problem], incomplete: bool) -> tuple[Config | None, set[Loc]]:
    """The config, and the locations of monitors that stand in it for wrong ones, so that the rest is checked too.

    `incomplete`: a file could not be read, so nothing is said about what is missing.
    """
    try:
        return Config.model_validate(plain(tree)), set()
    except ValidationError as error:
        found = explain(error, tree)
        problems += [p for p in found if not (incomplete and p.where == "" and p.what.endswith("is missing"))]
        wrong = {tree.path(one["loc"])[:2] for one in error.errors()}
    monitors = tree.get("monitors")
    if monitors is None or not monitors.items or any(len(loc) < 2 or loc[0] != "monitors" for loc in wrong):
        return None, wrong
    right = [m for i, m in enumerate(monitors.items) if ("monitors", i) not in wrong]
    if not right:
        return None, wrong
    # Positions must stay what they are in the file, so a right monitor takes the place of a wrong one.
    stand_in = tuple(right[0] if ("monitors", i) in wrong else m for i, m in enumerate(monitors.items))
    try:
        return Config.model_validate(
            plain(tree.with_key("monitors", replace(monitors, value=stand_in)))
        ), wrong
    except ValidationError:
        return None, wrong


def _merged(one: Node, other: Node, loc: Loc, problems: list[Problem]) -> Node:
    """Two mappings as one; what they say differently is a problem."""
    for key, value in other.entries.items():
        mine, here = one.get(key), (*loc, key)
        if mine is None:
            one = one.with_key(key, value, other.keys[key])
        elif (
            here in (("monitors",), ("inputs",), ("windows",))
            and mine.items is not None
            and value.items is not None
        ):
            known = [item.plain() for item in mine.items] if key != "monitors" else []
            joined = mine.items + tuple(item for item in value.items if item.plain() not in known)
            one = one.with_key(key, replace(mine, value=joined), one.keys[key])
        elif here == ("defaults",):
            apart = [name for name, node in mine.entries.items() if not _alike(node, value.get(name))]
            one = one.with_key(key, mine.without(*apart), one.keys[key])
        elif mine.mapping is not None and value.mapping is not None:
            one = one.with_key(key, _merged(mine, value, here, problems), one.keys[key])
        elif mine.plain() != value.plain():
            first = Place(*one.keys[key])
            problems.append(
                Problem(
                    *other.keys[key],
                    ".".join(map(str, here)),
                    f"is {shown(value, here)} here and {shown(mine, here)} at {first}",
                    "files that are given together must agree: say it once",
                )
            )
    return one


def _alike(one: Node, other: Node | None) -> bool:
    return other is not None and one.plain() == other.plain()


def _unique_names(root: Node, problems: list[Problem]) -> None:
    seen: dict[str, Place] = {}
    monitors = root.get("monitors")
    for position, monitor in enumerate((monitors.items if monitors else None) or ()):
        name = monitor.get("name")
        if name is None or not isinstance(name.value, str):
            continue
        if name.text in seen:
            what = f"another monitor is named {name.text}, at {seen[name.text]}"
            problems.append(
                at(root, ("monitors", position, "name"), what, "alerts are told apart by the name")
            )
        seen.setdefault(name.text, name.place)
