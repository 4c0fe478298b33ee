"""The configs that we ship work, and the full one has every option that there is."""

from __future__ import annotations

import re
import tempfile
import typing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from streamwatch import configfile, lint
from streamwatch.config import Config
from streamwatch.errors import ConfigError, Problem

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
FULL = Path(__file__).parent.parent / "configs" / "full.yaml"
QUICKSTART = FULL.with_name("quickstart.yaml")


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_there_are_configs() -> None:
    assert {FULL, QUICKSTART} <= set(CONFIGS)


def test_a_config_loads_without_a_warning_and_needs_nothing_of_the_environment(path: Path) -> None:
    loaded = configfile.read([path], {})
    assert [str(warning) for warning in loaded.warnings] == []
    assert lint.lint(loaded.config) == []


def test_a_config_is_valid_by_the_printed_schema(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(configfile.schema())
    errors = [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
    assert errors == []


def test_a_config_survives_being_written_out(path: Path, tmp_path: Path) -> None:
    config = configfile.load([path], {})
    told = configfile.describe(config)
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(told))
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
    detectors = {cls.__name__ for cls in lint.classes()}
    every = {one for one in fields(Config, set()) if one[0] not in detectors}
    return {one for one in every - NOT_KEYS if one[1] not in keys}


def test_the_full_config_has_every_option() -> None:
    assert missing(FULL.read_text()) == set()


def test_an_option_that_the_full_config_lacks_would_be_noticed() -> None:
    text = FULL.read_text()
    for key in ("watchdog", "none_in", "retire_after", "pick", "not", "replication_factor"):
        assert {name for _, name in missing(text.replace(f"{key}:", "x:"))} == {key}


def test_the_full_config_names_every_detector_and_signal() -> None:
    """In its comments at least: what can be chosen can be found there."""
    text = FULL.read_text()
    assert {name for name, _ in lint.detectors() if name not in text} == set()
    kinds = typing.get_args(Config.model_fields["monitors"].annotation)[0].model_fields["signal"].annotation
    words = typing.get_args(kinds.model_fields["kind"].annotation)
    assert {word for word in words if word not in text} == set()


def test_every_line_of_the_full_config_that_sets_a_default_says_the_true_one() -> None:
    """`# ...; default X` beside `key: X`, against the class."""
    said = re.findall(r"(?m)^\s*(\w+): (\S+) # .*default (\S+?)(?:,.*)?$", FULL.read_text())
    told = configfile.describe(Config.model_validate(SMALLEST))
    known = dict(scalars(told))
    checked = 0
    for key, _, default in said:
        if key in known and not default.startswith(("{", "depends")):
            assert str(known[key]).lower() == default.lower(), key
            checked += 1
    assert checked > 10


SMALLEST = {
    "service": "s",
    "inputs": [{"topics": ["p"]}],
    "monitors": [{"name": "a", "signal": "error", "detector": "adwin", "per": "model"}],
}


def scalars(tree: Any) -> list[tuple[str, Any]]:
    if isinstance(tree, list):
        return [one for item in tree for one in scalars(item)]
    if not isinstance(tree, dict):
        return []
    found = []
    for key, value in tree.items():
        found += scalars(value) if isinstance(value, dict | list) else [(key, value)]
    return found


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
