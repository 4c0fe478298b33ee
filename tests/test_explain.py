"""pydantic's errors in plain words: the rules of `explain` that no part of today's config shows."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from streamwatch.errors import Problem
from streamwatch.explain import closest, explain
from streamwatch.yamlread import parse_text
from streamwatch.yamltree import Node


def tree(text: str, **environ: str) -> Node:
    problems: list[Problem] = []
    node = parse_text("f.yaml", text, environ, problems)
    assert node is not None
    assert problems == []
    return node


def own_error(node: Node, loc: tuple[str | int, ...], text: str) -> str:
    """What becomes of the text of one of our validators."""
    line: Any = {"type": PydanticCustomError("own", "{text}", {"text": text}), "loc": loc, "input": None}
    (problem,) = explain(ValidationError.from_exception_data("Config", [line]), node)
    return str(problem)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("expected a thing, got 'hunter2'", "expected a thing, got the value of ${PW}"),
        ("expected a thing, got ['hunter2', 'x']", "expected a thing, got the value of ${PW}"),
        ("'hunter2' is none", "${PW} is none"),
        ("no thing is named hunter2", "no thing is named ${PW}"),
        ("the part 'unter' is wrong", "the part ${PW} is wrong"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_the_text_of_a_validator_does_not_show_what_came_from_the_environment(text: str, shown: str) -> None:
    node = tree("service: ${PW}", PW="hunter2")
    assert own_error(node, ("service",), text) == f"f.yaml:1:10: service: {shown}"


def test_a_mapping_with_a_variable_somewhere_in_it_is_not_shown() -> None:
    node = tree("models: {a: {positive: 12, task: '${PW}'}}", PW="hunter2")
    text = "expected something else, got {'positive': 12, 'task': 'hunter2'}"
    assert (
        own_error(node, ("models", "a"), text)
        == "f.yaml:1:13: models.a: expected something else, got a mapping"
    )


def test_the_text_about_a_secret_is_shown_only_without_the_secret() -> None:
    node = tree("kafka: {sasl_password: hunter2}")
    loc = ("kafka", "sasl_password")
    assert own_error(node, loc, "ends with a line break").endswith("sasl_password: ends with a line break")
    assert own_error(node, loc, "hunter2 is too short").endswith("sasl_password: is not valid")


class Form(BaseModel):
    kind: str
    size: int


def union_error(text: str) -> list[str]:
    adapter = TypeAdapter(dict[str, Form | int | None])
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(tree(text).plain())
    return [str(problem) for problem in explain(caught.value, tree(text))]


def test_of_a_union_what_the_value_resembles_is_told() -> None:
    assert union_error("a: {kind: x, size: y}") == ["f.yaml:1:20: a.size: expected a whole number, got 'y'"]
    assert union_error("a: {kind: x}") == ["f.yaml:1:4: a: `size` is missing"]


def test_of_a_union_that_the_value_resembles_nowhere_all_is_told_in_one_problem() -> None:
    assert union_error("a: x") == [
        "f.yaml:1:4: a: expected a mapping (key: value) or a whole number, got 'x'"
    ]


@pytest.mark.parametrize(
    ("word", "valid", "hint"),
    [
        ("sevrity", ["severity", "direction"], "did you mean severity?"),
        ("Severity", ["severity"], "did you mean severity?"),
        ("repeat-every", ["repeat_every"], "did you mean repeat_every?"),
        ("plain", ["PLAIN"], "did you mean PLAIN?"),
        ("xyz", ["a", "b"], "there are a, b"),
        ("xyz", [], ""),
        ("xyz", [str(i) for i in range(50)], ""),
    ],
)
def test_a_misspelt_word_gets_the_closest_valid_one(word: str, valid: list[str], hint: str) -> None:
    assert closest(word, valid) == hint
