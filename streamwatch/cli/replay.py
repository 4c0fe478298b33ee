"""`streamwatch replay`: recorded data through the same loop; alerts on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace as changed
from pathlib import Path

import typer

from streamwatch import configfile, logs
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.journal import Journal
from streamwatch.observer import Observer, Observers, Silent, Work
from streamwatch.offline.replay import event_time
from streamwatch.runner import Total, run
from streamwatch.transports.base import Progress
from streamwatch.transports.files import FilesTransport
from streamwatch.transports.order import kinds

READER_GONE = 141  # what a shell says of a command whose output nobody reads any more


def replay(
    path: Path, data: Sequence[Path], dead_letters: Path | None, form: logs.Format, level: logs.Level
) -> int:
    config = configfile.load([path], os.environ)
    logs.configure(config.service, form, level)
    began = time.monotonic()
    tally = Tally()
    with ExitStack() as opened:
        letters = opened.enter_context(dead_letters.open("wb")) if dead_letters else None
        transport = FilesTransport(
            data,
            alerts=sys.stdout.buffer,
            dead_letters=letters,
            topics=config.input_topics,
            kinds=kinds(config),
            time_ms=event_time(config) if len(data) > 1 else None,
            as_text=texts(config),
        )
        shown = opened.enter_context(_progress(transport))
        journal = Told()
        try:
            total = run(transport, config, stop=threading.Event(), observe=Observers(tally, journal, *shown))
        except BrokenPipeError:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # else Python's own flush fails too
            return READER_GONE
        journal.end(transport.progress())
    typer.echo(summary(total, tally.states, time.monotonic() - began), err=True)
    return 0


def texts(config: Config) -> set[str]:
    """Columns of a CSV whose cells are names and not numbers: version 1.10 is not 1.1."""
    places = [
        place for entry in config.inputs for place in (entry.read.id, entry.read.model, entry.read.version)
    ]
    return {place.path for place in places if place is not None and place.path is not None}


class Tally(Silent):
    """Counts the alerts by state."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()

    def committed(self, work: Work, seconds: float) -> None:
        self.states.update(alert.state for alert in work.alerts)


class Told(Journal):
    """The log without the alerts, which are on stdout already."""

    def committed(self, work: Work, seconds: float) -> None:
        super().committed(changed(work, alerts=()), seconds)


def summary(total: Total, states: Mapping[str, int], seconds: float) -> str:
    """One line: what was read, what came of it, and how fast.

    >>> summary(Total(records=1200, events=1190, dead_letters=10, alerts=3), {"firing": 2, "settled": 1}, 0.5)
    '1,200 records: 1,190 events, 10 dead letters; 3 alerts (2 firing, 1 settled); 0.5 s, 2,400 records/s'
    """
    parts = [f"{total.events:,} events"]
    for count, what in (
        (total.dead_letters, "dead letters"),
        (total.ignored, "ignored"),
        (total.tombstones, "tombstones"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    alerts = f"{total.alerts} alerts" + (f" ({by_state})" if by_state else "")
    rate = f"{seconds:.1f} s, {total.records / max(seconds, 1e-9):,.0f} records/s"
    return f"{total.records:,} records: {', '.join(parts)}; {alerts}; {rate}"


@contextmanager
def _progress(transport: FilesTransport) -> Iterator[tuple[Observer, ...]]:
    """A bar on stderr while it runs, if that is a terminal."""
    if not sys.stderr.isatty():
        yield ()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    class Shown(Silent):
        def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
            done, total = transport.bytes_read()
            bar.update(task, completed=done, total=total or None)

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=None)
        yield (Shown(),)
