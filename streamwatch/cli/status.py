"""`streamwatch status`: what is open, silenced, blind; who said what; how far the service is. From the state topic,
read as a bystander: no group, no transaction.
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
from streamwatch.engine import Engine, OpenAlert
from streamwatch.transports.kafka.snapshot import Snapshot, snapshot
from streamwatch.windows import NEVER, InForce, covered_until

SOON_S = 7 * 86_400.0


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An open alert. `since` and `said`: of the first alert of it, and of the last; by stream time."""

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


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A partition. `position` None: not known to the service yet. `lag`: records to be processed."""

    topic: str
    partition: int
    position: int | None
    end: int
    lag: int | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`running`: processes in the group, None if that is not ours to know. `committed` None: nothing ever was.
    `dropped`: monitors with state that this config does not have, or has with another meaning."""

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
    open: tuple[Open, ...] = ()
    windows: tuple[Window, ...] = ()
    verdicts: tuple[Verdicts, ...] = ()
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
    engine = Engine.restore(config, 0, seen.state, seen.mark)
    stream_s, control = engine.stream_time_s, engine.control
    watched_s = 0.0 if stream_s is None or control.since_s is None else stream_s - control.since_s
    return Status(
        service=config.service,
        at=rfc3339(now_s),
        running=seen.members,
        committed=rfc3339(seen.committed_s),
        stream_time=None if stream_s is None else rfc3339(stream_s),
        watched_s=watched_s,
        stream_keys=engine.stream_keys,
        state_bytes=sum(map(len, seen.state.values())) + len(seen.mark),
        dropped=engine.restored.dropped,
        open=tuple(_open(one) for one in engine.open()),
        windows=tuple(_windows(control.windows, now_s if stream_s is None else stream_s)),
        verdicts=tuple(_verdicts(engine)),
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


def _verdicts(engine: Engine) -> Iterator[Verdicts]:
    control = engine.control
    said = Counter((judged.monitor, judged.verdict) for judged in control.verdicts.values())
    names = [monitor.name for monitor in engine.config.monitors]
    others = {*control.fired, *(judged.monitor for judged in control.verdicts.values())} - set(names)
    for name in (*names, *sorted(others)):
        fired, true, false = control.fired.get(name, 0), said[name, True], said[name, False]
        yield Verdicts(
            monitor=name, fired=fired, true=true, false=false, without=max(0, fired - true - false)
        )
