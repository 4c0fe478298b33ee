"""What a run that writes to no topic tells of its alerts: the alarms, one line each, and a plot of each change."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace as changed

import msgspec

from streamwatch.alerts import Alert
from streamwatch.cli.plot import Marks, plot
from streamwatch.cli.tail import line
from streamwatch.engine import Engine
from streamwatch.events import StreamKey
from streamwatch.journal import Journal
from streamwatch.labels import read_later_s
from streamwatch.observer import Silent, Work
from streamwatch.transports.base import Progress
from streamwatch.windows import moment_s

READER_GONE = 141  # what a shell says of a command whose output nobody reads any more
LISTED = 20
PLOTTED = 6

_TIMES = {1: "once", 2: "twice"}


class Alarms(Silent):
    """Counts the alerts by state, and keeps the first that open something."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.opening: Counter[str] = Counter()
        self._first: list[Alert] = []
        self._engines: Mapping[int, Engine] = {}

    def committed(self, work: Work, seconds: float) -> None:
        for alert in work.alerts:
            self.states[alert.state] += 1
            if alert.open and alert.data.incident == alert.id:
                self.opening[alert.state] += 1
                if len(self._first) < LISTED:
                    self._first.append(alert)

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        self._engines = engines

    def told(self, plots: bool, colour: bool = False, plain: bool = False) -> Iterator[str]:
        """Lines. With `plots`, of a run that sketched, each alarm is followed by its plot; `plain`: in ASCII."""
        yield _would(self.opening)
        drawings = 0
        for alert in self._first:
            yield line(msgspec.to_builtins(alert), colour)
            if plots and drawings < PLOTTED and (drawn := plotted(alert, self._engines.values(), plain)):
                drawings += 1
                yield from ("", *drawn, "")
        if (more := self.opening.total() - len(self._first)) > 0:
            yield f"... and {more:,} more: stdout has them all"


def plotted(alert: Alert, engines: Iterable[Engine], plain: bool) -> list[str]:
    """The plot of the change that an alert tells, by engines that sketched; none of what had no change."""
    data = alert.data
    if data.change is None or data.onset is None:
        return []
    # An alert says null of all versions together, and of events without a version, too.
    for version in (data.version, "") if data.version is None else (data.version,):
        key = StreamKey(data.model, version, tuple(data.segment.items()))
        where = (key, data.monitor, str(data.signal["text"]))
        for engine in engines:
            if (sketch := engine.sketches().get(where)) is not None:
                marks = Marks(
                    moment_s(data.onset.time),
                    data.onset.uncertain_s,
                    moment_s(alert.time),
                    (data.change.from_, data.change.from_n),
                    (data.change.to, data.change.to_n),
                    read_later_s(engine.config.spec(data.model).labels, data.labels),
                )
                return plot(sketch.buckets(), marks, plain=plain)
    return []  # its stream has gone: retired, or evicted


class Told(Journal):
    """The log without the alerts, which are on stdout already."""

    def committed(self, work: Work, seconds: float) -> None:
        super().committed(changed(work, alerts=()), seconds)


def reader_gone() -> int:
    """The exit code when nobody reads stdout any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's own flush fails too
    return READER_GONE


def amount(count: int, what: str) -> str:
    """
    >>> amount(1, "alert"), amount(1200, "alert")
    ('1 alert', '1,200 alerts')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _would(opening: Mapping[str, int]) -> str:
    """
    >>> _would({"firing": 2, "blind": 1}), _would({"blind": 1}), _would({})
    ('would have alarmed twice, and been blind once:', 'would have been blind once:', 'would not have alarmed')
    """
    parts = []
    if firing := opening.get("firing", 0):
        parts.append(f"alarmed {_times(firing)}")
    if blind := opening.get("blind", 0):
        parts.append(f"been blind {_times(blind)}")
    return f"would have {', and '.join(parts)}:" if parts else "would not have alarmed"


def _times(count: int) -> str:
    return _TIMES.get(count, f"{count:,} times")
