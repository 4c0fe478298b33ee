"""What the README says is run, block by block."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker, wait_until
from tests.topics import Written, create_topic, produce

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
LINE = re.compile(
    r"^(?P<time>\S+Z)  firing    critical  error-rate of fraud .*rose from 0\.\d+ to 0\.\d+  "
    r"\[first(, incident \w+)?\]$"
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
    (place / "notebook.py").write_text(block("python", "streamwatch.replay("))
    printed = shell(place, "python notebook.py")
    assert printed.strip() == f"{alerts[0]['time']} critical {alerts[0]['data']['summary']}"


@pytest.fixture
def service(place: Path, own_broker: Broker) -> Iterator[tuple[Path, str]]:
    """The README's service, running: the folder and the broker's address."""
    address = own_broker.bootstrap_servers
    create_topic(address, "predictions", 4)
    config = place / "configs" / "quickstart.yaml"
    config.write_text(config.read_text() + "http: {port: 0}\n")  # 8080 may be in use where the tests run
    (command,) = [
        line for line in block("sh", "streamwatch run").splitlines() if line.startswith("streamwatch run")
    ]
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
    commands = block("sh", "streamwatch run").splitlines()
    assert [line.split()[1] for line in commands] == ["check", "run", "tail"]
    assert "is good" in shell(place, commands[0], KAFKA=address)
    shell(place, "python make_events.py")
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    produce(
        address,
        "predictions",
        [
            Written(json.dumps(event).encode(), partition=i % 4, timestamp_ms=event["timestamp"] * 1000)
            for i, event in enumerate(events)
        ],
    )
    tail = subprocess.Popen(
        commands[2].partition("#")[0].split(),
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


def test_the_line_that_shows_an_alert_is_what_tail_writes() -> None:
    assert LINE.match(block("text", "firing").strip())


def test_the_words_of_states_and_reasons_are_those_of_the_code() -> None:
    from typing import get_args

    from streamwatch.alerts import State
    from streamwatch.policy import Reason

    told = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", README, re.MULTILINE))
    reasons = {reason for text in told.values() for reason in re.findall(r"`([^`]+)`", text)}
    assert set(told) == set(get_args(State)) - {"recovered"}  # needs a reference, which is to come
    assert reasons == set(get_args(Reason)) - {"other direction", "small", "known"}  # these write nothing
