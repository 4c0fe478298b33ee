"""A config from one or several YAML files: all problems at once, each with file, line and column.

Several files make one config of one service. Their `monitors`, `inputs` and `models` are joined (an input that several
files give alike is one); all else may be said in any of them, and twice only alike. `defaults` hold for the monitors
of their own file, so that each file can have its own owner.

Short forms, expanded here: a monitor's policy stands flat beside its name; `defaults` is inherited by key (mappings
such as `tags` are joined); `by: [country]` is one slicing, `[a, b]` one by the pair, `[[a], [b]]` are two;
`dead_letters: TOPIC`; `per` comes from the signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamwatch import lint
from streamwatch.config import Config
from streamwatch.configschema import only_text, schema
from streamwatch.errors import ConfigError, Problem
from streamwatch.explain import at, at_key, explain, file_loc, shown
from streamwatch.policy import Policy
from streamwatch.signals import Signal
from streamwatch.yamltree import Loc, Node, Place, parse

__all__ = ["Loaded", "load", "read", "schema"]

_LATER = {
    ("budget",): "a false-alarm budget",
    ("tests",): "tests of monitors",
    ("control",): "the control topic",
    ("outputs", "control"): "the control topic",
    ("models", "*", "labels"): "late labels",
    ("models", "*", "reference"): "a reference",
    ("monitors", "*", "reference"): "a reference",
    ("monitors", "*", "every"): "aggregation by time",
    ("defaults", "every"): "aggregation by time",
}
_LATER_VALUES = {
    ("inputs", "*", "kind"): (
        "labels",
        "a topic of labels",
        "labels inside the prediction events are read: read.label",
    ),
    ("tasks",): ("per_partition", "one task per partition", "tasks: one reads all partitions"),
}


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
        tree = parse(path, environ, problems)
        if tree is not None and tree.mapping is None:
            problems.append(at(tree, (), "expected a mapping (key: value)"))
        elif tree is not None:
            trees.append(_expanded(_supported(tree, problems), problems))
    whole = reduce(lambda one, other: _merged(one, other, (), problems), trees) if trees else None
    config = None
    if whole is not None:
        _unique_names(whole, problems)
        config, wrong = _validated(whole, problems, incomplete=len(trees) < len(paths))
        if config is not None:
            problems += [
                at(whole, one.loc, one.what, one.hint)
                for one in lint.conflicts(config)
                if one.loc[:2] not in wrong
            ]
    if problems or config is None or whole is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda p: (_rank(p, paths), p.line, p.column)))
    return Loaded(config, [at(whole, one.loc, one.what, one.hint) for one in lint.warnings(config)])


def _rank(problem: Problem, paths: Sequence[Path]) -> int:
    names = [str(path) for path in paths]
    return names.index(problem.path) if problem.path in names else len(names)


def _validated(tree: Node, problems: list[Problem], incomplete: bool) -> tuple[Config | None, set[Loc]]:
    """The config, and the locations of monitors that stand in it for wrong ones, so that the rest is checked too.

    `incomplete`: a file could not be read, so nothing is said about what is missing.
    """
    try:
        return Config.model_validate(_plain(tree)), set()
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
            _plain(tree.with_key("monitors", replace(monitors, value=stand_in)))
        ), wrong
    except ValidationError:
        return None, wrong


def _plain(node: Node, loc: Loc = ()) -> Any:
    """As pydantic gets it. A value from the environment has no type of its own: where text is wanted it is text."""
    if node.mapping is not None:
        return {key: _plain(child, (*loc, key)) for key, child in node.mapping.items()}
    if node.items is not None:
        return [_plain(child, (*loc, position)) for position, child in enumerate(node.items)]
    if node.source is not None and node.value is not None and only_text(file_loc(loc)):
        return node.text
    return node.value


def _supported(root: Node, problems: list[Problem]) -> Node:
    """The tree without what later versions will know, each a problem of its own."""

    def visit(node: Node, pattern: tuple[str, ...], loc: Loc) -> Node:
        if node.items is not None:
            below = (visit(child, (*pattern, "*"), (*loc, i)) for i, child in enumerate(node.items))
            return replace(node, value=tuple(below))
        for key, child in node.entries.items():
            path = (*pattern, key) if pattern != ("models",) else (*pattern, "*")
            if path in _LATER:
                problems.append(
                    at_key(root, (*loc, key), f"not supported yet by this version: {_LATER[path]}")
                )
                node = node.without(key)
            elif path in _LATER_VALUES and child.value == _LATER_VALUES[path][0]:
                _, what, hint = _LATER_VALUES[path]
                problems.append(at(root, (*loc, key), f"not supported yet by this version: {what}", hint))
                node = node.without(key)
            elif len(path) <= 3:
                node = node.with_key(key, visit(child, path, (*loc, key)), node.keys[key])
        return node

    return visit(root, (), ())


def _expanded(root: Node, problems: list[Problem]) -> Node:
    """The short forms written out."""
    defaults = root.get("defaults")
    root = root.without("defaults")
    if defaults is not None:
        defaults = _right_defaults(defaults, problems)
    outputs = root.get("outputs")
    topic = outputs.get("dead_letters") if outputs else None
    if outputs and topic and isinstance(topic.value, str):
        long = Node({"topic": topic}, topic.place, {"topic": topic.place})
        root = root.with_key("outputs", outputs.with_key("dead_letters", long), root.keys["outputs"])
    monitors = root.get("monitors")
    if monitors is not None and monitors.items:
        whole = tuple(_monitor(root, i, m, defaults, problems) for i, m in enumerate(monitors.items))
        root = root.with_key("monitors", replace(monitors, value=whole), root.keys["monitors"])
    return root


def _right_defaults(defaults: Node, problems: list[Problem]) -> Node | None:
    """The defaults that a policy can have; what is wrong is said once, not at each monitor."""
    if defaults.mapping is None:
        problems.append(
            at(defaults, (), f"expected a mapping (key: value), got {shown(defaults, ())}", "", ("defaults",))
        )
        return None
    try:
        Policy.model_validate(_plain(defaults, ("defaults",)))
    except ValidationError as error:
        problems += explain(error, defaults, ("defaults",))
        return defaults.without(*(str(one["loc"][0]) for one in error.errors() if one["loc"]))
    return defaults


def _monitor(root: Node, position: int, given: Node, defaults: Node | None, problems: list[Problem]) -> Node:
    """One monitor with its policy as a mapping of its own, its slicings as lists, and its `per`."""
    if given.mapping is None:
        return given
    if "policy" in given.mapping:
        problems.append(
            at_key(
                root,
                ("monitors", position, "policy"),
                "`policy` is not written",
                "its fields stand beside `name`",
            )
        )
        given = given.without("policy")
    said = [key for key in given.entries if key in Policy.model_fields]
    policy = Node({k: given.entries[k] for k in said}, given.place, {k: given.keys[k] for k in said})
    if defaults is not None:
        policy = _inherited(policy, defaults)
    monitor = given.without(*said).with_key("policy", policy)
    by = given.get("by")
    if by is not None and by.items and all(one.items is None and one.mapping is None for one in by.items):
        monitor = monitor.with_key("by", Node((by,), by.place), given.keys["by"])
    if "per" not in given.entries:
        monitor = monitor.with_key("per", Node(_per(given.get("signal")), given.place))
    return monitor


def _per(signal: Node | None) -> str:
    try:
        return Signal.model_validate(signal.plain() if signal else None).per
    except ValidationError:
        return "model"  # the signal is a problem of its own


def _inherited(own: Node, given: Node) -> Node:
    """The mapping `own` with what it does not say taken from `given`."""
    for key, value in given.entries.items():
        mine = own.get(key)
        if mine is None:
            own = own.with_key(key, value, given.keys[key])
        elif mine.mapping is not None and value.mapping is not None:
            own = own.with_key(key, _inherited(mine, value), own.keys[key])
    return own


def _merged(one: Node, other: Node, loc: Loc, problems: list[Problem]) -> Node:
    """Two mappings as one; what they say differently is a problem."""
    for key, value in other.entries.items():
        mine, here = one.get(key), (*loc, key)
        if mine is None:
            one = one.with_key(key, value, other.keys[key])
        elif here in (("monitors",), ("inputs",)) and mine.items is not None and value.items is not None:
            known = [item.plain() for item in mine.items] if key == "inputs" else []
            joined = mine.items + tuple(item for item in value.items if item.plain() not in known)
            one = one.with_key(key, replace(mine, value=joined), one.keys[key])
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
