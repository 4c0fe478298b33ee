"""The words and options by which people speak to a running service; joined to the others in `app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

talk = typer.Typer(rich_markup_mode=None)

Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Config files of one service.")]
Match = Annotated[
    list[str] | None,
    typer.Option(help="Of what, like monitor=error-rate, model!=fraud, segment.country=DE; all of them fit."),
]
OfMonitor = Annotated[str | None, typer.Option(help="Short for --match monitor=...")]
OfModel = Annotated[str | None, typer.Option(help="Short for --match model=...")]
For = Annotated[str | None, typer.Option("--for", help="For how long, like 2h or 90m.")]
From = Annotated[
    str | None, typer.Option("--from", help="From when, like 2026-11-27T08:00:00Z; default: now.")
]
To = Annotated[str | None, typer.Option("--to", help="Until when, in place of --for.")]
Ended = Annotated[str | None, typer.Option("--end", metavar="ID", help="End this one before its time.")]
Reason = Annotated[str | None, typer.Option(help="Why; stands in what follows from it.")]
Author = Annotated[str | None, typer.Option(help="Who speaks; default: the login name.")]
Force = Annotated[bool, typer.Option("--force", help="Write it although it seems to be about nothing.")]


def _matchers(match: list[str] | None, monitor: str | None, model: str | None) -> list[str]:
    short = {"monitor": monitor, "model": model}
    return [*(match or ()), *(f"{name}={value}" for name, value in short.items() if value is not None)]


@talk.command()
def silence(
    config: Configs,
    match: Match = None,
    monitor: OfMonitor = None,
    model: OfModel = None,
    for_: For = None,
    from_: From = None,
    to: To = None,
    end: Ended = None,
    reason: Reason = None,
    author: Author = None,
    force: Force = False,
) -> None:
    """Mark alerts as silenced for a time; or --end that. They are written all the same."""
    _hold("silence", config, _matchers(match, monitor, model), for_, from_, to, end, reason, author, force)


@talk.command()
def pause(
    config: Configs,
    match: Match = None,
    monitor: OfMonitor = None,
    model: OfModel = None,
    for_: For = None,
    from_: From = None,
    to: To = None,
    end: Ended = None,
    reason: Reason = None,
    author: Author = None,
    force: Force = False,
) -> None:
    """Let detectors read nothing for a time; or --end that."""
    _hold("pause", config, _matchers(match, monitor, model), for_, from_, to, end, reason, author, force)


def _hold(
    kind: Literal["silence", "pause"],
    config: list[Path],
    match: list[str],
    for_: str | None,
    from_: str | None,
    to: str | None,
    end: str | None,
    reason: str | None,
    author: str | None,
    force: bool,
) -> None:
    from streamwatch.cli import speak

    if end is None:
        raise typer.Exit(speak.hold(kind, config, match, speak.When(for_, from_, to), reason, author, force))
    if match or for_ or from_ or to:
        raise typer.BadParameter(
            "stands alone: without --match, --monitor, --model, --for, --from, --to", param_hint="--end"
        )
    raise typer.Exit(speak.end(config, end, reason, author, force))


@talk.command()
def accept(
    config: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG... [ALERT]",
            help="Config files of one service; last, without --match and the like, the beginning of an alert's id, "
            "incident or key.",
        ),
    ],
    match: Match = None,
    monitor: OfMonitor = None,
    model: OfModel = None,
    reason: Reason = None,
    author: Author = None,
    force: Force = False,
) -> None:
    """This level is the new normal: end what is open, and begin anew."""
    from streamwatch.cli.speak import accept

    texts = _matchers(match, monitor, model)
    *paths, alert = config
    if texts:
        raise typer.Exit(accept([*map(Path, config)], texts, None, reason, author, force))
    if not paths:
        raise typer.BadParameter("expected an ALERT after the config, or --match, --monitor, --model")
    raise typer.Exit(accept([*map(Path, paths)], (), alert, reason, author, force))


@talk.command()
def verdict(
    config: Configs,
    incident: Annotated[
        str, typer.Argument(metavar="INCIDENT", help="The beginning of its id, or of one of its alerts'.")
    ],
    verdict: Annotated[
        Literal["true", "false"], typer.Argument(help="true: something had changed; false: a false alarm.")
    ],
    reason: Reason = None,
    author: Author = None,
) -> None:
    """Say what an incident was: true, or a false alarm."""
    from streamwatch.cli.speak import verdict as say

    raise typer.Exit(say(config, incident, verdict, reason, author))


@talk.command()
def status(
    config: Configs,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    fail_if_open: Annotated[
        bool, typer.Option("--fail-if-open", help="Exit code 1 if something is open that nobody silenced.")
    ] = False,
) -> None:
    """Show what is open, silenced or blind, and how far the service is. Only reads."""
    from streamwatch.cli.status import status

    raise typer.Exit(status(config, as_json, fail_if_open))
