"""The command line as a person and a script meet it: help, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import msgspec
import pytest

from streamwatch import __version__, commands
from streamwatch.cli.schema import schema
from streamwatch.engine import Engine
from streamwatch.errors import SenderError
from tests.build import config, mixed, monitor
from tests.cli import cli
from tests.samples import alert
from tests.test_late_labels import INPUTS

COMMANDS = ("run", "check", "replay", "look", "init", "tail", "silence", "pause", "accept", "verdict", "status",
            "schema", "version")  # fmt: skip
# Not pydantic: typer itself reads a command's options with it.
HEAVY = ("kafka", "msgspec", "numpy", "prometheus_client", "rich", "river", "starlette", "structlog", "uvicorn",
         "yaml")  # fmt: skip

GOOD = """
service: fraud-watch
kafka: {bootstrap_servers: "localhost:1"}
inputs: [{topics: [predictions]}]
monitors: [{name: error-rate, signal: error, detector: adwin}]
"""
BAD = """
service: fraud-watch
inputs: [{topics: [predictions]}]
monitors: [{name: error-rate, signal: eror, detector: adwin}]
comit_every: 1s
"""


def streamwatch(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamwatch", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "100", **environ},
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def write(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return tmp_path


def test_help_names_every_command_and_comes_within_300_ms() -> None:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        done = streamwatch("--help")
        took.append(time.perf_counter() - began)
        assert done.returncode == 0
    for command in COMMANDS:
        assert f"  {command} " in done.stdout
    assert min(took) < 0.3, took


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"]])
def test_nothing_heavy_is_imported_before_a_command_needs_it(arguments: list[str]) -> None:
    script = (
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from streamwatch.cli.app import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = cli(command, "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_version_is_one_line_on_stdout() -> None:
    done = streamwatch("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["rum"],
        ["run"],
        ["run", "--resume-from", "yesterday", "x.yaml"],
        ["schema", "alarm"],
        ["tail", "--severity", "loud", "x.yaml"],
        ["version", "now"],
    ],
)
def test_bad_usage_ends_with_2_and_says_why_on_stderr(arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert "Usage:" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "check", "tail", "replay"])
def test_a_bad_config_ends_with_2_and_every_problem_with_its_place(command: str, write: Path) -> None:
    path = write / "bad.yaml"
    data = [path] if command == "replay" else []
    done = cli(command, path, *data)
    assert done.exit_code == 2
    assert done.stdout == ""
    told = done.stderr.strip().splitlines()
    assert [line.split(": ")[0] for line in told] == [f"{path}:4:39", f"{path}:5:1"]
    assert "error" in told[0]  # the closest valid name
    assert "commit_every" in told[1]


def test_a_config_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    done = streamwatch("check", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}/none.yaml: ")
    assert done.stderr.count("\n") == 1


def test_debug_shows_where_in_the_code(tmp_path: Path) -> None:
    done = streamwatch("--debug", "check", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_check_says_what_a_good_config_does(write: Path) -> None:
    done = cli("check", write / "good.yaml")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        "the config of fraud-watch is good: 1 monitor, reads predictions, writes fraud-watch-alerts\n"
        "memory: about 105 MiB, and 12 KiB for each detector; 222 MiB if there are 10,000 stream keys "
        "(`max_stream_keys`) of 1 detector\n"
    )


@pytest.mark.parametrize("command", [["check", "--connect"], ["tail"]])
def test_a_broker_that_is_not_there_ends_with_3(command: list[str], write: Path) -> None:
    done = cli(*command, write / "good.yaml")
    assert done.exit_code == 3
    assert "Traceback" not in done.stderr
    assert "localhost:1" in done.stderr


@pytest.mark.parametrize("of", ["alert", "event", "label", "command", "config"])
def test_schema_prints_a_json_schema(of: str) -> None:
    done = cli("schema", of)
    assert (done.exit_code, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for example in made.get("examples", ()):
        jsonschema.validate(example, made)


def test_labels_are_what_their_schema_says() -> None:
    """What it takes is read as a label, and what it refuses is not."""
    validator = jsonschema.Draft202012Validator(json.loads(schema("label")))
    of = config(
        monitor("error", "error"),
        inputs=INPUTS,
        models={"fraud": {"labels": {"wait": "10m"}}},
    )
    for text, good in [
        ('{"event_id": "a1", "label": 0}', True),
        ('{"event_id": 17, "label": "fraud", "model": "fraud", "more": {}}', True),
        ('{"label": 1}', False),
        ('{"event_id": null, "label": 1}', False),
        ('{"event_id": ["a1"], "label": 1}', False),
    ]:
        output = Engine(of).process(mixed([json.loads(text)]))
        assert validator.is_valid(json.loads(text)) is good, text
        assert (output.labels, len(output.dead_letters)) == ((1, 0) if good else (0, 1)), text


def test_commands_are_what_their_schema_says() -> None:
    """The examples in the schema are read as commands, and what the schema refuses is refused."""
    made = json.loads(schema("command"))
    validator = jsonschema.Draft202012Validator(made)
    for example in made["examples"]:
        commands.command(json.dumps(example).encode())
        for wrong in ({**example, "id": ""}, {**example, "command": "stop"}, {**example, "more": 1}):
            assert not validator.is_valid(wrong)
            with pytest.raises(SenderError):
                commands.command(json.dumps(wrong).encode())


def test_alerts_are_what_their_schema_says() -> None:
    made = json.loads(schema("alert"))
    reasons = made["$defs"]["AlertData"]["properties"]["reason"]["examples"]
    assert {"first", "silent", "few labels", "unsilenced"} <= set(reasons)
    assert "small" not in reasons
    assert "\n" not in made["$defs"]["Alert"]["description"]
    validator = jsonschema.Draft202012Validator(made)
    written = msgspec.json.decode(msgspec.json.encode(alert()))
    validator.validate(written)
    for wrong in (
        {**written, "type": "streamwatch.alert.loud"},
        {**written, "severity": "loud"},
        {name: value for name, value in written.items() if name != "id"},
        {**written, "data": {**written["data"], "direction": "sideways"}},
    ):
        assert not validator.is_valid(wrong)
