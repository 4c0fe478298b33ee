"""The command line in this process: as quick as a call, with exit code, stdout and stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from streamwatch.cli.app import app


def cli(*arguments: str | Path) -> Any:
    """click's Result. What the command sets up for the log of a process is undone."""
    with log_as_before():
        return CliRunner().invoke(app, list(map(str, arguments)))


@contextmanager
def log_as_before() -> Iterator[None]:
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    handlers, levels = root.handlers[:], (root.level, kafka.level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        kafka.setLevel(levels[1])
