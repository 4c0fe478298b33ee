"""`look` and `init` as a person types them: stdout, stderr, exit codes, and files that are not written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamwatch import configfile
from streamwatch.cli.connection import connection
from streamwatch.cli.init import init
from streamwatch.cli.look import Asked
from streamwatch.errors import ConfigError, OperatorError, UsageError
from streamwatch.offline.findings import find_in_file
from tests.cli import cli


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    lines = [
        {"event_id": f"e{i}", "model": "fraud", "timestamp": 1_790_000_000 + i, "score": i % 10 / 10,
         "features": {"country": "DE"}} for i in range(50)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_init_writes_the_config_alone_to_stdout(events: Path) -> None:
    done = cli("init", events)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("# A first config for file")
    assert [line[:1] for line in lines[1:5]] == ["#"] * 4
    assert "50 of 50 sampled records are events; 1 model, 2 monitors, 2 lines marked `# ?`" in done.stderr
    assert f"  streamwatch replay watch.yaml {events} > alerts.jsonl\n" in done.stderr


def test_a_file_is_written_over_only_by_force(events: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"w\.yaml exists\. To do: "):
        init(Asked(str(events)), path, False)
    assert path.read_text() == "mine"
    done = cli("init", events, "--output", path, "--force")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"check {path}" in done.stderr
    assert configfile.load([path], {}).service == "scored-watch"


def test_look_is_plain_text_in_a_pipe(events: Path) -> None:
    done = cli("look", events)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "fraud 100%" in done.stdout
    assert done.stderr == f"next: streamwatch init {events} -o watch.yaml\n"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("none.jsonl"), "none.jsonl is not there"),
        (Asked("some/topic"), "is not there"),
        (Asked("."), "a folder, no file"),
        (Asked(__file__, servers="b:1"), "is a file, and --bootstrap-servers"),
        (Asked("scored", topic="x"), "--topic goes with a file"),
    ],
)
def test_what_is_neither_file_nor_topic_says_what_was_expected(asked: Asked, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _ = asked.file


def test_the_next_command_reaches_the_same_broker() -> None:
    assert (
        Asked("scored", "b:1", Path("my k.yaml")).again
        == "scored --bootstrap-servers b:1 --kafka 'my k.yaml'"
    )


def test_a_file_that_is_there_is_a_file_and_any_other_name_a_topic() -> None:
    assert Asked(__file__).file == Path(__file__)
    assert Asked("scored").file is None


def test_a_wrong_address_says_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"^--bootstrap-servers: expected host:port"):
        connection("here", None, {})
    with pytest.raises(ConfigError, match=r"^KAFKA: expected host:port"):
        connection(None, None, {"KAFKA": "here"})


def test_a_file_without_records_says_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(OperatorError, match=r"holds no records\. To do: "):
        find_in_file(empty)


def test_a_kafka_block_is_taken_over_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(
        "service: s\n"
        "kafka: {bootstrap_servers: 'a:1', security_protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: '${ME}',"
        " sasl_password: hunter2, ssl_key_password: '${KEY:-other secret}', ssl_check_hostname: false}\n"
    )
    reach = connection("b:2", path, {"ME": "alice"})
    assert reach.settings.sasl_password is not None
    assert reach.settings.sasl_password.get_secret_value() == "hunter2"
    assert (reach.settings.bootstrap_servers, reach.settings.sasl_username) == ("b:2", "alice")
    assert reach.variables == ("KAFKA_PASSWORD", "KEY")
    assert reach.written == (
        'bootstrap_servers: "b:2"',
        "security_protocol: SASL_SSL",
        "sasl_mechanism: PLAIN",
        'sasl_username: "${ME}"',
        'sasl_password: "${KAFKA_PASSWORD}"',
        'ssl_key_password: "${KEY}"',
        "ssl_check_hostname: false",
    )


def test_without_a_file_the_address_comes_from_the_environment_as_in_the_configs() -> None:
    reach = connection(None, None, {"KAFKA": "c:3"})
    assert (reach.settings.bootstrap_servers, reach.written) == (
        "c:3",
        ("bootstrap_servers: ${KAFKA:-localhost:9092}",),
    )
    assert connection(None, None, {}).settings.bootstrap_servers == "localhost:9092"


@pytest.mark.parametrize(
    ("text", "words"),
    [("service: s\n", "has no kafka block"), ("kafka: {bootstrap: 'a:1'}\n", "unknown key `bootstrap`"),
     ("kafka: {bootstrap_servers: '${NOT_SET}'}\n", "NOT_SET")],
)  # fmt: skip
def test_a_wrong_kafka_block_says_where(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "k.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as raised:
        connection(None, path, {})
    assert str(raised.value).startswith(f"{path}:1:")
