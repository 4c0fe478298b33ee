"""The command line: its words, options and exit codes. What each of them does is in the modules beside, imported late.

Exit codes: 0 good; 1 the thing tested failed; 2 bad usage or config; 3 the platform (broker, rights, state).
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from streamwatch import __version__
from streamwatch.cli.show import show
from streamwatch.cli.talk import talk
from streamwatch.errors import StreamwatchError

CRASHED = 3
INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended


class Commands(TyperGroup):
    """Turns our errors into one text on stderr and the exit code that the error names."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StreamwatchError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            else:
                typer.echo(str(error), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


app = typer.Typer(
    name="streamwatch",
    cls=Commands,
    help="Is the model in production still the model that was tested? Prediction events in, alerts out.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help must be quick, and rich is not
    pretty_exceptions_enable=False,
)

Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Config files of one service.")]
LogFormat = Annotated[
    Literal["auto", "json", "console"],
    typer.Option(help="How log lines look; auto: console on a terminal, json elsewhere."),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option(help="The least important log lines that are written."),
]
Looked = Annotated[
    str, typer.Argument(metavar="TOPIC|FILE", help="A topic, or a file: JSONL or CSV, also .gz.")
]
Servers = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="The Kafka broker; default: $KAFKA, else localhost:9092."),
]
KafkaFile = Annotated[
    Path | None,
    typer.Option(
        metavar="CONFIG",
        dir_okay=False,
        help="Any config file: its `kafka` block has address, TLS and password.",
    ),
]
OfRecording = Annotated[
    str | None, typer.Option("--topic", help="Which one, if a recorded file has several.")
]


@app.callback()
def everywhere(
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")] = False,
) -> None:
    pass


@app.command()
def run(
    config: Configs,
    resume_from: Annotated[
        Literal["mark", "committed"] | None,
        typer.Option(help="Where to go on if the mark and the committed offsets disagree."),
    ] = None,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With fresh monitors, as a bystander: alerts on the screen, nothing is written to the broker.",
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(help="With --dry-run: begin so long ago (10m), or then; default: now.", metavar="WHEN"),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="So many processes; with tasks: per_partition they share the work."),
    ] = 1,
    log_format: LogFormat = "auto",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(
            help="The least important log lines that are written; default: info, of a dry run warning."
        ),
    ] = None,
) -> None:
    """Run the service, until SIGTERM or SIGINT end it, committed, within 10 s."""
    if dry:
        if resume_from:
            raise typer.BadParameter("a dry run begins with fresh monitors: leave out --resume-from")
        if workers > 1:
            raise typer.BadParameter("a dry run is one process: leave out --workers")
        from streamwatch.cli.dryrun import dry_run

        raise typer.Exit(dry_run(config, since, log_format, log_level or "warning"))
    if since:
        raise typer.BadParameter("--since is for --dry-run; the service goes on where its last commit stands")
    from streamwatch.cli.service import serve

    raise typer.Exit(serve(config, resume_from, log_format, log_level or "info", workers))


@app.command()
def check(
    config: Configs,
    connect: Annotated[bool, typer.Option("--connect", help="Ask the broker too: topics, rights.")] = False,
    print_acls: Annotated[
        bool,
        typer.Option(
            "--print-acls", help="Print the rights it needs as kafka-acls commands; asks no broker."
        ),
    ] = False,
) -> None:
    """Check the config: all problems at once, with file and line."""
    from streamwatch.cli.check import check

    raise typer.Exit(check(config, connect, print_acls))


@app.command()
def replay(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The config file of the service.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA",
            exists=True,
            dir_okay=False,
            help="JSONL or CSV, also .gz: recorded form, or bare events.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="In place of DATA the config's topics, from so long ago (24h), or from then."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="The end, as --since; default: what is there now.")
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="Only this of the config's input topics; without --since all that it holds."
        ),
    ] = None,
    plot: Annotated[
        bool | None,
        typer.Option("--plot/--no-plot", help="Draw each change on stderr; default: on a terminal."),
    ] = None,
    dead_letters: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write what could not be read to this file, as JSONL.")
    ] = None,
    log_format: LogFormat = "auto",
    log_level: LogLevel = "warning",
) -> None:
    """Run recorded data, or a part of the topics, through the same loop; alerts on stdout."""
    from streamwatch.cli.replay import Asked, replay

    asked = Asked(data or (), since, until, topic or (), dead_letters, plot)
    raise typer.Exit(replay(config, asked, log_format, log_level))


@app.command()
def look(
    what: Looked,
    bootstrap_servers: Servers = None,
    kafka: KafkaFile = None,
    topic: OfRecording = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a topic or file holds, and what its fields probably are; only reads."""
    from streamwatch.cli.look import Asked, look

    raise typer.Exit(look(Asked(what, bootstrap_servers, kafka, topic), as_json))


@app.command()
def init(
    what: Looked,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="Write the config here; default: stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    bootstrap_servers: Servers = None,
    kafka: KafkaFile = None,
    topic: OfRecording = None,
) -> None:
    """Make a first config from a topic or file: each guess with its comment."""
    from streamwatch.cli.init import init
    from streamwatch.cli.look import Asked

    raise typer.Exit(init(Asked(what, bootstrap_servers, kafka, topic), output, force))


@app.command()
def tail(
    config: Configs,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest alert.")] = False,
    model: Annotated[str | None, typer.Option(help="Only alerts of this model.")] = None,
    monitor: Annotated[str | None, typer.Option(help="Only alerts of this monitor.")] = None,
    severity: Annotated[
        Literal["info", "warning", "critical"] | None, typer.Option(help="Only alerts of this severity.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Only alerts that are open.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The alerts as written, a line each.")] = False,
) -> None:
    """Follow the alerts of a service, a readable line each; until Ctrl-C."""
    from streamwatch.cli.tail import Wanted, tail

    raise typer.Exit(tail(config, from_start, Wanted(model, monitor, severity, open_), as_json))


app.add_typer(talk)
app.add_typer(show)


@app.command()
def schema(
    of: Annotated[Literal["alert", "event", "label", "command", "config"], typer.Argument(help="Of what.")],
    as_table: Annotated[
        bool, typer.Option("--table", help="Of config: every option, as a Markdown table.")
    ] = False,
) -> None:
    """Print a JSON Schema."""
    if as_table:
        from streamwatch.cli.reference import table

        if of != "config":
            raise typer.BadParameter("goes with `schema config`", param_hint="--table")
        typer.echo(table())
        return
    from streamwatch.cli.schema import schema

    typer.echo(schema(of))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")  # a summary may hold what the terminal cannot show
    try:
        app()
    except Exception:  # noqa: BLE001 - a bug; Python's own 1 would say that what was tested is bad
        traceback.print_exc()
        sys.exit(CRASHED)
