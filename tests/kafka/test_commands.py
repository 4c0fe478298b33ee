"""`tail` and `check --connect` on a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import yaml
from kafka import KafkaProducer

from tests.cli import cli
from tests.conftest import SharedBroker
from tests.samples import alert
from tests.topics import Written, create_topic, produce


def configured(folder: Path, servers: str, name: str, **more: object) -> Path:
    path = folder / "config.yaml"
    content = {
        "service": name,
        "kafka": {"bootstrap_servers": servers},
        "inputs": [{"topics": [f"{name}-in"]}],
        "monitors": [{"name": "error-rate", "signal": "error", "detector": "adwin"}],
        **more,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def streamwatch(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streamwatch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_tail_shows_what_is_committed_from_all_partitions_and_goes_on(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    servers, topic = broker.bootstrap_servers, f"{unique}-alerts"
    create_topic(servers, topic, partitions=2)
    values = [msgspec.json.encode(alert(model=f"m{n}")) for n in range(4)]
    aborted = KafkaProducer(bootstrap_servers=servers, transactional_id=unique, bootstrap_timeout_ms=10_000)
    aborted.init_transactions()
    aborted.begin_transaction()
    aborted.send(topic, msgspec.json.encode(alert(model="aborted")), partition=0).get(timeout=10)
    aborted.abort_transaction()
    aborted.close()
    produce(servers, topic, values)
    with streamwatch("tail", configured(tmp_path, servers, unique), "--from-start", "--json") as process:
        try:
            assert process.stdout
            shown = [json.loads(process.stdout.readline())["subject"] for _ in range(4)]
            assert sorted(shown) == ["m0", "m1", "m2", "m3"]
            produce(servers, topic, [msgspec.json.encode(alert(model="later"))])
            assert json.loads(process.stdout.readline())["subject"] == "later"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("command", [["tail"], ["check", "--connect"]])
def test_a_topic_that_is_missing_ends_with_3_and_is_named(
    broker: SharedBroker, unique: str, tmp_path: Path, command: list[str]
) -> None:
    with streamwatch(*command, configured(tmp_path, broker.bootstrap_servers, unique)) as process:
        _, text = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"{unique}-alerts" in text if command == ["tail"] else f"{unique}-in" in text
    assert "Traceback" not in text


def test_check_says_that_the_broker_has_what_it_needs(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    servers = broker.bootstrap_servers
    create_topic(servers, f"{unique}-in")
    with streamwatch("check", "--connect", configured(tmp_path, servers, unique)) as process:
        out, text = process.communicate(timeout=60)
    assert (process.returncode, text) == (0, "")
    assert out.splitlines()[-1] == f"the broker at {servers} has what it needs"


def test_check_tells_whether_what_waits_for_labels_has_room_at_the_rate_of_the_last_minutes(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """600 records in 10 minutes and an hour of waiting: 3,600; what came before does not count."""
    servers, now_ms = broker.bootstrap_servers, int(time.time() * 1000)
    create_topic(servers, f"{unique}-in", 2)
    create_topic(servers, f"{unique}-labels", 2)
    ages_s = [*range(700, 1_000), *range(1, 591)]
    at = [
        Written(b"{}", partition=age_s % 2, timestamp_ms=now_ms - age_s * 1000)
        for age_s in sorted(ages_s)[::-1]
    ]
    produce(servers, f"{unique}-in", at)
    inputs = [{"topics": [f"{unique}-in"]}, {"topics": [f"{unique}-labels"], "kind": "labels"}]
    for most, fits in ((4_000, True), (1_000, False)):
        models = {"fraud": {"labels": {"wait": "1h", "most": most}}}
        path = configured(tmp_path, servers, unique, inputs=inputs, models=models)
        done = cli("check", "--connect", path)
        assert done.exit_code == 0, done.output
        (line,) = [
            line for line in (done.stdout if fits else done.stderr).splitlines() if "in the last 10m" in line
        ]
        assert "0.98 records a second" in line
        assert ("4,000 may" if fits else "`sample: 28%` would fit") in line
        assert line.startswith("warning: ") is not fits
