"""What a replay and a dry run tell people: how often they would have been called, by what, and how it looked."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from streamwatch.cli.dryrun import Screen
from streamwatch.cli.plot import COLUMNS, LABEL
from streamwatch.cli.replay import Strict
from streamwatch.cli.told import LISTED, Alarms
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.errors import BrokerUnreachable
from streamwatch.observer import Observer
from streamwatch.records import Source
from streamwatch.runner import run
from streamwatch.times import epoch_s
from streamwatch.transports.base import Progress, Stalled
from streamwatch.transports.memory import MemoryTransport, Record
from streamwatch.transports.order import kinds
from tests.build import START_S, config, monitor
from tests.cli import cli

CONFIG = """
service: watch
inputs: [{topics: [predictions]}]
monitors: [{name: score, signal: score, detector: adwin}]
"""


def shifts(keys: int = 1, n: int = 700) -> list[dict[str, object]]:
    """The score of each model jumps half way."""
    return [
        {"model": f"m{key}", "timestamp": START_S + i, "score": 0.2 if i < n // 2 else 0.8, "n": i}
        for i in range(n)
        for key in range(keys)
    ]


def watched(observe: Observer, events: list[dict[str, object]], of: Config | None = None) -> None:
    transport = MemoryTransport([Record("predictions", event) for event in events], 500)
    run(
        transport,
        of or config(monitor("score", "score")),
        stop=threading.Event(),
        observe=observe,
        sketch=True,
    )


def test_every_alarm_is_one_line_with_its_plot_under_it() -> None:
    alarms = Alarms()
    watched(alarms, shifts(2))
    lines = list(alarms.told(plots=True))
    assert lines[0] == "would have alarmed twice:"
    firing = [i for i, line in enumerate(lines) if " firing " in line]
    assert ["score of m0" in lines[firing[0]], "score of m1" in lines[firing[1]]] == [True, True]
    for at in firing:
        assert lines[at + 2].split()[0] == "0.8"
        assert "○ onset" in lines[at + 12]
    assert not any("┤" in line for line in alarms.told(plots=False))


@pytest.mark.parametrize(("read", "delay_s"), [("matured", 7200.0), ("arrival", 3600.0)])
def test_the_plot_of_late_labels_has_the_alert_among_the_values_it_rests_on(
    read: str, delay_s: float
) -> None:
    """A label comes an hour after its prediction, and is read then, or when the prediction is two hours old."""
    of = config(
        monitor("error", "error", settle_after="9h"),
        inputs=[
            {"topics": ["predictions"], "read": {"label": None}},
            {"topics": ["labels"], "kind": "labels"},
        ],
        models={"m": {"labels": {"wait": "2h", "read": read}}},
    )
    records = []
    for i in range(3_600):
        at, wrong = START_S + 10 * i, i >= 1_000 and i % 2
        said = {"event_id": f"e{i}", "model": "m", "timestamp": at, "prediction": 1}
        label = {"event_id": f"e{i}", "label": int(not wrong)}
        records.append(Record("predictions", said, timestamp_ms=int(at * 1000)))
        records.append(Record("labels", label, timestamp_ms=int((at + 3_600) * 1000)))
    alarms = Alarms()
    transport = MemoryTransport(records, 500, kinds(of))
    run(transport, of, stop=threading.Event(), observe=alarms, sketch=True)
    lines = list(alarms.told(plots=True))
    axis = next(line for line in lines if "└" in line)
    (alert,) = alarms._first
    assert alert.data.onset is not None
    found_s, onset_s = epoch_s(alert.time) - delay_s, epoch_s(alert.data.onset.time)
    start_s, stop_s = map(epoch_s, lines[lines.index(axis) + 1].split())
    for mark, time_s in (("○", onset_s), ("●", found_s)):
        at = LABEL + 1 + (time_s - start_s) / (stop_s - start_s) * (COLUMNS - LABEL - 1)
        assert axis.index(mark) == pytest.approx(at, abs=1.1)
    assert onset_s < found_s < onset_s + 3_600


def test_a_monitor_that_was_blind_is_told_apart_from_an_alarm() -> None:
    alarms = Alarms()
    watched(alarms, [{"model": "m", "timestamp": START_S + i, "score": "high"} for i in range(300)])
    lines = list(alarms.told(plots=True))
    assert lines[0] == "would have been blind once:"
    assert len(lines) == 2


def test_what_closes_or_repeats_is_no_other_alarm() -> None:
    """A firing alert and its settling are one call to a person."""
    later = [{"model": "m0", "timestamp": START_S + 700 + 60.0 * i, "score": 0.8} for i in range(700)]
    alarms = Alarms()
    watched(
        alarms, [*shifts(), *later], config(monitor("score", "score", repeat_every="1h", settle_after="5h"))
    )
    assert alarms.states["firing"] > 1
    assert alarms.states["settled"] == 1
    assert next(iter(alarms.told(False))) == "would have alarmed once:"


def test_of_very_many_alarms_the_first_are_shown_and_the_others_counted() -> None:
    alarms = Alarms()
    watched(alarms, shifts(LISTED + 5))
    lines = list(alarms.told(plots=False))
    assert lines[0] == f"would have alarmed {LISTED + 5} times:"
    assert len(lines) == LISTED + 2
    assert lines[-1] == "... and 5 more: stdout has them all"


def test_nothing_is_said_to_be_nothing() -> None:
    assert list(Alarms().told(plots=True)) == ["would not have alarmed"]


def files(folder: Path) -> tuple[Path, Path]:
    path, data = folder / "watch.yaml", folder / "events.jsonl"
    path.write_text(CONFIG)
    data.write_text("".join(json.dumps(event) + "\n" for event in shifts()))
    return path, data


def test_replay_draws_if_asked_and_leaves_stdout_to_the_alerts(tmp_path: Path) -> None:
    path, data = files(tmp_path)
    for option, drawn in ((["--plot"], 1), ([], 0)):
        done = cli("replay", path, data, *option)
        assert done.exit_code == 0
        assert [json.loads(line)["data"]["monitor"] for line in done.stdout.splitlines()] == ["score"]
        assert done.stderr.count("onset") == drawn
        assert done.stderr.splitlines()[-1].startswith("700 records: 700 events; 1 alert (1 firing); ")


@pytest.mark.parametrize(
    ("command", "asked", "told"),
    [
        ("replay", [], "what to replay? Expected DATA files; or"),
        ("replay", ["DATA", "--since", "1h"], "either DATA files, or a part of the topics"),
        ("replay", ["--since", "soon"], "Expected how long ago (10m, 24h, 7d), or a moment"),
        ("replay", ["--since", "2026-11-27T08:00"], "--since: expected a moment with its zone"),
        ("replay", ["--since", "1h", "--until", "2h"], "--since 1h is not before --until 2h"),
        ("replay", ["--topic", "prediction"], "--topic prediction: the config reads predictions. To do: "),
        ("run", ["--dry-run", "--since", "soon"], "Expected how long ago (10m, 24h, 7d), or a moment"),
        ("run", ["--since", "1h"], "--since is for --dry-run"),
        ("run", ["--dry-run", "--resume-from", "mark"], "a dry run begins with fresh monitors"),
    ],
)
def test_what_cannot_be_meant_is_bad_usage_before_a_broker_is_asked(
    command: str, asked: list[str], told: str, tmp_path: Path
) -> None:
    path, data = files(tmp_path)
    done = cli(command, path, *[str(data) if word == "DATA" else word for word in asked])
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in " ".join(done.stderr.split())


def test_what_a_service_waits_for_ends_a_replay() -> None:
    with pytest.raises(BrokerUnreachable, match="gone"):
        Strict().failed(BrokerUnreachable("gone"), None, 1.0)
    with pytest.raises(BrokerUnreachable, match="p/1: nothing fetched"):
        Strict().stalled(Stalled(0, Source("p", 1), True, "nothing fetched"))


def test_a_dry_run_shows_alerts_on_the_screen_and_now_and_then_how_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    screen = Screen(colour=False, every_s=10.0, clock=lambda: now[0])
    watched(screen, shifts())
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert " firing    warning   score of m0 without a version rose from 0.2" in out
    assert err == ""
    now[0] = 11.0
    engine = Engine(config(monitor("score", "score")))
    for _ in range(2):  # said once in ten seconds
        screen.turned(Progress({Source("p", 0): 7}), {0: engine}, True)
    now[0] = 22.0
    screen.turned(Progress(ready=False, detail="not connected"), {}, True)
    first, second = capsys.readouterr().err.splitlines()
    assert first[11:] == "700 events, 7 waiting; warm: 0 of 0 monitors"
    assert second[11:] == "not connected"
