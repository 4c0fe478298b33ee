"""Values for tests of what watches the loop: an alert, a dead letter, a commit's work, a watcher's gauge."""

from __future__ import annotations

from typing import Any

from streamwatch.alerts import Alert, AlertData, Change, Labels, MadeBy, Promise
from streamwatch.engine import Gauge
from streamwatch.events import DeadLetter
from streamwatch.latemodel import Waiting
from streamwatch.observer import Work


def alert(
    state: str = "firing", severity: Any = "warning", open: bool = True, model: str = "fraud", **data: Any
) -> Alert:
    content: dict[str, Any] = {
        "key": "k1",
        "reason": "first",
        "incident": None,
        "model": model,
        "version": None,
        "versions_seen": ("3",),
        "segment": {"country": "DE"},
        "monitor": "error-rate",
        "signal": {"kind": "error"},
        "detector": {"name": "adwin"},
        "direction": "up",
        "change": Change(from_=0.1, from_n=512, to=0.3, to_n=64),
        "onset": None,
        "promise": Promise(),
        "labels": None,
        "evidence": (),
        "made_by": MadeBy(streamwatch="0", config="c"),
        "owner": "risk-ml",
        "runbook": None,
        "tags": {},
        "summary": "error-rate of fraud (country=DE) rose from 0.10 to 0.30",
    }
    return Alert(
        id="a1",
        source="/streamwatch/fraud-watch",
        type=f"streamwatch.alert.{state}",
        subject=model,
        time="2026-11-24T10:20:31Z",
        dataschema="https://example.org/alert",
        severity=severity,
        open=open,
        data=AlertData(**{**content, **data}),
    )


def letter(code: str = "not json", offset: int = 7) -> DeadLetter:
    return DeadLetter("predictions", 2, offset, 0, code, "", "expected JSON, got 'x'")


def work(**changed: Any) -> Work:
    content: dict[str, Any] = {
        "task": 0,
        "records": 10,
        "events": 10,
        "ignored": 0,
        "tombstones": 0,
        "alerts": (),
        "dead_letters": (),
        "unusable": {},
    }
    return Work(**{**content, **changed})


def gauge(**changed: Any) -> Gauge:
    content: dict[str, Any] = {
        "model": "fraud",
        "version": None,
        "segment": (),
        "monitor": "error-rate",
        "signal": "error",
        "level": 0.25,
        "n": 640,
        "statistic": None,
        "warm": True,
        "open": False,
        "blind": False,
    }
    return Gauge(**{**content, **changed})


def waiting(model: str = "fraud", predictions: int = 7, **labels: Any) -> Waiting:
    said = {"read": "matured", "coverage": 0.9, "median_delay_s": 60.0, **labels}
    return Waiting(model, predictions, 1_000, Labels(**said))


class Clock:
    """A clock that goes when the test says so."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
