"""`streamwatch check`: everything that is wrong with a config, and with the broker if asked to look there."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from streamwatch import configfile
from streamwatch.cli import room
from streamwatch.config import Config
from streamwatch.errors import StartRefused

MEASURED_S = 600.0


def check(paths: Sequence[Path], connect: bool, print_acls: bool) -> int:
    """ConfigError with all problems; warnings go to stderr, what is well to stdout. With `print_acls` stdout holds
    nothing but commands, and they are there also if the broker refuses us: that is when they are needed."""
    loaded = configfile.read(paths, os.environ)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"the config of {loaded.config.service} is good: {_told(loaded.config)}", err=print_acls)
    for line in room.room(loaded.config):
        typer.echo(line, err=print_acls)
    if print_acls:
        _print_acls(loaded.config)
    if connect:
        typer.echo(_connected(loaded.config), err=print_acls)
        _measure(loaded.config, print_acls)
    return 0


def _measure(config: Config, print_acls: bool) -> None:
    """Whether there is room for the predictions that come just now."""
    if not room.late(config):
        return
    from streamwatch.transports.kafka.bystander import bystander, partitions

    topics = [t for entry in config.inputs if entry.kind == "predictions" for t in entry.topics]
    found = partitions(config.kafka, dict.fromkeys(topics, ("Read",)))
    with bystander(config.kafka) as reader:
        sources = [source for one in found.values() for source in one]
        rate = reader.count(sources, time.time() - MEASURED_S) / MEASURED_S
    for fits, line in room.measured(config, rate, MEASURED_S):
        typer.echo(line if fits else f"warning: {line}", err=print_acls or not fits)


def _told(config: Config) -> str:
    monitors, topics = len(config.monitors), ", ".join(config.input_topics)
    return f"{monitors} monitor{'' if monitors == 1 else 's'}, reads {topics}, writes {config.alerts_topic}"


def _print_acls(config: Config) -> None:
    from streamwatch.transports.kafka.clients import needed
    from streamwatch.transports.kafka.rights import grants

    for text in grants(config.kafka, needed(config)):
        typer.echo(text)


def _connected(config: Config) -> str:
    """StartRefused with all that would stop the service; what would not is a warning."""
    from streamwatch.transports.kafka.clients import needed
    from streamwatch.transports.kafka.start import check_start

    findings = check_start(config.kafka, needed(config)).findings
    for finding in findings:
        if not finding.stops:
            typer.echo(f"warning: {finding}", err=True)
    if stopping := [finding for finding in findings if finding.stops]:
        raise StartRefused("\n".join(map(str, stopping)))
    return f"the broker at {config.kafka.bootstrap_servers} has what it needs"
