"""The words and options of the demo; joined to the others in `app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

show = typer.Typer(rich_markup_mode=None)


@show.command()
def demo(
    story: Annotated[str, typer.Argument(help="Which fault; --list names them.")] = "unit-change",
    list_: Annotated[bool, typer.Option("--list", help="Name the stories.")] = False,
    config: Annotated[bool, typer.Option("--config", help="Print the story's config, to copy.")] = False,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Run it on this broker; topics and group of its own, deleted at the end.",
        ),
    ] = None,
    kafka: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG",
            exists=True,
            dir_okay=False,
            help="As --bootstrap-servers: any config file; its `kafka` block has address, TLS and password.",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave topics and group on the broker.")] = False,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="The service's name; topics are named after it.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Without Kafka, also where there is a broker.")
    ] = False,
    only_events: Annotated[
        bool,
        typer.Option(
            "--only-events",
            help="Only write the events, round after round until it is ended; the service is yours to run.",
        ),
    ] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second of --only-events.")] = 100.0,
) -> None:
    """See it at work: a model on real data, a fault upstream, and its alert. Ends by itself within a minute."""
    from streamwatch.cli import demo as commands

    modes = {"--list": list_, "--config": config, "--only-events": only_events, "--memory": memory}
    if sum(modes.values()) > 1:
        chosen = [name for name, given in modes.items() if given]
        raise typer.BadParameter("one of them at a time", param_hint=" and ".join(chosen))
    on_broker = bootstrap_servers is not None or kafka is not None
    if keep and (not on_broker or any(modes.values())):
        raise typer.BadParameter("goes with a run on --bootstrap-servers", param_hint="--keep")
    if memory and on_broker:
        raise typer.BadParameter("needs no broker", param_hint="--memory")
    if list_:
        code = commands.listed()
    elif config:
        code = commands.config(story, service)
    elif only_events:
        code = commands.only_events(story, commands.given(bootstrap_servers, kafka), service, rate)
    else:
        broker = commands.given(bootstrap_servers, kafka) if on_broker else None
        code = commands.demo(story, broker, service, memory, keep)
    raise typer.Exit(code)
