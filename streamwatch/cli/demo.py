"""`streamwatch demo`: which story, on which broker, and how it ends. What is said of it is in `telling`."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec
import typer

from streamwatch import logs
from streamwatch.alerts import Alert
from streamwatch.cli import telling
from streamwatch.cli.connection import connection
from streamwatch.cli.tail import line
from streamwatch.config import Config
from streamwatch.demo.embedded import Embedded, binary
from streamwatch.demo.feed import Airline, Feed
from streamwatch.demo.stage import config_of, config_text, in_memory, on_kafka
from streamwatch.demo.stories import STORIES, Story, story
from streamwatch.demo.topics import made_if_missing, write_for_ever
from streamwatch.engine import Engine
from streamwatch.transports.kafka.settings import KafkaSettings

FAILED = 1


def listed() -> int:
    typer.echo("Faults that no check of a schema sees. `streamwatch demo STORY` tells one:\n")
    for one in STORIES:
        typer.echo(f"  {one.name:<18}{one.title}")
    return 0


def config(name: str, service: str | None) -> int:
    typer.echo(config_text(service or _named(story(name))), nl=False)
    return 0


def only_events(name: str, kafka: KafkaSettings, service: str | None, per_s: float) -> int:
    """Until Ctrl-C or SIGTERM, which is a good end."""
    told = story(name)
    (topic,) = config_of(service or _named(told)).input_topics
    _quiet()
    try:
        with ended_by_sigterm():
            feed = Airline().feed(told)
            made_if_missing(kafka, topic)
            typer.echo(
                f"{per_s:g} events a second to {topic} at {kafka.bootstrap_servers}, until it is ended"
            )
            write_for_ever(kafka, topic, feed, per_s, lambda number: _round(feed, per_s, number))
    except KeyboardInterrupt:
        typer.echo("ended")
    return 0


def _round(feed: Feed, per_s: float, number: int) -> None:
    good, bad = feed.began, len(feed) - feed.began
    typer.echo(f"round {number}: {good:,} events ({good / per_s:.0f} s), then {bad:,} with the fault")


def given(servers: str | None, path: Path | None) -> KafkaSettings:
    """ConfigError if it is no address, or the file has no good `kafka` block."""
    return connection(servers, path, os.environ).settings


def demo(name: str, kafka: KafkaSettings | None, service: str | None, memory: bool, keep: bool) -> int:
    """0 if the story's alert came, and no other. Without `kafka` on the embedded broker."""
    told = story(name)
    _quiet()
    with ended_by_sigterm():
        airline = Airline()
        telling.model(airline)
        feed = airline.feed(told)
        telling.fault(told, feed)
        alerts: list[Alert] = []

        def tell(value: bytes) -> None:
            alerts.append(msgspec.json.decode(value, type=Alert))
            typer.echo(telling.GAP + line(msgspec.json.decode(value), telling.colour()))

        began = time.monotonic()
        watched, engines = _play(told, feed, tell, kafka, service, memory, keep)
        found = telling.outcome(told, feed, watched, alerts, engines, time.monotonic() - began)
    telling.next_steps(told, watched if keep else None)
    return 0 if found else FAILED


def _play(
    told: Story,
    feed: Feed,
    tell: Callable[[bytes], None],
    kafka: KafkaSettings | None,
    service: str | None,
    memory: bool,
    keep: bool,
) -> tuple[Config, Sequence[Engine]]:
    """The config that it ran with, and its engines at the end."""
    if kafka is not None:
        # Of its own in every run: on a broker that stays, a service goes on where its last run ended.
        watched = config_of(service or f"{_named(told)}-{secrets.token_hex(3)}", kafka)
        telling.service(watched, f"Kafka at {kafka.bootstrap_servers}")
        return watched, on_kafka(watched, feed, tell, keep)
    program = None if memory else binary()
    if program is not None:
        with Embedded(program) as broker:
            watched = config_of(service or _named(told), broker.settings)
            telling.service(
                watched, f"an embedded Kafka broker (127.0.0.1:{broker.port}, ends with the demo)"
            )
            return watched, on_kafka(watched, feed, tell, keep=True)
    watched = config_of(service or _named(told))
    telling.service_in_memory(watched, missing=not memory)
    return watched, in_memory(watched, feed, tell)


def _named(told: Story) -> str:
    return f"demo-{told.name}"


def _quiet() -> None:
    """What the service fails of is raised; the rest of its log is not the story's."""
    logs.configure(None, "auto", "error", sys.stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, so that what was started is ended too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
