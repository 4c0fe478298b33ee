"""`streamwatch tail`: the alert topic, readable. Reads what is committed, without a group, and leaves no trace."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamwatch import configfile, logs
from streamwatch.cli.lines import printable, short
from streamwatch.transports.kafka.follow import follow

_COLOURS = {"critical": "31;1", "warning": "33", "info": "36", "closed": "32"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts to show; None shows all."""

    model: str | None = None
    monitor: str | None = None
    severity: str | None = None
    open: bool = False

    def takes(self, alert: Mapping[str, Any]) -> bool:
        data = alert.get("data") or {}
        return (
            self.model in (None, data.get("model"))
            and self.monitor in (None, data.get("monitor"))
            and self.severity in (None, alert.get("severity"))
            and (not self.open or bool(alert.get("open")))
        )


def tail(paths: Sequence[Path], from_start: bool, wanted: Wanted, as_json: bool) -> int:
    config = configfile.load(paths, os.environ)
    logs.configure(config.service, "auto", "warning")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    try:
        for value in follow(config.kafka, config.alerts_topic, from_start):
            text = shown(value, wanted, as_json, colour)
            if text is not None:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    return 0


def shown(value: bytes | None, wanted: Wanted, as_json: bool, colour: bool) -> str | None:
    """The line of one record of the topic; None if it is not wanted. What is no alert is shown as such."""
    try:
        alert = msgspec.json.decode(value or b"")
        fits = wanted.takes(alert)
        text = msgspec.json.encode(alert).decode() if as_json else line(alert, colour)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError) as error:
        return f"not an alert ({error}): {(value or b'')[:120]!r}"
    return text if fits else None


def line(alert: Mapping[str, Any], colour: bool = False) -> str:
    """One alert on one line: time, state, severity, summary, reason, incident, and whose it is."""
    data = alert["data"]
    state = alert["type"].rpartition(".")[2]
    severity = alert["severity"]
    marks = [data["reason"]]
    if data.get("incident"):
        marks.append(f"incident {short(data['incident'])}")
    if data.get("owner"):
        marks.append(f"owner {data['owner']}")
    if alert.get("silenced"):
        marks.append("silenced")
    if data.get("runbook"):
        marks.append(data["runbook"])
    head = f"{state:<9} {severity:<8}"
    if colour:
        head = f"\x1b[{_COLOURS[severity if alert['open'] else 'closed']}m{head}\x1b[0m"
    return f"{alert['time'][:19]}Z  {head}  {printable(data['summary'])}  [{', '.join(marks)}]"
