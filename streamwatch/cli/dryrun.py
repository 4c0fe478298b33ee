"""`streamwatch run --dry-run`: the service's loop as a bystander: alerts on the screen, nothing written anywhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import typer

from streamwatch import configfile, logs
from streamwatch.alerts import rfc3339
from streamwatch.cli import since as asked
from streamwatch.cli.ending import UNCOMMITTED, Ending
from streamwatch.cli.plot import about
from streamwatch.cli.tail import line
from streamwatch.cli.told import Told, amount, reader_gone
from streamwatch.engine import Engine, Gauge
from streamwatch.observer import Observers, Silent, Work
from streamwatch.runner import Total, run
from streamwatch.transports.base import Opened, Progress
from streamwatch.transports.kafka.readonly import ReadOnlyTransport
from streamwatch.transports.kafka.span import Span

STATUS_EVERY_S = 10.0
NAMED = 5


def dry_run(paths: Sequence[Path], since: str | None, form: logs.Format, level: logs.Level) -> int:
    """Until SIGINT or SIGTERM. 0 if the broker was reached at all."""
    config = configfile.load(paths, os.environ)
    begin = Span("latest" if since is None else asked.ago(since, "--since", time.time()), None)
    logs.configure(config.service, form, level)
    ending = Ending(lambda: None)
    ending.listen()
    screen = Screen(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    journal = Told()
    transport = ReadOnlyTransport(config, begin)
    tell(
        f"dry run of {config.service}: reads {', '.join(config.input_topics)} at {config.kafka.bootstrap_servers} from "
        f"{'now' if begin.since == 'latest' else rfc3339(int(begin.since))} on, with fresh monitors; writes nothing; "
        "Ctrl-C ends it"
    )
    began = time.monotonic()
    try:
        total = run(transport, config, stop=ending.stop, observe=Observers(journal, screen))
    except BrokenPipeError:
        return reader_gone()
    finally:
        journal.end(transport.progress())
        ending.over()
    if not screen.reached:
        tell("the broker was never reached: the log above says why")
        return UNCOMMITTED
    tell(summary(total, time.monotonic() - began))
    return 0


def tell(text: str) -> None:
    typer.echo(text, err=True)


def summary(total: Total, seconds: float) -> str:
    """
    >>> summary(Total(events=12345, alerts=1), 180.0)
    'in 3m: 12,345 events, 1 alert would have been written'
    """
    counts = [amount(total.events, "event")]
    if total.dead_letters:
        counts.append(amount(total.dead_letters, "dead letter"))
    counts.append(f"{amount(total.alerts, 'alert')} would have been written")
    return f"in {about(seconds)}: {', '.join(counts)}"


class Screen(Silent):
    """Alerts as `tail` shows them, to stdout; now and then how it goes, to stderr."""

    def __init__(
        self, colour: bool, every_s: float = STATUS_EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.reached = False
        self._colour = colour
        self._every_s = every_s
        self._clock = clock
        self._told_at = clock()
        self._events = 0

    def opened(self, opened: Opened) -> None:
        self.reached = True

    def committed(self, work: Work, seconds: float) -> None:
        self._events += work.events
        for alert in work.alerts:
            sys.stdout.write(line(msgspec.to_builtins(alert), self._colour) + "\n")
        if work.alerts:
            sys.stdout.flush()

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        now = self._clock()
        if now - self._told_at < self._every_s:
            return
        self._told_at = now
        tell(self._status(progress, engines))

    def _status(self, progress: Progress, engines: Mapping[int, Engine]) -> str:
        clock = time.strftime("%H:%M:%SZ", time.gmtime())
        if not progress.ready:
            return f"{clock}  {progress.detail}"
        counts = f"{amount(self._events, 'event')}, {sum(progress.lag.values()):,} waiting"
        return f"{clock}  {counts}; {warmth([g for engine in engines.values() for g in engine.gauges()])}"


def warmth(gauges: Sequence[Gauge]) -> str:
    """Which monitors can alarm by now. One is warm when it is so on any stream key; the others are named with the
    values that the most advanced of them has read.

    >>> gauge = Gauge("fraud", None, (), "score", "score", 0.3, 12, None, False, False, False)
    >>> warmth([gauge, gauge._replace(monitor="errors", warm=True)])
    'warm: 1 of 2 monitors, not yet score (12 values)'
    """
    read: dict[str, int] = {}
    warm: set[str] = set()
    for gauge in gauges:
        read[gauge.monitor] = max(read.get(gauge.monitor, 0), gauge.n)
        if gauge.warm:
            warm.add(gauge.monitor)
    cold = [f"{name} ({amount(n, 'value')})" for name, n in read.items() if name not in warm]
    text = f"warm: {len(warm)} of {amount(len(read), 'monitor')}"
    more = f" and {len(cold) - NAMED} more" if len(cold) > NAMED else ""
    return f"{text}, not yet {', '.join(cold[:NAMED])}{more}" if cold else text
