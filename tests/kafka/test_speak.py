"""Commands and status on a real broker: what is written, what is looked up, and what the service made of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from kafka import KafkaProducer

from streamwatch import configfile
from streamwatch.alerts import rfc3339
from streamwatch.commands import Accept, Command, End, Pause, Silence, Verdict, command
from streamwatch.config import Config
from streamwatch.engine import Engine
from streamwatch.records import Source
from streamwatch.transports.kafka.bystander import bystander
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.state_topic import Mark, encode
from tests.cli import cli
from tests.conftest import SharedBroker
from tests.kafka.loop import run_until
from tests.samples import alert
from tests.topics import Written, create_topic, produce, read_committed


def configured(folder: Path, servers: str, name: str) -> Path:
    """Error rates of any model, and a score that is soon blind."""
    path = folder / "config.yaml"
    content = {
        "service": name,
        "kafka": {"bootstrap_servers": servers, "session_timeout_ms": 3_000},
        "inputs": [{"topics": [f"{name}-in"]}],
        "monitors": [
            {"name": "error-rate", "signal": "error", "detector": "adwin", "severity": "critical"},
            {"name": "score", "signal": "score", "detector": "adwin", "per": "model"},
        ],
        "start": "earliest",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def commands(servers: str, name: str, partition: int = 0) -> list[Command]:
    records = read_committed(servers, f"{name}-control")
    return [command(record.value) for record in records if record.partition == partition]


def test_every_task_reads_a_command_as_it_was_said(broker: SharedBroker, unique: str, tmp_path: Path) -> None:
    servers, config = broker.bootstrap_servers, configured(tmp_path, broker.bootstrap_servers, unique)
    create_topic(servers, f"{unique}-control", partitions=2)
    done = cli("silence", config, "--monitor", "error-rate", "--match", "model!=a", "--for", "2h",
               "--reason", "deploy\n", "--author", "ana")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    silence, again = commands(servers, unique), commands(servers, unique, 1)
    assert silence == again
    (spoken,) = silence
    assert isinstance(spoken, Silence)
    assert (spoken.match, spoken.author, spoken.reason) == (
        ("model!=a", "monitor=error-rate"), "ana", "deploy\n",
    )  # fmt: skip
    assert done.stdout == (
        f"{spoken.id} silences alerts of model!=a, monitor=error-rate until {spoken.to} (ana: deploy\\n); "
        f"end it with: streamwatch silence {config} --end {spoken.id}\n"
    )

    assert cli("pause", config, "--model", "b", "--for", "1d", "--reason", "x").exit_code == 0
    wrong = cli("silence", config, "--end", "s-none")
    assert wrong.exit_code == 2
    assert spoken.id in wrong.stderr  # it says which there are
    ended = cli("silence", config, "--end", spoken.id)
    assert ended.exit_code == 0
    assert f"ends {spoken.id}, the silence of model!=a, monitor=error-rate" in ended.stdout
    assert cli("silence", config, "--end", spoken.id).exit_code == 2  # it has ended
    assert cli("silence", config, "--end", "s-none", "--force").exit_code == 0
    kinds = [type(one) for one in commands(servers, unique)]
    assert kinds == [Silence, Pause, End, End]


def state(config: Config, stream_s: float) -> list[Written]:
    """A commit of the state topic's only task: something, and the mark."""
    engine = Engine(config)
    engine.stream_time_s = stream_s
    mark = Mark(service=config.service, mode="one", tasks=1, task=0, offsets=(), engine=engine.mark())
    return [Written(value, key=key) for key, value in encode({"any": b""}, mark, {})[0]]


def test_a_pause_of_a_stream_that_is_behind_says_when_it_is_in_force(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """The last commit says how far the events' own times are. It is written all the same."""
    servers, config = broker.bootstrap_servers, configured(tmp_path, broker.bootstrap_servers, unique)
    create_topic(servers, f"{unique}-control")
    create_topic(servers, f"{unique}-state", cleanup_policy="compact")
    loaded, now_s = configfile.load([config], {}), time.time()
    produce(servers, f"{unique}-state", [*state(loaded, now_s), *state(loaded, now_s - 3 * 86_400)])
    done = cli("pause", config, "--monitor", "score", "--for", "2h", "--reason", "x")
    assert (done.exit_code, len(commands(servers, unique))) == (0, 1)
    assert done.stderr.startswith(
        f"warning: stream time is {rfc3339(now_s - 3 * 86_400)}, 3d behind the clock"
    )


def test_what_alerts_are_called_is_looked_up_newest_first(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """A verdict and an accept carry whole ids, of what the beginning of one names."""
    servers, config = broker.bootstrap_servers, configured(tmp_path, broker.bootstrap_servers, unique)
    create_topic(servers, f"{unique}-alerts", partitions=2)
    create_topic(servers, f"{unique}-control")
    blind = alert("blind", model="b", incident="d" * 32, key="4" * 32)
    closed = alert("settled", open=False, model="c", incident="e" * 32, key="5" * 32)
    firing = alert(incident="a" * 32, key="1" * 32)
    other = alert(model="o", incident="a" * 31 + "b", key="2" * 32)
    alerts = [firing, other, blind, closed]
    values = [msgspec.json.encode(msgspec.structs.replace(one, id=one.data.incident)) for one in alerts]
    produce(servers, f"{unique}-alerts", [*values, b"no alert"])

    for wrong in ("aaaaa", "f" * 8):
        done = cli("verdict", config, wrong, "false")
        assert (done.exit_code, done.stdout) == (2, "")
        assert ("several" if wrong == "aaaaa" else f"{unique}-alerts") in done.stderr
    for wrong, why in (("dddd", "blind"), ("eeee", "settled")):
        done = cli("accept", config, wrong)
        assert done.exit_code == 2
        assert why in done.stderr
    assert cli("verdict", config, "a" * 32, "false", "--reason", "season").exit_code == 0
    assert cli("accept", config, "1111").exit_code == 0
    verdict, accept = commands(servers, unique)
    assert isinstance(verdict, Verdict)
    assert (verdict.incident, verdict.verdict, verdict.monitor, verdict.model, verdict.reason) == (
        "a" * 32, "false", "error-rate", "fraud", "season",
    )  # fmt: skip
    assert isinstance(accept, Accept)
    assert accept.match == (f"key={'1' * 32}",)


def test_going_back_reads_each_record_once_newest_first(broker: SharedBroker, unique: str) -> None:
    servers = broker.bootstrap_servers
    create_topic(servers, unique)
    written = [Written(b"%d" % n, timestamp_ms=1_764_000_000_000 + n) for n in range(5)]
    produce(servers, unique, written)
    with bystander(KafkaSettings(bootstrap_servers=servers)) as reader:
        steps = [[int(record.value) for record in step] for step in reader.newest([Source(unique, 0)], 2)]
    assert steps == [[4, 3], [2, 1], [0]]


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["silence", "--monitor", "score", "--for", "1h", "--reason", "x"], "control"),
        (["silence", "--end", "s-1"], "control"),
        (["verdict", "aaaa", "true"], "alerts"),
        (["status"], "state"),
    ],
)
def test_a_service_that_never_ran_ends_with_3_and_the_topic_is_named(
    broker: SharedBroker, unique: str, tmp_path: Path, arguments: list[str], missing: str
) -> None:
    config = configured(tmp_path, broker.bootstrap_servers, unique)
    name, *more = arguments
    done = cli(name, config, *more)
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"'{unique}-{missing}'" in done.stderr
    assert "`streamwatch run` makes it" in done.stderr


def events(end_s: float) -> Iterator[Written]:
    """Two models whose errors begin at 800 of 1,200 events, and scores that cannot be used any more."""
    for n in range(1_200):
        time_s = end_s - 1_200 + n
        event: dict[str, Any] = {
            "model": ("fraud", "churn")[n % 2],
            "timestamp": time_s,
            "prediction": 1,
            "label": int(n < 800 or n % 8 > 3),
            "score": 0.5 if n < 800 or n % 2 else "high",
        }
        yield Written(json.dumps(event).encode(), timestamp_ms=int(time_s * 1000))


def test_status_says_what_the_service_made_of_events_and_commands(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """Open, silenced and blind alerts, who silenced them, verdicts, windows, and how far the service is."""
    servers, config = broker.bootstrap_servers, configured(tmp_path, broker.bootstrap_servers, unique)
    create_topic(servers, f"{unique}-in")
    create_topic(servers, f"{unique}-control")
    create_topic(servers, f"{unique}-state", cleanup_policy="compact")
    never = cli("status", config)
    assert (never.exit_code, never.stderr) == (0, "")
    assert "no state yet" in never.stdout

    now_s = time.time()
    produce(servers, f"{unique}-in", list(events(now_s)))
    said = cli("silence", config, "--model", "churn", "--for", "2h", "--reason", "moving", "--author", "ana")
    name = said.stdout.split()[0]
    later = rfc3339(now_s + 3_600)
    cli("pause", config, "--monitor", "score", "--from", later, "--for", "1h", "--reason", "backup")
    run_until(configfile.load([config], {}), 1_202)
    with closing(KafkaProducer(bootstrap_servers=servers, transactional_id=unique)) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        for event in list(events(now_s))[:3]:
            producer.send(f"{unique}-in", event.value, partition=0)
        producer.commit_transaction()
    # A commit returns before its marker can be read.
    read_committed(servers, f"{unique}-in", at_least=1_203)

    done = cli("status", config, "--json", "--fail-if-open")
    assert (done.exit_code, done.stderr) == (1, "")
    status = json.loads(done.stdout)
    found = {(one["monitor"], one["model"]): one for one in status["open"]}
    assert {at: (one["state"], one["silenced"]) for at, one in found.items()} == {
        ("error-rate", "fraud"): ("firing", False),
        ("error-rate", "churn"): ("firing", True),
        ("score", "fraud"): ("blind", False),
    }
    by = found["error-rate", "churn"]["silenced_by"]
    assert (by["name"], by["author"], by["reason"]) == (name, "ana", "moving")
    assert [(one["name"][:1], one["in_force"], one["match"]) for one in status["windows"]] == [
        ("s", True, ["model=churn"]),
        ("p", False, ["monitor=score"]),
    ]
    fired = {one["monitor"]: one["fired"] for one in status["verdicts"]}
    assert fired == {"error-rate": 2, "score": 0}
    lags = {one["topic"]: (one["position"], one["end"], one["lag"]) for one in status["read"]}
    # The marker at the end of a transaction is no record to wait for.
    assert lags == {f"{unique}-in": (1_200, 1_204, 3), f"{unique}-control": (2, 2, 0)}
    assert status["running"] == 0
    assert status["stream_keys"] == 2
    assert abs(status["watched_s"] - 1_199) < 1

    shown = cli("status", config)
    assert shown.exit_code == 0
    assert f"{unique}: 3 open (1 blind, 1 silenced)\n" in shown.stdout
    assert "nobody runs it" in shown.stdout
    assert f"{name}, ana, until" in shown.stdout
    assert "\x1b" not in shown.stdout
