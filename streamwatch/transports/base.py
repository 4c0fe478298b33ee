"""The seam between the loop and the world: where records come from and where output goes.

A transport hands out tasks and their records in the order of the task (`transports.order`), and takes what the
engine made of them. `commit` is both-or-neither: alerts, dead letters, state and input offsets become visible
together, or not at all. Recovery is starting again: after any error a task is opened anew from its last commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamwatch.records import Batch, Commit, Source


@dataclass(frozen=True, slots=True)
class Opened:
    """The task is ours, from its last commit: its state by key, and the mark's engine part (b"" = first start).

    `lost` holds the input partitions whose next record is gone (retention), with the number of offsets lost.
    `said_to`: the commit's. The records before it come first, in the order in which they came when it was written.
    """

    task: int
    state: Mapping[str, bytes]
    mark: bytes = b""
    offsets: Mapping[Source, int] = field(default_factory=dict)
    lost: Mapping[Source, int] = field(default_factory=dict)
    said_to: Mapping[Source, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """The task is not ours any more, or must be restored: drop its state. `reason` is for the log."""

    task: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """A partition gives nothing although it is not at its end (`stalled`), or gives again (not `stalled`)."""

    task: int
    source: Source
    stalled: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lagging:
    """The task is behind by more than the config's `sight.lag` (`lagging`), or is not any more."""

    task: int
    lagging: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Idle:
    """All records that had come by a moment (`at_s`, seconds since the epoch) have been handed out: what has not been
    heard of by then is silent. Only a transport that is read as it is written can say so."""

    task: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Listed:
    """All models that the tasks hold state of, each with what is wrong about where it lies ("": nothing). Task `task`
    tells it."""

    task: int
    models: Mapping[str, str]


Happening = Opened | Closed | Stalled | Lagging | Idle | Listed | Batch


@dataclass(frozen=True, slots=True)
class Progress:
    """How a transport is doing, for the log, the metrics and readiness.

    lag         per input partition: records not yet processed, as far as known
    overtaken   records that arrived with a merge key below one already processed, since the start
    fetched_at  time (of `time.monotonic`) of the last fetch that succeeded; None before the first
    ready       joined, restored and reading (or a healthy standby)
    """

    lag: Mapping[Source, int] = field(default_factory=dict)
    overtaken: int = 0
    fetched_at: float | None = None
    ready: bool = True
    detail: str = ""


class Transport(Protocol):
    def poll(self, timeout_s: float) -> Sequence[Happening]:
        """What has happened, in order; empty after at most about `timeout_s` without anything.

        Records of a task come only between its Opened and its Closed. PlatformError when the world is broken;
        OperatorError when it refuses us.
        """

    def commit(self, commit: Commit) -> None:
        """All of it, or nothing. TaskLost, TransactionTimeout or BrokerUnreachable: the outcome is "nothing" or
        unknown; the task's state must be dropped, and the next polls give Closed and later Opened again."""

    def progress(self) -> Progress: ...

    @property
    def finished(self) -> bool:
        """True when no record will ever come again (files, memory); a service's transport never finishes."""

    def close(self) -> None:
        """Leave cleanly: nothing of an unfinished commit stays behind. Safe to call twice."""
