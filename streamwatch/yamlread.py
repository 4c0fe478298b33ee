"""YAML text as a tree of nodes, with variables from the environment.

What is read is YAML with the scalars of version 1.2: only true and false are booleans (`country: NO` is text), no
dates, no octal by a leading zero, no base 60. Keys are text. Tags and merge keys are refused.

`${VAR}` and `${VAR:-default}` inside a scalar come from the environment (as in a shell, the default also stands in for
an empty variable), `$${` is a literal `${`. A scalar with a variable in it keeps its source text, so that an error can
name the variable and never shows its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from streamwatch.errors import Problem
from streamwatch.yamltree import Node, Place, Scalar

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\})?")
_TAG = "tag:yaml.org,2002:"


def parse(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Node | None:
    """The tree of one file, None if it cannot be read at all. Everything wrong is added to `problems`."""
    name = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        problems.append(Problem(name, 0, 0, "", f"cannot be read: {exc.strerror or exc}"))
        return None
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        column = exc.start - (exc.object.rfind(b"\n", 0, exc.start) + 1) + 1
        problems.append(Problem(name, line, column, "", "is not UTF-8", "save the file as UTF-8"))
        return None
    return parse_text(name, text, environ, problems)


def parse_text(name: str, text: str, environ: Mapping[str, str], problems: list[Problem]) -> Node | None:
    """As `parse`, of a text; `name` is what problems call it."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = ", ".join(part for part in (exc.context, exc.problem) if part)
        problems.append(
            Problem(name, line, column, "", f"is not YAML: {what}", _syntax_hint(text, line, what))
        )
        return None
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        column = exc.position - (text.rfind("\n", 0, exc.position) + 1) + 1
        problems.append(
            Problem(
                name,
                line,
                column,
                "",
                f"is not YAML: the character #x{ord(text[exc.position]):04x} is not allowed",
            )
        )
        return None
    except RecursionError:
        problems.append(Problem(name, 0, 0, "", "is nested too deeply"))
        return None
    if root is None:
        problems.append(
            Problem(name, 0, 0, "", "is empty", "a config has at least service, inputs and monitors")
        )
        return None
    return _Reader(name, environ, problems).node(root, ())


def _syntax_hint(text: str, line: int, what: str) -> str:
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    if "'\\t'" in what or here.startswith("\t"):
        return "indent with spaces, not with tabs"
    if "${" in here:
        return 'inside { } and [ ] a variable needs quotes: "${NAME}"'
    return ""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the implicit scalars of YAML 1.2's core schema instead of those of 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own place


for _kind, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^{_pattern}$"), _first)


def scalar(text: str) -> Scalar:
    """What an unquoted YAML 1.2 scalar means.

    >>> [scalar(t) for t in ("NO", "true", "010", "1e3", "1:30", "2024-01-01", "~")]
    ['NO', True, 10, 1000.0, '1:30', '2024-01-01', None]
    """
    return _value(_tag(text), text)


def _tag(text: str) -> str:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return tag
    return _TAG + "str"


def _value(tag: str, text: str) -> Scalar:
    """ValueError if the text is not of the tag (an explicit tag such as `!!int x`). OverflowError for whole numbers
    that no float64 can hold."""
    kind = tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        if len(text) > 300:
            raise OverflowError
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if kind == "float":
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan")
        )
    return text


class _Reader:
    """One walk over PyYAML's nodes."""

    def __init__(self, path: str, environ: Mapping[str, str], problems: list[Problem]) -> None:
        self._path = path
        self._environ = environ
        self._problems = problems

    def node(self, node: yaml.Node, above: tuple[yaml.Node, ...]) -> Node:
        place = Place(self._path, node.start_mark.line + 1, node.start_mark.column + 1)
        if any(node is one for one in above):
            self._problem(place, "refers to itself")
            return Node(None, place)
        above = (*above, node)
        if isinstance(node, yaml.MappingNode):
            self._tag(node, "map", place)
            return self._mapping(node, above, place)
        if isinstance(node, yaml.SequenceNode):
            self._tag(node, "seq", place)
            return Node(tuple(self.node(item, above) for item in node.value), place)
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, above: tuple[yaml.Node, ...], place: Place) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            here = Place(self._path, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(here, "a key must be a word, not a list or a mapping")
                continue
            key = self._replaced(str(key_node.value), here)
            if key == "<<":
                self._problem(
                    here, "merge keys (<<) are not read", "say it where it belongs, or use `defaults`"
                )
            elif key in values:
                self._problem(here, f"the key `{key}` stands here twice", f"the first is at {keys[key]}")
            else:
                values[key] = self.node(value_node, above)
                keys[key] = here
        return Node(values, place, keys)

    def _scalar(self, node: yaml.Node, place: Place) -> Node:
        raw = str(node.value)
        text = self._replaced(raw, place)
        source = raw if text != raw or "${" in raw else None
        tag = node.tag
        if text != raw and getattr(node, "style", None) is None and tag == _TAG + "str":
            tag = _tag(text)
        if tag.removeprefix(_TAG) not in ("str", "null", "bool", "int", "float"):
            self._problem(
                place, f"the tag {tag.replace(_TAG, '!!')} is not read", "write the value without a tag"
            )
            return Node(text, place, text=text, source=source)
        try:
            value = _value(tag, text)
        except OverflowError:
            self._problem(place, "the number is too large", "write it in quotes if it is text")
            value = 0
        except ValueError:
            self._problem(place, f"is not of the tag {tag.replace(_TAG, '!!')}")
            value = text
        return Node(value, place, text=text, source=source)

    def _replaced(self, raw: str, place: Place) -> str:
        if "${" not in raw:
            return raw

        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, default = match["name"], match["default"]
            if name is None:
                self._problem(
                    place,
                    "`${` without a name and `}`",
                    "write ${NAME} or ${NAME:-default}; $${ is a literal ${",
                )
                return ""
            found = self._environ.get(name)
            if default is not None:
                return found or default[2:]
            if found is None:
                self._problem(
                    place,
                    f"the environment variable {name} is not set",
                    f"set it, or give a default: ${{{name}:-value}}",
                )
                return ""
            return found

        return _VARIABLE.sub(value, raw)

    def _tag(self, node: yaml.Node, kind: str, place: Place) -> None:
        if node.tag != _TAG + kind:
            self._problem(place, f"the tag {node.tag.replace(_TAG, '!!')} is not read")

    def _problem(self, place: Place, what: str, hint: str = "") -> None:
        self._problems.append(Problem(*place, "", what, hint))
