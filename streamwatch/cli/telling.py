"""What `streamwatch demo` says: the model, the fault, the alert against the truth, and what to do next."""

from __future__ import annotations

import datetime as dt
import os
import sys
import textwrap
from collections.abc import Sequence

import typer

from streamwatch.alerts import Alert
from streamwatch.cli.lines import draws
from streamwatch.cli.told import plotted
from streamwatch.config import Config
from streamwatch.demo.feed import LEARNT, Airline, Feed
from streamwatch.demo.flights import SOURCE
from streamwatch.demo.stories import STORIES, Story
from streamwatch.engine import Engine

MARGIN, WIDTH = 14, 110
GAP = " " * MARGIN


def model(airline: Airline) -> None:
    first, last = LEARNT
    _say(
        "The model",
        "Will this flight, which has just left New York, arrive more than 15 minutes late? A logistic regression, "
        f"trained just now on {len(airline.learnt):,} flights from {first.day} {first:%B} to {last.day} {last:%B %Y}.",
        f"Data: {SOURCE}.",
    )


def fault(told: Story, feed: Feed) -> None:
    _say(
        "The fault",
        f"{told.what} {told.unseen}",
        f"It begins at {_at(feed.times_s[feed.began])}, after {feed.began:,} flights.",
    )


def service(watched: Config, where: str) -> None:
    _say(
        "The service",
        f"{len(watched.monitors)} monitors read the topic {watched.input_topics[0]} on {where}; alerts as they are "
        f"read back from the topic {watched.alerts_topic}:",
    )


def service_in_memory(watched: Config, missing: bool) -> None:
    why = " (there is no embedded broker here; pip install 'streamwatch[demo]' brings it on Linux and macOS)"
    _say(
        "The service",
        f"{len(watched.monitors)} monitors read the events in memory, without Kafka{why if missing else ''}; alerts as "
        "they would be written:",
    )


def outcome(
    told: Story,
    feed: Feed,
    watched: Config,
    alerts: Sequence[Alert],
    engines: Sequence[Engine],
    seconds: float,
) -> bool:
    """Whether the story's alert came, and no other."""
    expected = next(
        (alert for alert in alerts if alert.data.monitor == told.alarms and alert.data.reason == "first"),
        None,
    )
    others = [alert for alert in alerts if alert is not expected]
    if expected is not None:
        typer.echo()
        _truth(feed, watched, expected)
        typer.echo()
        for text in plotted(expected, engines, plain=not draws(sys.stdout)):
            typer.echo(GAP + text)
        typer.echo()
    else:
        _say(
            "Not found",
            f"{told.alarms} should have rung and did not, in {len(feed):,} flights. This is a fault of ours.",
        )
    if others:
        names = ", ".join(sorted({alert.data.monitor for alert in others}))
        _say("Too much", f"{len(others)} other alerts came ({names}). This is a fault of ours.")
    typer.echo(
        f"{GAP}{len(feed):,} flights, from the first event written to the last alert read: {seconds:.1f} s\n"
    )
    return expected is not None and not others


def _truth(feed: Feed, watched: Config, alert: Alert) -> None:
    onset, found_s = alert.data.onset, _seconds(alert.time)
    assert onset is not None
    flights = sum(time_s <= found_s for time_s in feed.times_s) - feed.began
    before, since = feed.errors
    quiet = len(watched.monitors) - 1
    rows = (
        ("The truth", f"the fault began at {_at(feed.times_s[feed.began])}"),
        ("The alert", f"says since {_at(_seconds(onset.time))}, give or take {_minutes(onset.uncertain_s)}"),
        ("", f"came {flights} flights after the first faulty one; the other {quiet} monitors kept quiet"),
        ("The model", f"was wrong in {before:.1%} of the flights before the fault, and in {since:.1%} since"),
    )
    for name, text in rows:
        typer.echo(f"{name:<{MARGIN}}{text}")


def next_steps(told: Story, kept: Config | None) -> None:
    """`kept`: the config of a service whose topics are still on its broker."""
    another = STORIES[(STORIES.index(told) + 1) % len(STORIES)]
    steps = [
        (f"streamwatch demo {another.name}", "another fault; --list names all"),
        (f"streamwatch demo {told.name} --config > watch.yaml", "the config that found it, to copy"),
        ("streamwatch init TOPIC > mine.yaml", "a first config for a topic (or file) of yours"),
        ("streamwatch check mine.yaml --connect", "is it right, and has the broker what it needs?"),
        ("streamwatch run mine.yaml", "the service"),
    ]
    if kept is not None:
        mine = f"streamwatch demo {told.name} --config --service {kept.service} > watch.yaml"
        steps[1:2] = [
            (mine, "the config that found it"),
            ("streamwatch tail watch.yaml --from-start", "its alerts (KAFKA=HOST:PORT in the environment)"),
        ]
    width = max(len(command) for command, _ in steps) + 2
    for number, (command, why) in enumerate(steps):
        typer.echo(f"{'' if number else 'What next':<{MARGIN}}{command:<{width}}# {why}")


def colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _say(name: str, *texts: str) -> None:
    for number, text in enumerate(texts):
        head = f"{'' if number else name:<{MARGIN}}"
        typer.echo(
            textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=GAP, break_on_hyphens=False)
        )
    typer.echo()


def _at(time_s: float) -> str:
    return dt.datetime.fromtimestamp(time_s, dt.UTC).strftime("%Y-%m-%d %H:%M")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"


def _seconds(rfc3339: str) -> float:
    return dt.datetime.fromisoformat(rfc3339).timestamp()
