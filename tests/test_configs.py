"""The configs that we ship work, and the full one has every option that there is."""

from __future__ import annotations

import re
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from streamwatch import configfile, configschema, lint
from streamwatch.config import Config
from streamwatch.detectors import DETECTORS
from streamwatch.errors import ConfigError, Problem
from streamwatch.yamlread import parse, scalar
from streamwatch.yamltree import Loc, Node

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
FULL = Path(__file__).parent.parent / "configs" / "full.yaml"
QUICKSTART = FULL.with_name("quickstart.yaml")


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_there_are_configs() -> None:
    assert {FULL, QUICKSTART} <= set(CONFIGS)


def test_a_config_loads_and_needs_nothing_of_the_environment(path: Path) -> None:
    """Without a warning, but for the one detector of the full config that is slow."""
    loaded = configfile.read([path], {})
    expected = ["monitors[amount-distribution].detector"] if path == FULL else []
    assert [warning.where for warning in loaded.warnings] == expected
    assert len(lint.lint(loaded.config)) == len(expected)


def test_a_config_is_valid_by_the_printed_schema(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(configfile.schema())
    errors = [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
    assert errors == []


def test_a_config_survives_being_written_out(path: Path, tmp_path: Path) -> None:
    config = configfile.load([path], {})
    told = configfile.describe(config)
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    again = configfile.load([tmp_path / "again.yaml"], {})
    assert configfile.describe(again) == told
    assert again.digest == config.digest


def test_the_quickstart_is_short() -> None:
    lines = [line for line in QUICKSTART.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 12


def fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[tuple[str, str]]:
    """Class and name of every field of a model and of the models in its fields."""
    if model in seen:
        return set()
    seen.add(model)
    found = set()
    for name, field in model.model_fields.items():
        found.add((model.__name__, field.alias or name))
        for inner in models(field.annotation):
            found |= fields(inner, seen)
    return found


def models(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for part in typing.get_args(annotation) for model in models(part)}


# Not written as such: the policy stands flat, and a root model or a detector's setting has no key of that name.
NOT_KEYS = {("Monitor", "policy"), ("Where", "root")}


def missing(text: str) -> set[tuple[str, str]]:
    keys = set(re.findall(r"([\w-]+):(?:\s|$)", re.sub(r"(?m)(^|\s)#.*", "", text)))
    every = fields(Config, set()) - NOT_KEYS
    for cls in DETECTORS:
        every |= fields(cls, set())
    return {one for one in every if one[1] not in keys}


def test_the_full_config_has_every_option() -> None:
    assert missing(FULL.read_text()) == set()


def test_an_option_that_the_full_config_lacks_would_be_noticed() -> None:
    text = FULL.read_text()
    for key in ("watchdog", "none_in", "retire_after", "pick", "not", "replication_factor"):
        assert {name for _, name in missing(text.replace(f"{key}:", "x:"))} == {key}


def test_the_full_config_names_every_detector_and_signal() -> None:
    """In its comments at least: what can be chosen can be found there."""
    text = FULL.read_text()
    assert {cls.name for cls in DETECTORS if cls.name not in text} == set()
    kinds = typing.get_args(Config.model_fields["monitors"].annotation)[0].model_fields["signal"].annotation
    words = typing.get_args(kinds.model_fields["kind"].annotation)
    assert {word for word in words if word not in text} == set()


def test_every_default_that_the_full_config_tells_is_the_true_one() -> None:
    """`key: value # ...; default X`, against the class."""
    tree = parse(FULL, {}, [])
    assert tree is not None
    lines = FULL.read_text().splitlines()
    told = {}
    for loc, node in nodes(tree):
        found = re.search(r"(?<!no )default ([^\s,;]+)", lines[node.place.line - 1].partition(" # ")[2])
        # In a block, a value stands on the line of its own comment.
        if found and node.mapping is None and node.items is None and loc[-1] != "name":
            defaults = [one["default"] for one in configschema.allowed(loc) if "default" in one]
            told[loc] = (found[1], defaults[0] if defaults else None)
    wrong = {
        loc: (said, default)
        for loc, (said, default) in told.items()
        if default is not None
        and scalar(said) != default
        and not (isinstance(default, float) and said == f"{default:.0%}")
    }
    assert wrong == {}
    assert len(told) > 45


def nodes(tree: Node, loc: Loc = ()) -> Iterator[tuple[Loc, Node]]:
    yield loc, tree
    for key, child in tree.entries.items():
        yield from nodes(child, (*loc, key))
    for position, child in enumerate(tree.items or ()):
        yield from nodes(child, (*loc, position))


HOSTILE = (
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    10**400,
    "",
    "x",
    "é" * 300,
    [],
    {},
    [None],
    [[]],
    {"a": None},
    {"": 1},
)


def places(tree: Any, loc: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [loc, *(place for key, child in below for place in places(child, (*loc, key)))]


def replaced(tree: Any, loc: tuple[str | int, ...], value: Any) -> Any:
    if not loc:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[loc[0]] = replaced(tree[loc[0]], loc[1:], value)
    return copy


TREE = yaml.safe_load(FULL.read_text())


@given(loc=st.sampled_from(places(TREE)), value=st.sampled_from(HOSTILE))
@settings(max_examples=60, deadline=None)
def test_any_value_anywhere_is_good_or_a_problem_with_its_place(
    loc: tuple[str | int, ...], value: Any
) -> None:
    """Never an exception of another kind; and the place is one in the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "c.yaml"
        path.write_text(yaml.safe_dump(replaced(TREE, loc, value), allow_unicode=True))
        found: list[Problem] | None = None
        try:
            configfile.read([path], {})
        except ConfigError as error:
            found = error.problems
    assert found is None or found
    assert all(problem.line and problem.what for problem in found or ())
