"""Between the file and the `Config` value: short forms, the fields of a policy, what later versions will know.

1. A monitor's policy stands flat beside its name in the file, and is a value of its own in the `Config`.
2. `defaults` is inherited by key; mappings such as `tags` are joined, what the monitor says itself wins. Beside the
   fields of a policy it may say `every`, which is inherited as a whole.
3. `by: [country]` is one slicing, `[a, b]` one by the pair, `[[a], [b]]` are two.
4. `dead_letters: TOPIC` is `{topic: TOPIC}`.
5. `per` comes from the signal.
6. `sight` inherits owner, runbook and tags from `defaults`; of several files, what their `defaults` have in common.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from streamwatch.config import Config, Defaults
from streamwatch.config import plain as dumped
from streamwatch.configschema import only_text
from streamwatch.errors import Problem
from streamwatch.explain import at, at_key, explain, file_loc, shown
from streamwatch.policy import Policy
from streamwatch.signals import Signal
from streamwatch.yamltree import Loc, Node

_LATER = {
    ("budget",): "a false-alarm budget",
    ("tests",): "tests of monitors",
    ("models", "*", "reference"): "a reference",
    ("monitors", "*", "reference"): "a reference",
}


OF_SIGHT = ("owner", "runbook", "tags")


def describe(config: Config) -> dict[str, Any]:
    """The whole config as a file would say it, every default written out, secrets as asterisks."""
    whole = dumped(config)
    for monitor in whole["monitors"]:
        monitor |= monitor.pop("policy")
    return whole


def plain(node: Node, loc: Loc = ()) -> Any:
    """As pydantic gets it. A value from the environment has no type of its own: where text is wanted it is text."""
    if node.mapping is not None:
        return {key: plain(child, (*loc, key)) for key, child in node.mapping.items()}
    if node.items is not None:
        return [plain(child, (*loc, position)) for position, child in enumerate(node.items)]
    if node.source is not None and node.value is not None and only_text(file_loc(loc)):
        return node.text
    return node.value


def supported(root: Node, problems: list[Problem]) -> Node:
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
            elif len(path) <= 3:
                node = node.with_key(key, visit(child, path, (*loc, key)), node.keys[key])
        return node

    return visit(root, (), ())


def expanded(root: Node, problems: list[Problem]) -> Node:
    """The short forms written out. Of `defaults` there stays what `sight` inherits: `sighted`, when all files are
    one."""
    defaults = root.get("defaults")
    if defaults is not None:
        place, defaults = root.keys["defaults"], _right_defaults(defaults, problems)
        root = root.without("defaults")
        if defaults is not None:
            others = [key for key in defaults.entries if key not in OF_SIGHT]
            root = root.with_key("defaults", defaults.without(*others), place)
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


def sighted(root: Node) -> Node:
    """`sight` with what it inherits."""
    defaults = root.get("defaults")
    if defaults is None:
        return root
    root, place = root.without("defaults"), root.keys["defaults"]
    sight = root.get("sight") or Node({}, defaults.place)
    if sight.mapping is None or not defaults.entries:
        return root
    return root.with_key("sight", _inherited(sight, defaults), root.keys.get("sight", place))


def _right_defaults(defaults: Node, problems: list[Problem]) -> Node | None:
    """The defaults that there can be; what is wrong is said once, not at each monitor."""
    if defaults.mapping is None:
        problems.append(
            at(defaults, (), f"expected a mapping (key: value), got {shown(defaults, ())}", "", ("defaults",))
        )
        return None
    try:
        Defaults.model_validate(plain(defaults, ("defaults",)))
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
        policy = _inherited(policy, defaults.without("every"))
    monitor = given.without(*said).with_key("policy", policy)
    every = defaults and defaults.get("every")
    if defaults and every and "every" not in given.entries:
        monitor = monitor.with_key("every", every, defaults.keys["every"])
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
