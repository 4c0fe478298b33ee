"""How a command that has no config reaches Kafka: an address, or the `kafka` block of any config file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from streamwatch.configschema import secret
from streamwatch.errors import ConfigError, Problem
from streamwatch.explain import at, explain
from streamwatch.offline.starter import scalar
from streamwatch.shortforms import plain
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.yamlread import parse
from streamwatch.yamltree import Node

_LONE = re.compile(r"\$\{(?P<name>\w+)(?P<default>:-[^}]*)?\}")
DEFAULT = "${KAFKA:-localhost:9092}"


@dataclass(frozen=True, slots=True)
class Connection:
    """`written`: the block as lines of YAML, for a config; variables stay variables, and no secret is in it.

    variables   that must be set before that config can be used, for secrets that stood in the file as such
    """

    settings: KafkaSettings
    written: tuple[str, ...]
    variables: tuple[str, ...] = ()


def connection(servers: str | None, path: Path | None, environ: Mapping[str, str]) -> Connection:
    """`servers` go before those of the file. ConfigError with what is wrong, and where."""
    if path is None:
        given = servers or environ.get("KAFKA") or "localhost:9092"
        line = f"bootstrap_servers: {scalar(servers) if servers else DEFAULT}"
        try:
            return Connection(KafkaSettings(bootstrap_servers=given), (line,))
        except ValidationError as error:
            name = "--bootstrap-servers" if servers else "KAFKA"
            what = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError([Problem(name, 0, 0, "", what)]) from error
    problems: list[Problem] = []
    tree = parse(path, environ, problems)
    block = tree.get("kafka") if tree else None
    if tree is not None and (block is None or block.mapping is None):
        problems.append(at(tree, (), "has no kafka block", "kafka: {bootstrap_servers: HOST:PORT}"))
    if problems or block is None:
        raise ConfigError(problems)
    lines, variables = [], []
    for key, node in block.entries.items():
        if key == "bootstrap_servers" and servers:
            continue
        if secret(("kafka", key)):
            lone = _LONE.fullmatch(node.source or "")
            name = lone["name"] if lone else f"KAFKA_{key.removeprefix('sasl_').removeprefix('ssl_').upper()}"
            if lone is None or lone["default"]:
                variables.append(name)
            lines.append(f'{key}: "${{{name}}}"')
        else:
            lines.append(f"{key}: {_written(node)}")
    if servers:
        lines.insert(0, f"bootstrap_servers: {scalar(servers)}")
    values = plain(block, ("kafka",))
    if servers:
        values["bootstrap_servers"] = servers
    try:
        settings = KafkaSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, block, ("kafka",))) from error
    return Connection(settings, tuple(lines), tuple(variables))


def _written(node: Node) -> str:
    """A value as it stood in the file; a variable as a variable."""
    if node.source is not None:
        return f'"{node.source}"' if '"' not in node.source else f"'{node.source}'"
    return scalar(node.value) if not isinstance(node.value, Mapping | tuple) else "null"
