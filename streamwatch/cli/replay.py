"""`streamwatch replay`: recorded data, or a part of the topics, through the same loop; alerts on stdout, all else on
stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

from streamwatch import configfile, logs
from streamwatch.cli import since
from streamwatch.cli.lines import draws
from streamwatch.cli.told import Alarms, Told, amount, reader_gone
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import BrokerUnreachable, PlatformError, UsageError
from streamwatch.observer import Observer, Observers, Silent, Work
from streamwatch.offline.replay import event_time
from streamwatch.runner import Total, run
from streamwatch.transports.base import Progress, Stalled, Transport
from streamwatch.transports.files import FilesTransport
from streamwatch.transports.order import kinds

Measure = Callable[[], tuple[int, int]]  # what is done, of how much


@dataclass(frozen=True, slots=True)
class Asked:
    """What to replay: files, or a part of the topics (`since`, `until`, `topics`). `plots`: None on a terminal only."""

    data: Sequence[Path] = ()
    since: str | None = None
    until: str | None = None
    topics: Sequence[str] = ()
    dead_letters: Path | None = None
    plots: bool | None = None


def replay(path: Path, asked: Asked, form: logs.Format, level: logs.Level) -> int:
    """UsageError if it is not one of files and topics. The config's broker is asked only for topics."""
    of_topics = asked.since is not None or asked.until is not None or bool(asked.topics)
    if of_topics and asked.data:
        raise UsageError(
            "expected either DATA files, or a part of the topics (--since, --until, --topic), got both"
        )
    if not of_topics and not asked.data:
        raise UsageError(
            "what to replay? Expected DATA files; or of the config's topics the last hours (--since 24h), or all that "
            "one holds (--topic NAME)"
        )
    config = configfile.load([path], os.environ)
    logs.configure(config.service, form, level)
    began = time.monotonic()
    alarms = Alarms()
    with ExitStack() as opened:
        letters = opened.enter_context(asked.dead_letters.open("wb")) if asked.dead_letters else None
        transport, read = _topics(config, asked, letters) if of_topics else _files(config, asked, letters)
        shown = opened.enter_context(_progress(read))
        journal = Told()
        unread = Unread(config)
        watchers = Observers(Strict(), alarms, journal, unread, *shown)
        plots = sys.stderr.isatty() if asked.plots is None else asked.plots
        try:
            total = run(transport, config, stop=threading.Event(), observe=watchers, sketch=plots)
        except BrokenPipeError:
            return reader_gone()
        journal.end(transport.progress())
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    for text in alarms.told(plots, colour, plain=not draws(sys.stderr)):
        typer.echo(text, err=True)
    for text in unread.told():
        typer.echo(text, err=True)
    typer.echo(summary(total, alarms.states, time.monotonic() - began), err=True)
    return 0


def _files(config: Config, asked: Asked, letters: BinaryIO | None) -> tuple[Transport, Measure]:
    transport = FilesTransport(
        asked.data,
        alerts=sys.stdout.buffer,
        dead_letters=letters,
        topics=config.input_topics,
        kinds=kinds(config),
        tasks=config.tasks,
        time_ms=event_time(config) if len(asked.data) > 1 else None,
        as_text=texts(config),
    )
    return transport, transport.bytes_read


def _topics(config: Config, asked: Asked, letters: BinaryIO | None) -> tuple[Transport, Measure]:
    from streamwatch.transports.kafka.readonly import ReadOnlyTransport

    transport = ReadOnlyTransport(
        config,
        since.span(asked.since, asked.until, time.time()),
        topics=since.topics(config, asked.topics),
        alerts=sys.stdout.buffer,
        dead_letters=letters,
    )
    return transport, transport.offsets_read


class Unread(Silent):
    """Monitors that have read no value: that they would not have alarmed says nothing."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._engines: Mapping[int, Engine] = {}
        self._joined: Counter[str] = Counter()
        self._labels = 0

    def committed(self, work: Work, seconds: float) -> None:
        self._joined.update(work.joined)
        self._labels += work.labels

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        self._engines = dict(engines) or self._engines

    def told(self) -> list[str]:
        read = {gauge.monitor for engine in self._engines.values() for gauge in engine.gauges() if gauge.n}
        blind = [monitor.name for monitor in self._config.monitors if monitor.name not in read]
        lines = []
        if blind:
            lines.append(f"no value was read by {', '.join(blind)}: that they did not alarm says nothing")
        if buckets := self._buckets():
            counts = ", ".join(f"{n:,} of {monitor}" for monitor, n in buckets.items())
            lines.append(
                f"in buckets of time that are still open wait {counts}: as live, later values close a bucket, "
                "and not the end of the data"
            )
        waiting = sum(one.predictions for engine in self._engines.values() for one in engine.waiting())
        if self._labels or waiting:
            lines.append(
                f"{amount(self._labels, 'label')}: {self._joined['labels']:,} found their prediction, "
                f"{self._joined['outcomes']:,} outcomes were read, {amount(waiting, 'prediction')} still wait"
            )
        return lines

    def _buckets(self) -> Mapping[str, int]:
        """Values that wait in them, by monitor."""
        waiting = Counter[str]()
        for engine in self._engines.values():
            for gauge in engine.gauges():
                waiting[gauge.monitor] += gauge.waiting
        return +waiting


class Strict(Silent):
    """What a service waits for ends a replay."""

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        raise error

    def stalled(self, stalled: Stalled) -> None:
        source = stalled.source
        raise BrokerUnreachable(
            f"{source.topic}/{source.partition}: {stalled.detail}. To do: see whether the broker that leads it is up, "
            "or whether another program holds a transaction open on it"
        )


def texts(config: Config) -> set[str]:
    """Columns of a CSV whose cells are names and not numbers: version 1.10 is not 1.1."""
    places = [
        place for entry in config.inputs for place in (entry.read.id, entry.read.model, entry.read.version)
    ]
    return {place.path for place in places if place is not None and place.path is not None}


def summary(total: Total, states: Mapping[str, int], seconds: float) -> str:
    """One line: what was read, what came of it, and how fast.

    >>> summary(Total(records=1200, events=1190, dead_letters=10, alerts=3), {"firing": 2, "settled": 1}, 0.5)
    '1,200 records: 1,190 events, 10 dead letters; 3 alerts (2 firing, 1 settled); 0.5 s, 2,400 records/s'
    """
    parts = [amount(total.events, "event")]
    if total.dead_letters:
        parts.append(amount(total.dead_letters, "dead letter"))
    if total.ignored:
        parts.append(f"{total.ignored:,} ignored")
    if total.tombstones:
        parts.append(amount(total.tombstones, "tombstone"))
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    alerts = amount(total.alerts, "alert") + (f" ({by_state})" if by_state else "")
    rate = f"{seconds:.1f} s, {total.records / max(seconds, 1e-9):,.0f} records/s"
    return f"{amount(total.records, 'record')}: {', '.join(parts)}; {alerts}; {rate}"


@contextmanager
def _progress(read: Measure) -> Iterator[tuple[Observer, ...]]:
    """A bar on stderr while it runs, if that is a terminal."""
    if not sys.stderr.isatty():
        yield ()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    class Shown(Silent):
        def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
            done, total = read()
            bar.update(task, completed=done, total=total or None)

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=None)
        yield (Shown(),)
