"""What the README says is run, block by block."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from streamwatch import configfile
from streamwatch.cli.app import app
from streamwatch.cli.reference import table
from tests.broker import wait_until
from tests.conftest import SharedBroker
from tests.topics import Written, create_topic, produce

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
LINE = re.compile(
    r"^(?P<time>\S+Z)  firing    critical  error-rate of fraud .*rose from 0\.\d+ to 0\.\d+  "
    r"\[first, incident (?P<incident>\w+)\]$"
)


def block(language: str, holding: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and holding in text]
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as a newcomer has it: the configs, and the events made by the README's script."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "make_events.py").write_text(block("python", "make_events.py"))
    return tmp_path


def shell(place: Path, command: str, **environ: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=place,
        env={**os.environ, "PATH": PATH, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_ten_minutes_work_as_written(place: Path) -> None:
    shell(place, block("sh", "make_events.py"))
    alerts = [json.loads(line) for line in (place / "alerts.jsonl").read_text().splitlines()]
    assert [(a["data"]["monitor"], a["type"]) for a in alerts] == [("error-rate", "streamwatch.alert.firing")]
    (place / "notebook.py").write_text(block("python", "alert.data.summary"))
    printed = shell(place, "python notebook.py")
    assert printed.strip() == f"{alerts[0]['time']} critical {alerts[0]['data']['summary']}"
    (place / "frame.py").write_text(block("python", "json_normalize"))
    assert alerts[0]["data"]["summary"] in shell(place, "python frame.py")


def test_the_demo_works_as_written(place: Path) -> None:
    """The first line also installs: that is tried in a fresh checkout. Its last command has tests of its own."""
    assert block("sh", "'.[demo]'").strip().endswith("&& streamwatch demo")
    printed = shell(place, block("sh", "demo --list"))
    assert "the other 8 monitors kept quiet" in printed
    assert "is good" in printed


@pytest.mark.parametrize(
    "fragment", [text for kind, text in BLOCKS if kind == "yaml"], ids=["labels", "windows"]
)
def test_a_fragment_of_a_config_fits_into_one(fragment: str, tmp_path: Path) -> None:
    whole = {
        "service": "x",
        "inputs": [{"topics": ["predictions"]}],
        "monitors": [{"name": "error", "signal": "error", "detector": "adwin", "models": ["fraud"]}],
        **yaml.safe_load(fragment),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(whole))
    assert configfile.read([tmp_path / "config.yaml"], {}).warnings == []


def commands() -> list[str]:
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    found = [part.strip() for line in lines for part in line.partition("#")[0].split("&&")]
    return [one for one in found if one.startswith("streamwatch ")]


@pytest.mark.parametrize("command", commands())
def test_every_command_has_the_words_that_the_command_line_knows(command: str) -> None:
    words = shlex.split(command.partition(">")[0])[1:]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage:")


@pytest.fixture
def service(place: Path, broker: SharedBroker) -> Iterator[tuple[Path, str]]:
    """The README's service, running: the folder and the broker's address. Its names are those of no other test."""
    address = broker.bootstrap_servers
    create_topic(address, "predictions", 4)
    config = place / "configs" / "quickstart.yaml"
    config.write_text(config.read_text() + "http: {port: 0}\n")  # 8080 may be in use where the tests run
    command = block("sh", "streamwatch run configs").splitlines()[1]
    log = place / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command.partition("#")[0].split(),
            cwd=place,
            env={**os.environ, "PATH": PATH, "KAFKA": address},
            stderr=stderr,
        )
        try:
            wait_until(lambda: '"event":"ready"' in log.read_text(), 30, "the service to be ready")
            yield place, address
            process.terminate()
            assert process.wait(15) == 0, log.read_text()
        finally:
            process.kill()


def test_the_service_works_as_written(service: tuple[Path, str]) -> None:
    place, address = service
    lines = block("sh", "streamwatch run configs").splitlines()
    assert [line.split()[1] for line in lines] == ["check", "run", "tail"]
    assert "is good" in shell(place, lines[0], KAFKA=address)
    shell(place, "python make_events.py")
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    now_ms = int(time.time() * 1000) - len(events)
    produce(
        address,
        "predictions",
        [
            Written(json.dumps(event).encode(), partition=i % 4, timestamp_ms=now_ms + i)
            for i, event in enumerate(events)
        ],
    )
    tail = subprocess.Popen(
        lines[2].partition("#")[0].split(),
        cwd=place,
        env={**os.environ, "PATH": PATH, "KAFKA": address},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout is not None
        said = LINE.match(tail.stdout.readline())
    finally:
        tail.kill()
        tail.wait()
    assert said
    shell(place, "streamwatch replay configs/quickstart.yaml events.jsonl > alerts.jsonl")
    assert json.loads((place / "alerts.jsonl").read_text())["time"] == said["time"]
    _talk(place, address, said["incident"])
    _own_topic(place, address)


def _talk(place: Path, address: str, incident: str) -> None:
    """The commands of a person on call, one after the other."""
    status, silence, end, pause, accept, verdict = block("sh", "streamwatch silence").splitlines()
    assert "error-rate" in shell(place, status, KAFKA=address)
    silenced = shell(place, silence, KAFKA=address).split()[0]
    shell(place, end.replace("SILENCE", silenced), KAFKA=address)
    shell(place, pause, KAFKA=address)
    assert "as normal" in shell(place, accept.replace("INCIDENT", incident), KAFKA=address)
    shell(place, verdict.replace("INCIDENT", incident), KAFKA=address)
    log = place / "log"
    wait_until(lambda: log.read_text().count('"event":"command"') == 5, 20, "the service to obey")


def _own_topic(place: Path, address: str) -> None:
    shell(place, block("sh", "streamwatch look predictions"), KAFKA=address)
    assert "is good" in shell(place, "streamwatch check watch.yaml", KAFKA=address)
    assert "error" in (place / "day.jsonl").read_text()


def test_the_line_that_shows_an_alert_is_what_tail_writes() -> None:
    shown = block("text", "firing").splitlines()[0]
    what = "distance of late-arrival rose from 1,043 to 1,695"
    assert re.fullmatch(
        rf"\S+Z  firing    warning   {what}  \[first, incident \w+, owner flight-ops\]", shown
    )


def test_the_words_of_states_and_reasons_are_those_of_the_code() -> None:
    from typing import get_args

    from streamwatch.alerts import State
    from streamwatch.policy import Reason

    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", README, re.MULTILINE))
    told = {state: text for state, text in rows.items() if state in get_args(State)}
    reasons = {reason for text in told.values() for reason in re.findall(r"`([^`]+)`", text)} - {"service"}
    assert set(told) == set(get_args(State)) - {"recovered"}
    assert reasons == set(get_args(Reason)) - {"other direction", "small", "known"}  # these write nothing


def test_the_table_of_options_is_made_from_the_classes() -> None:
    assert table() in README


def test_the_contents_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.*)$", README, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors
