"""`streamwatch look`: what a topic or a file holds. Only reads: no group, no transaction, no topic made."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from streamwatch import logs
from streamwatch.cli.connection import Connection, connection
from streamwatch.errors import UsageError
from streamwatch.offline.asdata import as_data
from streamwatch.offline.described import told
from streamwatch.offline.findings import Findings, find, find_in_file

FILES = (".jsonl", ".ndjson", ".json", ".csv", ".gz")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said of where to look. `what` is a topic or a file."""

    what: str
    servers: str | None = None
    kafka: Path | None = None
    topic: str | None = None

    @property
    def file(self) -> Path | None:
        """The file that is meant; None for a topic. UsageError if it is not there, or both are meant."""
        path = Path(self.what)
        reach = self.servers or self.kafka
        if path.is_file():
            if reach:
                raise UsageError(
                    f"{self.what} is a file, and --bootstrap-servers and --kafka are for topics. To do: leave them "
                    "out; or for a topic of that name, ask from another folder"
                )
            return path
        if path.is_dir() or "/" in self.what or self.what.endswith(FILES):
            kind = "a folder, no file" if path.is_dir() else "not there"
            raise UsageError(
                f"{self.what} is {kind}. Expected a file (JSONL or CSV, also .gz), or the name of a topic"
            )
        if self.topic is not None:
            raise UsageError(f"--topic goes with a file; {self.what!r} is a topic, as no file has that name")
        return None

    @property
    def again(self) -> str:
        """The same as it is typed."""
        options = (("--bootstrap-servers", self.servers), ("--kafka", self.kafka), ("--topic", self.topic))
        given = [word for name, value in options if value for word in (name, str(value))]
        return shlex.join([self.what, *given])

    def found(self) -> tuple[Findings, Connection]:
        path = self.file
        reach = connection(self.servers, self.kafka, os.environ)
        if path is not None:
            return find_in_file(path, self.topic), reach
        from streamwatch.transports.kafka.sample import sample_topic

        return find(sample_topic(reach.settings, self.what)), reach


def quiet() -> None:
    """What stops us is our own error, with what to do; kafka-python's lines on the way there would hide it."""
    logs.configure(None, "auto", "error", sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def look(asked: Asked, as_json: bool) -> int:
    quiet()
    found, _ = asked.found()
    now_s = time.time()
    if as_json:
        typer.echo(json.dumps(as_data(found, now_s), indent=2))
        return 0
    if sys.stdout.isatty():
        _on_terminal(found, now_s)
    else:
        for line in lines(found, now_s):
            typer.echo(line)
    if found.look.objects:
        typer.echo(f"next: streamwatch init {asked.again} -o watch.yaml", err=True)
    return 0


def lines(found: Findings, now_s: float) -> Iterator[str]:
    """Without colours, tables by blanks: for files, pipes, tickets."""
    for part in told(found, now_s):
        if isinstance(part, str):
            yield part
            continue
        widths = [max(map(len, column)) for column in zip(part.head, *part.rows, strict=True)]
        for row in (part.head, *part.rows):
            yield (
                "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            )


def _on_terminal(found: Findings, now_s: float) -> None:
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    console = Console(highlight=False)
    for part in told(found, now_s):
        if isinstance(part, str):
            console.print(Text(part, style="yellow" if part.startswith("? ") else ""))
            continue
        drawn = Drawn(*part.head, title=part.title, title_justify="left", header_style="bold", box=None)
        for row in part.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
