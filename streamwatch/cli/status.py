"""`streamwatch status`: what is open, silenced, blind; who said what; what waits for labels; how far the service is.
From the state topic, read as a bystander: no group, no transaction.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from streamwatch import configfile, logs
from streamwatch.alerts import SilencedBy, rfc3339
from streamwatch.config import Config
from streamwatch.control import Control
from streamwatch.engine import Engine, OpenAlert
from streamwatch.latemodel import Waiting
from streamwatch.transports.kafka.snapshot import Snapshot, snapshot
from streamwatch.windows import NEVER, InForce, covered_until

SOON_S = 7 * 86_400.0


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An open alert. `since`: the onset of the change as its first alert estimated it, for what is blind the time of
    its first alert; `said`: the time of the last alert."""

    state: str
    reason: str
    severity: str
    monitor: str
    signal: str
    model: str
    version: str | None
    segment: dict[str, str]
    summary: str
    since: str
    said: str
    incident: str | None
    key: str
    silenced: bool
    silenced_by: SilencedBy | None
    owner: str | None
    runbook: str | None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A silence, a pause or a window of the config that is in force, or begins within 7 days, by stream time.
    `until` None: no end in sight."""

    name: str
    do: Literal["mute", "skip"]
    match: tuple[str, ...]
    in_force: bool
    since: str
    until: str | None
    author: str | None
    reason: str | None


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents of one monitor, and what people said of them."""

    monitor: str
    fired: int
    true: int
    false: int
    without: int


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose labels come late: predictions that wait for theirs, how many may, and how the last ones came.
    None: not known yet."""

    model: str
    waiting: int
    most: int
    read: Literal["matured", "arrival"]
    coverage: float | None
    median_delay_s: float | None


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A partition. `position` None: not known to the service yet. `lag`: records to be processed."""

    topic: str
    partition: int
    position: int | None
    end: int
    lag: int | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`running`: processes in the group, None if that is not ours to know. `committed` None: nothing ever was.
    `dropped`: monitors with state that this config does not have, or has with another meaning; `not_waiting`: models
    whose predictions wait, and would not with this config; `pooled`: slicings whose later segments are `other`."""

    schema: int = 1
    service: str
    at: str
    running: int | None = None
    committed: str | None = None
    stream_time: str | None = None
    watched_s: float = 0.0
    stream_keys: int = 0
    state_bytes: int = 0
    dropped: tuple[str, ...] = ()
    not_waiting: tuple[str, ...] = ()
    open: tuple[Open, ...] = ()
    windows: tuple[Window, ...] = ()
    verdicts: tuple[Verdicts, ...] = ()
    late: tuple[Late, ...] = ()
    early_labels: int = 0
    pooled: tuple[str, ...] = ()
    read: tuple[Read, ...] = ()


def status(paths: Sequence[Path], as_json: bool, fail_if_open: bool) -> int:
    """1 if something is open that nobody silenced, and that is to be a failure."""
    config = configfile.load(paths, os.environ)
    logs.configure(config.service, "auto", "warning")
    found = told(config, snapshot(config), time.time())
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        from streamwatch.cli.statustable import show

        show(found, config, sys.stdout)
    return int(fail_if_open and any(not alert.silenced for alert in found.open))


def told(config: Config, seen: Snapshot | None, now_s: float) -> Status:
    """StateError if the state cannot be used."""
    if seen is None:
        return Status(service=config.service, at=rfc3339(now_s))
    engines = [Engine.restore(config, task, held.state, held.mark) for task, held in seen.tasks.items()]
    stream_s = max((e.stream_time_s for e in engines if e.stream_time_s is not None), default=None)
    # Each task obeys at its own place: what is in force in one of them is in force.
    in_force = {window.name: window for engine in engines for window in engine.control.windows}
    return Status(
        service=config.service,
        at=rfc3339(now_s),
        running=seen.members,
        committed=rfc3339(max(held.committed_s for held in seen.tasks.values())),
        stream_time=None if stream_s is None else rfc3339(stream_s),
        watched_s=max(map(_watched_s, engines)),
        stream_keys=sum(engine.stream_keys for engine in engines),
        state_bytes=sum(sum(map(len, held.state.values())) + len(held.mark) for held in seen.tasks.values()),
        dropped=tuple(sorted({name for engine in engines for name in engine.restored.dropped})),
        not_waiting=tuple(sorted({model for engine in engines for model in engine.restored.not_waiting})),
        open=tuple(_open(one) for engine in engines for one in engine.open()),
        windows=tuple(_windows(tuple(in_force.values()), now_s if stream_s is None else stream_s)),
        verdicts=tuple(_verdicts(config, [engine.control for engine in engines])),
        late=tuple(_late(one) for engine in engines for one in engine.waiting()),
        early_labels=sum(engine.early_labels for engine in engines),
        pooled=tuple(sorted({str(slicing) for engine in engines for slicing in engine.pooled})),
        read=tuple(
            Read(
                topic=one.source.topic,
                partition=one.source.partition,
                position=one.position,
                end=one.end,
                lag=one.lag,
            )
            for one in seen.read
        ),
    )


def _open(one: OpenAlert) -> Open:
    alert, data = one.alert, one.alert.data
    return Open(
        state=alert.state,
        reason=data.reason,
        severity=alert.severity,
        monitor=data.monitor,
        signal=str(data.signal.get("text", "")),
        model=data.model,
        version=data.version,
        segment=data.segment,
        summary=data.summary,
        since=rfc3339(one.since_s),
        said=alert.time,
        incident=data.incident,
        key=data.key,
        silenced=alert.silenced,
        silenced_by=data.silenced_by,
        owner=data.owner,
        runbook=data.runbook,
    )


def _late(one: Waiting) -> Late:
    return Late(
        model=one.model,
        waiting=one.predictions,
        most=one.most,
        read="arrival" if one.labels.read == "arrival" else "matured",
        coverage=one.labels.coverage,
        median_delay_s=one.labels.median_delay_s,
    )


def _windows(windows: Sequence[InForce], now_s: float) -> Iterator[Window]:
    """Those in force first, then by their beginning."""
    found = []
    for window in windows:
        interval = window.interval(now_s) or window.times.next_from(now_s)
        if interval is None or interval[0] > now_s + SOON_S:
            continue
        from_s, to_s = interval
        if from_s <= now_s:
            to_s = covered_until([window], now_s)
        found.append(
            Window(
                name=window.name,
                do=window.do,
                match=tuple(map(str, window.matchers)),
                in_force=from_s <= now_s,
                since=rfc3339(from_s),
                until=None if to_s == NEVER else rfc3339(to_s),
                author=window.author,
                reason=window.reason,
            )
        )
    yield from sorted(found, key=lambda one: (not one.in_force, one.since, one.name))


def _watched_s(engine: Engine) -> float:
    stream_s, since_s = engine.stream_time_s, engine.control.since_s
    return 0.0 if stream_s is None or since_s is None else stream_s - since_s


def _verdicts(config: Config, controls: Sequence[Control]) -> Iterator[Verdicts]:
    """Incidents fire in one task each; every task hears each verdict."""
    judged = {incident: one for control in controls for incident, one in control.verdicts.items()}
    said = Counter((one.monitor, one.verdict) for one in judged.values())
    fired_by = sum((control.fired for control in controls), Counter[str]())
    names = [monitor.name for monitor in config.monitors]
    others = {*fired_by, *(one.monitor for one in judged.values())} - set(names)
    for name in (*names, *sorted(others)):
        fired, true, false = fired_by.get(name, 0), said[name, True], said[name, False]
        yield Verdicts(
            monitor=name, fired=fired, true=true, false=false, without=max(0, fired - true - false)
        )
