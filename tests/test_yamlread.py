"""YAML as a tree with places: YAML 1.2 scalars, variables, and every problem with its line and column."""

from __future__ import annotations

from typing import Any

import pytest

from streamwatch.errors import Problem
from streamwatch.yamlread import parse, parse_text
from streamwatch.yamltree import Node


def read(text: str, **environ: str) -> tuple[Node, list[str]]:
    problems: list[Problem] = []
    node = parse_text("f.yaml", text, environ, problems)
    assert node is not None
    return node, [str(problem) for problem in problems]


def plain(text: str, **environ: str) -> Any:
    node, problems = read(text, **environ)
    assert problems == []
    return node.plain()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("2024-01-01", "2024-01-01"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("4h", "4h"),
        ("=", "="),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(written: str, value: Any) -> None:
    got = plain(f"a: {written}")["a"]
    assert got == value
    assert type(got) is type(value)


def test_keys_are_text_even_where_they_look_like_something_else() -> None:
    assert plain("{1: a, true: b, NO: c, null: d}") == {"1": "a", "true": "b", "NO": "c", "null": "d"}


def test_every_key_and_value_knows_its_line_and_column() -> None:
    node, _ = read("a: 1\nlist:\n  - {b: 2,  c: x}\n")
    assert node.deepest(["a"])[0].place[1:] == (1, 4)
    inner, place = node.deepest(["list", 0, "c"])
    assert (inner.place[1:], place[1:]) == ((3, 16), (3, 13))


def test_an_alias_is_read_as_what_it_stands_for() -> None:
    assert plain("a: &x {b: 1}\nc: *x") == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key `a` stands here twice (the first is at f.yaml:1:1)"),
        ("a: {b: 1, b: 2}", "f.yaml:1:11: the key `b` stands here twice (the first is at f.yaml:1:5)"),
        ("a: !!python/name:os.system x", "f.yaml:1:4: the tag !!python/name:os.system is not read"),
        ("a: !mine {b: 1}", "f.yaml:1:4: the tag !mine is not read"),
        ("a: !!int x", "f.yaml:1:4: is not of the tag !!int"),
        ("? [a]\n: 1", "f.yaml:1:3: a key must be a word"),
        ("a: &x [*x]", "f.yaml:1:4: refers to itself"),
        ("a: &x {b: 1}\nc: {<<: *x}", "f.yaml:2:5: merge keys (<<) are not read"),
        (
            "a: ${NONE}",
            "f.yaml:1:4: the environment variable NONE is not set (set it, or give a default: ${NONE:-value})",
        ),
        ("a: 1" + "0" * 400, "f.yaml:1:4: the number is too large"),
        ("a: -1" + "0" * 9000, "f.yaml:1:4: the number is too large"),
        ("a: ${1x}", "f.yaml:1:4: `${` without a name and `}`"),
        ("a: ${X", "f.yaml:1:4: `${` without a name and `}`"),
    ],
)
def test_what_cannot_be_meant_is_a_problem_with_its_place(text: str, problem: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "f.yaml:3:2: is not YAML: while parsing a flow sequence", ""),
        ("a:\n\tb: 1\n", "f.yaml:2:1: is not YAML: ", "indent with spaces, not with tabs"),
        ("a: {b: ${X}}\n", "f.yaml:1:", 'inside { } and [ ] a variable needs quotes: "${NAME}"'),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: is not YAML: expected a single document", ""),
        ("a: \x07\n", "f.yaml:1:4: is not YAML: the character #x0007 is not allowed", ""),
        ("a: *x\n", "f.yaml:1:4: is not YAML: ", ""),
        ("", "f.yaml: is empty", "a config has at least service, inputs and monitors"),
        ("# only this\n", "f.yaml: is empty", "a config has at least service, inputs and monitors"),
        ("[" * 5000, "f.yaml: is nested too deeply", ""),
    ],
)
def test_what_is_no_yaml_is_one_problem_with_its_place(text: str, problem: str, hint: str) -> None:
    problems: list[Problem] = []
    assert parse_text("f.yaml", text, {}, problems) is None
    assert len(problems) == 1
    assert str(problems[0]).startswith(problem)
    assert problems[0].hint == hint


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Any) -> None:
    problems: list[Problem] = []
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: 1\nb: grün\n".encode("latin-1"))
    assert parse(latin, {}, problems) is None
    assert parse(tmp_path / "none.yaml", {}, problems) is None
    assert [str(p) for p in problems] == [
        f"{latin}:2:6: is not UTF-8 (save the file as UTF-8)",
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: ${X}", "v"),
        ('a: "${X}"', "v"),
        ("a: '${X}'", "v"),
        ("a: pre-${X}-${Y}", "pre-v-w"),
        ("a: ${NONE:-d}", "d"),
        ("a: ${EMPTY:-d}", "d"),
        ("a: ${X:-d}", "v"),
        ("a: ${NONE:-}", None),
        ('a: "${NONE:-}"', ""),
        ("a: ${NONE:-localhost:9092}", "localhost:9092"),
        ("a: $${X}", "${X}"),
        ("a: $X costs 5$", "$X costs 5$"),
        ("a: ${N}", 5),
        ('a: "${N}"', "5"),
        ("a: ${T}", True),
        ("a: ${CURLY}", "${X}"),
    ],
)
def test_variables_are_replaced_once_in_any_scalar(text: str, value: Any) -> None:
    got = plain(text, X="v", Y="w", EMPTY="", N="5", T="true", CURLY="${X}")["a"]
    assert got == value
    assert type(got) is type(value)


def test_variables_are_replaced_in_keys() -> None:
    assert plain('"${X}": 1', X="fraud") == {"fraud": 1}


def test_a_scalar_with_a_variable_keeps_its_source() -> None:
    node, _ = read('a: "${X}/b"\nc: d', X="secret")
    assert node.deepest(["a"])[0].source == "${X}/b"
    assert node.deepest(["c"])[0].source is None
