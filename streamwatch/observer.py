"""What the loop tells to those who watch it: the log, the metrics, health. They listen and never steer.

Everything is told after it is true: an alert when its transaction is committed, so that a batch that is
processed twice (a failed commit, a rebalance) is told once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamwatch.alerts import Alert
from streamwatch.engine import Engine, Restored
from streamwatch.errors import PlatformError
from streamwatch.events import DeadLetter, StreamKey
from streamwatch.execute import Obeyed
from streamwatch.plan import Unwatched
from streamwatch.segments import Slicing
from streamwatch.transports.base import Closed, Opened, Progress, Stalled


@dataclass(frozen=True, slots=True)
class Work:
    """What one commit made true: the sum of the engine's outputs since the commit before."""

    task: int
    records: int
    events: int
    ignored: int
    tombstones: int
    alerts: Sequence[Alert]
    dead_letters: Sequence[DeadLetter]
    unusable: Mapping[str, int]
    evicted: Sequence[StreamKey] = ()
    retired: Sequence[StreamKey] = ()
    unwatched: Sequence[Unwatched] = ()
    obeyed: Sequence[Obeyed] = ()
    labels: int = 0
    joined: Mapping[str, int] = field(default_factory=dict)
    pooled: Sequence[Slicing] = ()

    @property
    def counts(self) -> dict[str, int]:
        """What a sum over commits adds up."""
        return {
            "commits": 1,
            "records": self.records,
            "events": self.events,
            "labels": self.labels,
            "ignored": self.ignored,
            "tombstones": self.tombstones,
            "alerts": len(self.alerts),
            "dead_letters": len(self.dead_letters),
        }


class Observer(Protocol):
    """All calls come from the loop's thread and must return at once; an exception ends the loop."""

    def opened(self, opened: Opened) -> None:
        """The task is ours; its state has been read and is now being restored."""

    def restored(self, task: int, restored: Restored, seconds: float) -> None: ...

    def closed(self, closed: Closed) -> None: ...

    def stalled(self, stalled: Stalled) -> None: ...

    def committed(self, work: Work, seconds: float) -> None:
        """`work` is visible to everybody; the commit itself took `seconds`."""

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        """A poll (`task` None) or the commit of a task failed; the loop goes on after `retry_in_s`."""

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        """The end of every turn of the loop, also of one that failed (`healthy` False)."""


class Silent:
    """An observer that does nothing: those who care for a few things only inherit from it."""

    def opened(self, opened: Opened) -> None:
        pass

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        pass

    def closed(self, closed: Closed) -> None:
        pass

    def stalled(self, stalled: Stalled) -> None:
        pass

    def committed(self, work: Work, seconds: float) -> None:
        pass

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        pass

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        pass


class Observers:
    """Several observers as one, told in the order given."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def opened(self, opened: Opened) -> None:
        for observer in self._observers:
            observer.opened(opened)

    def restored(self, task: int, restored: Restored, seconds: float) -> None:
        for observer in self._observers:
            observer.restored(task, restored, seconds)

    def closed(self, closed: Closed) -> None:
        for observer in self._observers:
            observer.closed(closed)

    def stalled(self, stalled: Stalled) -> None:
        for observer in self._observers:
            observer.stalled(stalled)

    def committed(self, work: Work, seconds: float) -> None:
        for observer in self._observers:
            observer.committed(work, seconds)

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        for observer in self._observers:
            observer.failed(error, task, retry_in_s)

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        for observer in self._observers:
            observer.turned(progress, engines, healthy)
