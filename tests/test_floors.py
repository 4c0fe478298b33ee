"""The house: every module stands on a floor, imports go only downward, and each says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import streamwatch

ROOT = Path(streamwatch.__file__).parent

# From the ground up. `package.*` places every module below a package that has no line of its own.
FLOORS: dict[str, tuple[str, ...]] = {
    "values": ("errors", "records", "coded", "events", "series", "units", "alerts", "yamltree"),
    "rules": (
        "signals", "observed", "performance", "categories", "classes", "where", "rowgroups", "detectors.*",
        "matchers", "windows", "commands", "packed", "hashindex", "labels", "decode", "mapping", "fields",
        "columns", "identity", "times", "policy", "eyes", "trail", "yamlread", "sketch",
        "buckets", "every", "rest",
        "transports.kafka.settings",  # a value of the config that happens to live beside its transport
    ),
    "assembly": (
        "config", "configfile", "configschema", "explain", "shortforms", "lint",
        "engine", "lane", "join", "early", "latemodel", "matching", "traffic", "conditions", "notices",
        "presence", "plan", "stream", "held", "watcher", "bucketed", "control", "voice", "execute", "compose", "ledger",
        "passage", "state", "warmup", "segments",
    ),
    "edges": ("transports.*", "logs", "metrics", "gauges", "web.*", "observer", "journal", "watchdog"),
    "loop": ("runner",),
    "offline": ("offline.*", "demo.*"),
    "cli": ("cli.*", "__main__"),
}  # fmt: skip
LEVELS = {name: level for level, name in enumerate(FLOORS)}
# Anyone may read the version in `streamwatch`; what it offers of its own is imported lazily.
EVERYWHERE = "streamwatch"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor(module: str) -> str | None:
    """The most exact line of the table that places a module."""
    name = module.removeprefix("streamwatch.")
    candidates = [name, f"{name}.*"]
    while "." in name:
        name = name.rpartition(".")[0]
        candidates.append(f"{name}.*")
    for candidate in candidates:
        for one, placed in FLOORS.items():
            if candidate in placed:
                return one
    return None


def imports(source: str, known: dict[str, Path], package: str = "") -> Iterator[tuple[str, int, bool]]:
    """Our modules that a source imports, anywhere in it, with the line, and whether that happens on import."""
    tree = ast.parse(source)
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in inside]
        for name in names:
            if name == "streamwatch" or name.startswith("streamwatch."):
                yield name, node.lineno, id(node) not in inner


def test_every_module_has_its_place() -> None:
    """Place what is told here in FLOORS (STYLE: the layout as a house)."""
    assert [module for module in modules() if module != EVERYWHERE and floor(module) is None] == []


def test_imports_go_only_downward() -> None:
    known, wrong = modules(), []
    for module, path in known.items():
        if module == EVERYWHERE:  # what the package offers is imported lazily
            continue
        for name, line, _ in imports(path.read_text(), known):
            theirs = floor(name) or "cli"
            if name != EVERYWHERE and LEVELS[theirs] > LEVELS[floor(module) or "cli"]:
                wrong.append(
                    f"{module}:{line} ({floor(module)}) imports {name}, which is on the higher floor {theirs}"
                )
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    graph = {
        module: {
            name for name, _, at_import in imports(path.read_text(), known) if at_import and name != module
        }
        for module, path in known.items()
    }
    graph[EVERYWHERE] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(f"a circle of imports: {' -> '.join(exc.args[1])}")


def test_the_table_places_no_module_that_is_not_there() -> None:
    known = modules()
    for placed in FLOORS.values():
        for name in placed:
            assert f"streamwatch.{name.removesuffix('.*')}" in known, (
                f"{name} is in FLOORS and not in the package"
            )


def test_a_module_opens_with_what_it_is_for() -> None:
    sources = {module: path.read_text() for module, path in modules().items() if path.name != "__main__.py"}
    silent = [
        module
        for module, source in sources.items()
        if source.strip() and not ast.get_docstring(ast.parse(source))
    ]
    assert silent == []


def test_the_importers_are_seen() -> None:
    """The parser of this file sees every form of import."""
    source = (
        "import streamwatch.runner\n"
        "from streamwatch import runner, __version__\n"
        "from streamwatch.runner import run\n"
        "if True:\n    import os, streamwatch.cli.app as c\n"
        "def f():\n    from streamwatch.engine import Engine\n"
    )
    assert list(imports(source, modules())) == [
        ("streamwatch.runner", 1, True),
        ("streamwatch.runner", 2, True),
        ("streamwatch", 2, True),
        ("streamwatch.runner", 3, True),
        ("streamwatch.cli.app", 5, True),
        ("streamwatch.engine", 7, False),
    ]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("streamwatch.transports.kafka.settings", "rules"),
        ("streamwatch.transports.kafka", "edges"),
        ("streamwatch.transports.kafka.anything", "edges"),
        ("streamwatch.detectors", "rules"),
        ("streamwatch.nowhere", None),
    ],
)
def test_the_most_exact_line_places_a_module(module: str, expected: str | None) -> None:
    assert floor(module) == expected
