"""What `status` says of a state, without a broker: what is open, in force, judged, and how it is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from streamwatch.alerts import rfc3339
from streamwatch.cli.status import Late, Open, Status, Verdicts, told
from streamwatch.cli.statustable import show
from streamwatch.commands import Command, Silence, Verdict
from streamwatch.config import Config
from streamwatch.control import Control
from streamwatch.engine import Engine
from streamwatch.records import Source
from streamwatch.transports.kafka.snapshot import Held, Read, Snapshot
from tests.build import START_S, batch, config, event, mixed, monitor
from tests.test_late_labels import INPUTS

NOW_S = START_S + 500_000.0  # 2025-10-15T03:46:40Z; the stream's last event is 100 s before it


def snapshot(config: Config, *commands: Command) -> Snapshot:
    """Of a service that read one event at START_S and one just now, and then these commands."""
    engine = Engine(config)
    engine.process(batch([event(START_S, score=0.5), event(NOW_S - 100, score=0.5)]))
    control = Control(config)
    control.began(START_S)
    for one in commands:
        control.obey(one, NOW_S - 100)
    control.fire("score")
    control.fire("gone")
    read = [Read(Source("predictions", 0), 2, 5, 3), Read(Source("watch-control", 0), None, 0, None)]
    held = Held({**engine.changes(), **control.changes()}, engine.mark(), NOW_S - 2)  # type: ignore[arg-type]
    return Snapshot({0: held}, read, 2)


def silence(name: str, from_: str, to: str) -> Silence:
    return Silence(
        id=name, author="ana", reason="moving", match=("model=fraud", "version!=*"), from_=from_, to=to
    )


def verdict(incident: str, said: Any, monitor: str) -> Verdict:
    return Verdict(id=f"v-{incident}", author="ana", incident=incident, verdict=said, monitor=monitor)


WINDOWS = [
    {"name": "nights", "do": "skip", "weekly": {"from": "22:00", "to": "06:00"}},
    {"name": "always", "weekly": {"from": "12:00", "to": "12:00"}, "match": ["monitor=score"]},
    {"name": "past", "from": "2025-10-01T00:00:00Z", "to": "2025-10-02T00:00:00Z"},
    {"name": "far", "from": "2025-12-01T00:00:00Z", "to": "2025-12-02T00:00:00Z"},
]


def watched(**more: Any) -> Config:
    return config(monitor("score", "score"), monitor("error-rate", "error"), windows=WINDOWS, **more)


def test_windows_are_those_in_force_and_those_of_the_next_days_by_stream_time() -> None:
    """What is over, or far away, is left out; what follows on itself without end has none."""
    found = told(
        watched(),
        snapshot(
            watched(),
            silence("s-now", "2025-10-14T00:00:00Z", "2025-10-15T08:00:00Z"),
            silence("s-soon", "2025-10-16T00:00:00Z", "2025-10-17T00:00:00Z"),
            # By the clock this has begun, and the stream is not there yet.
            silence("s-just", "2025-10-15T03:46:00Z", "2025-10-15T04:00:00Z"),
        ),
        NOW_S,
    )
    assert [(one.name, one.do, one.in_force, one.until) for one in found.windows] == [
        ("s-now", "mute", True, "2025-10-15T08:00:00Z"),
        ("always", "mute", True, None),
        ("nights", "skip", True, "2025-10-15T06:00:00Z"),
        ("s-just", "mute", False, "2025-10-15T04:00:00Z"),
        ("s-soon", "mute", False, "2025-10-17T00:00:00Z"),
    ]
    assert found.windows[0].match == ("model=fraud", "version!=*")


def test_verdicts_are_counted_by_monitor_also_of_those_that_are_gone() -> None:
    found = told(
        watched(),
        snapshot(
            watched(),
            verdict("a1", "false", "score"),
            verdict("a1", "true", "score"),  # the last word counts
            verdict("a2", "false", "error-rate"),
            verdict("a3", "false", ""),
        ),
        NOW_S,
    )
    assert found.verdicts == (
        Verdicts(monitor="score", fired=1, true=1, false=0, without=0),
        Verdicts(monitor="error-rate", fired=0, true=0, false=1, without=0),
        Verdicts(monitor="", fired=0, true=0, false=1, without=0),
        Verdicts(monitor="gone", fired=1, true=0, false=0, without=1),
    )
    assert found.watched_s == NOW_S - 100 - START_S


def test_several_tasks_are_one_status() -> None:
    """Incidents fire in one task each and are added up; every task hears every verdict and silence, and each counts
    once; the stream is as far as the task that is farthest."""
    said = (
        verdict("a1", "false", "score"),
        silence("s-now", "2025-10-14T00:00:00Z", "2025-10-15T08:00:00Z"),
    )
    of = watched(tasks="per_partition")
    first, second = (snapshot(of, *said).tasks[0] for _ in range(2))
    found = told(of, Snapshot({0: first, 3: replace(second, committed_s=NOW_S)}, [], 2), NOW_S)
    alone = told(of, Snapshot({0: first}, [], 2), NOW_S)
    assert found.verdicts[0] == Verdicts(monitor="score", fired=2, true=0, false=1, without=1)
    assert found.windows == alone.windows
    assert (found.stream_keys, found.state_bytes) == (2 * alone.stream_keys, 2 * alone.state_bytes)
    assert (found.stream_time, found.watched_s) == (alone.stream_time, alone.watched_s)
    assert found.committed == rfc3339(NOW_S)


def test_state_that_the_config_would_drop_is_told() -> None:
    changed = config(monitor("score", "score", {"adwin": {"delta": 0.5}}))
    found = told(changed, snapshot(watched()), NOW_S)
    assert found.dropped == ("error-rate", "score")


def test_a_change_is_open_since_its_onset() -> None:
    """Which the first alert of it estimated: not since that alert, nor since what was said later of the change."""
    of = config(monitor("score", "score"))
    levels = [0.1] * 1000 + [0.5] * 100 + [0.9] * 200
    engine = Engine(of)
    events = [event(START_S + 10 * i, score=score) for i, score in enumerate(levels)]
    first, worse = engine.process(batch(events)).alerts
    assert (first.data.reason, worse.data.reason) == ("first", "worse")
    assert first.data.onset is not None
    assert worse.data.onset != first.data.onset
    found = told(of, Snapshot({0: Held(engine.changes(), engine.mark(), NOW_S)}, [], 1), NOW_S)  # type: ignore[arg-type]
    (open_,) = found.open
    assert (open_.since, open_.said) == (first.data.onset.time, worse.time)
    assert first.data.onset.time < first.time


def test_what_the_service_cannot_see_is_open_too() -> None:
    of = config(monitor("score", "score"), sight={"silence": "1h"})
    engine = Engine(of)
    engine.process(batch([event(START_S, score=0.5), event(NOW_S, model="churn", score=0.5)]))
    found = told(of, Snapshot({0: Held(engine.changes(), engine.mark(), NOW_S)}, [], 1), NOW_S)  # type: ignore[arg-type]
    (silent,) = found.open
    assert (silent.state, silent.monitor, silent.reason, silent.model) == (
        "blind",
        "service",
        "silent",
        "fraud",
    )
    assert silent.since == rfc3339(START_S + 3600.0)
    assert "no events of fraud since 2025-10-09T08:53:20Z" in shown(found)


def late(**more: Any) -> tuple[Config, Snapshot]:
    """90 predictions, of which each third had its label after 30 s, and one label of nobody."""
    of = config(
        monitor("error", "error"), inputs=INPUTS, models={"fraud": {"labels": {"wait": "1m"}}}, **more
    )
    items: list[Any] = []
    for i in range(90):
        items.append(event(START_S + i, event_id=f"e{i}", prediction=1))
        if i >= 30 and i % 3 == 0:
            items.append({"event_id": f"e{i - 30}", "label": 1})
    engine = Engine(of)
    engine.process(mixed([*items, {"event_id": "nobody", "label": 1}]))
    return of, Snapshot({0: Held(engine.changes(), engine.mark(), NOW_S)}, [], 1)  # type: ignore[arg-type]


def test_slicings_with_pooled_segments_are_told() -> None:
    of = config(monitor("score", "score", by=[["country"]]), max_segments=1)
    engine = Engine(of)
    engine.process(batch([event(NOW_S - 9, score=0.5, features={"country": name}) for name in ("DE", "AT")]))
    found = told(of, Snapshot({0: Held(engine.changes(), engine.mark(), NOW_S)}, [], 1), NOW_S)  # type: ignore[arg-type]
    assert found.pooled == ("country of fraud",)
    out = io.StringIO()
    show(found, of, out)
    assert (
        "more segments than 1 (`max_segments`), the rest pooled as `other`: country of fraud\n"
        in out.getvalue()
    )


def test_what_waits_for_labels_is_told_with_how_they_come() -> None:
    found = told(*late(), NOW_S)
    assert found.late == (
        Late(model="fraud", waiting=60, most=1_000_000, read="matured", coverage=0.3333, median_delay_s=30.0),
    )
    text = shown(found).splitlines()
    at = text.index("late labels of  wait  at most    with label  delay  read")
    assert text[at + 1 : at + 3] == [
        "fraud           60    1,000,000  33.3%       30s    matured",
        "1 label of predictions that have not come yet",
    ]


def test_predictions_that_the_config_would_wait_for_no_longer_are_told() -> None:
    _, seen = late()
    other = config(monitor("brier", "brier"), inputs=INPUTS, models={"fraud": {"labels": {"wait": "1m"}}})
    found = told(other, seen, NOW_S)
    assert found.not_waiting == ("fraud",)
    assert "not shown: predictions of fraud that wait for labels" in shown(found)


TEXT = """\
watch: 2 open (1 blind, 1 silenced)
nobody runs it; last commit 2s ago; stream time 2025-10-15T03:45:00Z, 100s ago
1 stream key, 1 KiB of state

open    severity  what                    since (UTC)  said (UTC)   incident  silenced
blind   warning   score of a\\nb is blind  10-14 01:02  10-15 01:02  1234abcd
firing  critical  error-rate of c rose    10-14 01:02  10-15 01:02  1234abcd  s-1, ana, until 10-15 04:00, moving

monitor  fired  true  false  no verdict
score    9      1     2      6
realised false alarms: 2 false in 41.3 days watched
"""


def shown(status: Status, terminal: bool = False) -> str:
    out = io.StringIO()
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    show(status, watched(), out)
    return out.getvalue()


def opened(**more: Any) -> Open:
    given = {
        "state": "firing", "reason": "first", "severity": "critical", "monitor": "error-rate", "signal": "error",
        "model": "c", "version": None, "segment": {}, "summary": "error-rate of c rose",
        "since": "2025-10-14T01:02:03Z", "said": "2025-10-15T01:02:03.5Z", "incident": "1234abcd" * 4, "key": "k",
        "silenced": False, "silenced_by": None, "owner": None, "runbook": None,
    }  # fmt: skip
    return msgspec.convert({**given, **more}, Open)


@pytest.fixture
def whole() -> Status:
    by = {"name": "s-1", "author": "ana", "reason": "moving", "until": "2025-10-15T04:00:00Z"}
    return Status(
        service="watch",
        at="2025-10-15T03:46:40Z",
        running=0,
        committed="2025-10-15T03:46:38Z",
        stream_time="2025-10-15T03:45:00Z",
        watched_s=41.3 * 86_400,
        stream_keys=1,
        state_bytes=1_100,
        open=(
            opened(silenced=True, silenced_by=by),
            opened(state="blind", severity="warning", summary="score of a\nb is blind"),
        ),
        verdicts=(Verdicts(monitor="score", fired=9, true=1, false=2, without=6),),
    )


def test_people_read_a_table_with_the_loudest_first(whole: Status) -> None:
    assert shown(whole) == TEXT


def test_names_out_of_events_send_no_codes_to_a_terminal_and_colour_is_for_terminals(
    whole: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(msgspec.structs.replace(whole, open=(opened(summary="\x1b[2Jx"),)), terminal=True)
    assert "\x1b[1;31mcritical" in text
    assert "\x1b[2J" not in text


def test_nothing_committed_is_said_and_nothing_else(whole: Status) -> None:
    found = told(watched(), None, NOW_S)
    assert shown(found) == (
        "watch: no state yet: nothing was ever committed to watch-state. "
        "`streamwatch run` commits with the first records that it reads\n"
    )
    assert json.loads(msgspec.json.encode(found))["committed"] is None
