"""`streamwatch init`: a first config from a topic or a file. The config on stdout or in a file, all else on stderr."""

from __future__ import annotations

from pathlib import Path

import typer

from streamwatch.cli.look import Asked, quiet
from streamwatch.errors import UsageError
from streamwatch.offline.findings import nothing_to_read
from streamwatch.offline.starter import Starter


def init(asked: Asked, output: Path | None, force: bool) -> int:
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists. To do: give another name, or --force to write over it")
    quiet()
    found, reach = asked.found()
    if (nothing := nothing_to_read(found.look)) is not None:
        raise nothing
    starter = Starter(
        found.look,
        found.proposal,
        found.models,
        found.suggestions,
        reach.written,
        str(output or "watch.yaml"),
    )
    text = starter.text()
    if output is None:
        typer.echo(text, nl=False)
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error
    parts = [_counted(len(found.models), "model"), _counted(len(found.suggestions), "monitor")]
    if starter.doubts:
        parts.append(f"{_counted(starter.doubts, 'line')} marked `# ?` to decide")
    typer.echo(
        f"{found.events:,} of {found.look.records:,} sampled records are events; {', '.join(parts)}", err=True
    )
    if found.dead:
        letters = ", ".join(f"{count:,} {code}" for code, count in found.dead.items())
        typer.echo(f"would be dead letters: {letters}", err=True)
    for variable in reach.variables:
        typer.echo(f"set {variable} in the environment: the config names it in place of the secret", err=True)
    typer.echo("next:", err=True)
    for command in starter.commands:
        typer.echo(f"  {command}", err=True)
    return 0


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
