"""`streamwatch replay`: what goes to stdout, to stderr and to files, and that it says what Python's replay says."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import streamwatch
from streamwatch import configfile
from streamwatch.cli.replay import event_time, texts
from tests.build import START_S, life
from tests.cli import cli

CONFIG = """
service: watch
inputs: [{topics: [predictions]}]
monitors:
  - {name: score, signal: score, detector: adwin}
  - {name: error-rate, signal: error, detector: adwin, direction: up}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "watch.yaml"
    path.write_text(CONFIG)
    return path


def jsonl(path: Path, events: Sequence[Any]) -> Path:
    path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in events))
    return path


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "streamwatch", "replay", *map(str, arguments)], capture_output=True, timeout=60
    )
    assert b"Traceback" not in done.stderr
    return done


def test_stdout_holds_the_alerts_and_they_are_those_of_python_byte_for_byte(
    config: Path, tmp_path: Path
) -> None:
    events = life(3000)
    done = replay(config, jsonl(tmp_path / "events.jsonl", events))
    assert done.returncode == 0
    expected = streamwatch.replay(config, events).alerts
    assert len(expected) > 3
    assert done.stdout.splitlines() == [msgspec.json.encode(alert) for alert in expected]


def test_the_last_line_of_stderr_sums_it_up(config: Path, tmp_path: Path) -> None:
    events = [*life(500), "not json", "", "{}"]
    done = replay(config, jsonl(tmp_path / "events.jsonl", events))
    lines = done.stderr.decode().splitlines()
    assert lines[-1].startswith("502 records: 500 events, 2 dead letters; ")
    letters = [json.loads(line) for line in lines[:-1] if "dead letter" in line]
    assert [(line["offset"], line["code"]) for line in letters] == [(500, "not json"), (502, "field missing")]


def test_dead_letters_are_written_where_told(config: Path, tmp_path: Path) -> None:
    letters = tmp_path / "letters.jsonl"
    replay(config, jsonl(tmp_path / "events.jsonl", ["not json"] * 20), "--dead-letters", letters)
    assert [json.loads(line)["offset"] for line in letters.read_text().splitlines()] == list(range(20))


def test_several_bare_files_are_merged_by_the_events_times(config: Path, tmp_path: Path) -> None:
    """Or each would be read to its end before the next, and the drift of the first seen before its time."""
    events = sorted(life(3000), key=lambda one: float(one["timestamp"]))
    halves = [jsonl(tmp_path / f"{n}.jsonl", events[n::2]) for n in range(2)]
    split = [json.loads(line) for line in replay(config, *halves).stdout.splitlines()]
    whole = [
        json.loads(line) for line in replay(config, jsonl(tmp_path / "all.jsonl", events)).stdout.splitlines()
    ]
    assert [(one["time"], one["type"], one["data"]["monitor"]) for one in split] == [
        (one["time"], one["type"], one["data"]["monitor"]) for one in whole
    ]


def test_names_in_a_csv_are_no_numbers(config: Path, tmp_path: Path) -> None:
    """Version 1.10 is not 1.1."""
    rows = [
        {"model": "7", "model_version": f"1.{n % 2}0", "timestamp": START_S + n, "score": 0.1 + 0.8 * (n > 1000)}
        for n in range(2000)
    ]  # fmt: skip
    path = tmp_path / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    alerts = [json.loads(line) for line in replay(config, path).stdout.splitlines()]
    assert {(one["subject"], one["data"]["version"]) for one in alerts} == {("7", "1.00"), ("7", "1.10")}


def test_a_reader_that_has_gone_ends_it_without_a_word(config: Path, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "events.jsonl", life(3000))
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "streamwatch", "replay", str(config), str(path), "--log-level", "error"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_file_that_is_not_there_is_bad_usage(config: Path, tmp_path: Path) -> None:
    done = replay(config, tmp_path / "none.jsonl")
    assert done.returncode == 2
    assert b"none.jsonl" in done.stderr


def test_an_events_own_time_is_read_by_the_configs_mapping(tmp_path: Path) -> None:
    path = tmp_path / "mapped.yaml"
    path.write_text(
        "service: s\ninputs: [{topics: [a], read: {time: meta.at, id: meta.id, model: {const: m}}}]\n"
        "monitors: [{name: score, signal: score, detector: adwin}]\n"
    )
    config = configfile.load([path], {})
    time_ms = event_time(config)
    assert time_ms("a", b'{"meta": {"at": "2026-11-24T10:00:00Z"}}') == 1_795_514_400_000
    assert time_ms("a", json.dumps({"meta": {"at": START_S}}).encode()) == int(START_S * 1000)
    assert [time_ms("a", value) for value in (b"{}", b"x", b"", b'{"meta": {"at": "never"}}')] == [-1] * 4
    assert texts(config) == {"meta.id", "model_version"}


LATE = """\
service: late
inputs:
  - {topics: [predictions], read: {label: null}}
  - {topics: [labels], kind: labels}
models: {"*": {labels: {wait: 1h}}}
monitors: [{name: error, signal: error, detector: adwin}]
"""


def _late(folder: Path, label_time: bool) -> list[str]:
    draw = random.Random(1)
    (folder / "late.yaml").write_text(LATE)
    predictions, labels = [], []
    for i in range(6000):
        at = 1_790_000_000 + 10 * i
        wrong = draw.random() < (0.05 if i < 3000 else 0.5)
        predictions.append({"event_id": f"e{i}", "model": "m", "timestamp": at, "prediction": 1})
        labels.append(
            {"event_id": f"e{i}", "label": int(not wrong), **({"timestamp": at + 1800} if label_time else {})}
        )
    for name, rows in (("predictions", predictions), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(folder / one) for one in ("late.yaml", "predictions.jsonl", "labels.jsonl")]


def test_labels_in_a_file_of_their_own_find_their_predictions(tmp_path: Path) -> None:
    done = replay(*_late(tmp_path, label_time=True))
    assert done.returncode == 0, done.stderr
    assert b"firing" in done.stdout
    assert b"6,000 labels: 6,000 found their prediction" in done.stderr


def test_labels_that_have_no_place_are_refused_instead_of_finding_nothing(tmp_path: Path) -> None:
    done = replay(*_late(tmp_path, label_time=False))
    assert done.returncode != 0
    assert b"a label of labels has no time" in done.stderr


def test_a_monitor_that_read_nothing_is_told(tmp_path: Path) -> None:
    config, predictions, _ = _late(tmp_path, label_time=True)
    done = replay(config, predictions)
    assert b"no value was read by error: that they did not alarm says nothing" in done.stderr


def test_values_in_buckets_that_the_end_of_the_data_leaves_open_are_told(tmp_path: Path) -> None:
    """It closes none: a later value would, and the alerts are those of the topic, as far as it is read."""
    config = tmp_path / "every.yaml"
    config.write_text(CONFIG.replace("signal: score,", "signal: score, every: 1h,"))
    events = [
        {"model": m, "timestamp": START_S + 60 * n, "score": 0.5, "prediction": 1}
        for n in range(90)
        for m in "ab"
    ]
    done = cli("replay", config, jsonl(tmp_path / "events.jsonl", events))
    assert done.exit_code == 0
    rest = sum((START_S + 60 * n) // 3600 == (START_S + 60 * 89) // 3600 for n in range(90))
    assert f"in buckets of time that are still open wait {2 * rest} of score: as live" in done.stderr
