"""`streamwatch run` as a process on a real broker: its start, its end, and a broker that is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kafka import KafkaConsumer, TopicPartition

from tests.broker import Broker, wait_until
from tests.conftest import SharedBroker
from tests.topics import Written, create_topic, produce, read_committed

GOOD = b'{"model": "fraud", "prediction": 1, "label": 1}'
BAD = b"not json"
ENDS_WITHIN_S = 10.0


class Service:
    """A running `streamwatch run`, with the lines that it has logged."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.other: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for text in self.process.stderr:
            with self._more:
                if text.startswith("{"):
                    self.lines.append(json.loads(text))
                else:
                    self.other.append(text)
                self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def line(self, event: str, after: int = 0, within_s: float = 40.0) -> dict[str, Any]:
        """The first line of that kind, from line `after` on; waits for it."""
        with self._more:
            self._more.wait_for(lambda: self._find(event, after) or self._over(), within_s)
            line = self._find(event, after)
        assert line, f"no line {event!r}: {self.lines[after:]} {''.join(self.other)}"
        return line

    def _find(self, event: str, after: int) -> dict[str, Any] | None:
        return next((line for line in self.lines[after:] if line["event"] == event), None)

    def _over(self) -> bool:
        return not self._reader.is_alive()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.line("started")["http"] + path, timeout=10.0)

    def ready(self) -> bool:
        return self.get("/readyz").status_code == 200

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """The exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(60.0)
        took = time.monotonic() - began
        self._reader.join(10.0)
        return code, took

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@contextmanager
def service(
    folder: Path, servers: str, name: str, args: Sequence[str] = (), **more: Any
) -> Iterator[Service]:
    """Reads the topic `{name}-in`; ended when the block is left, whatever happened."""
    path = folder / f"{name}.yaml"
    content = {
        "service": name,
        "kafka": {"bootstrap_servers": servers},
        "inputs": [{"topics": [f"{name}-in"]}],
        "monitors": [{"name": "error-rate", "signal": "error", "detector": "adwin"}],
        "start": "earliest",
        "http": {"port": 0},
        **more,
    }
    path.write_text(yaml.safe_dump(content))
    with subprocess.Popen(
        [sys.executable, "-m", "streamwatch", "run", str(path), *args],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield Service(process)
        finally:
            process.kill()


def committed(servers: str, group: str, topic: str, partitions: Sequence[int] = (0,)) -> list[int | None]:
    consumer = KafkaConsumer(
        bootstrap_servers=servers, bootstrap_timeout_ms=10_000, group_id=group, enable_auto_commit=False
    )
    try:
        return [consumer.committed(TopicPartition(topic, number)) for number in partitions]
    finally:
        consumer.close(autocommit=False)


def test_a_life_from_the_first_commit_to_a_clean_end(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """What is processed when SIGTERM comes is committed, and a second life goes on behind it."""
    servers, topic = broker.bootstrap_servers, f"{unique}-in"
    create_topic(servers, topic)
    produce(servers, topic, [GOOD, BAD, GOOD])
    with service(tmp_path, servers, unique, commit_every="1h") as first:
        first.line("dead letter")
        wait_until(first.ready, 10.0, "the service is ready")
        assert first.get("/livez").status_code == 200
        produce(servers, topic, [GOOD] * 5)
        wait_until(lambda: "streamwatch_lag_records" in first.get("/metrics").text, 15.0, "the lag is shown")
        code, took = first.end()
    assert (code, first.other) == (0, [])
    assert took < ENDS_WITHIN_S
    assert first.line("stopped")["committed"] is True
    assert {line["service"] for line in first.lines} == {unique}
    order = [
        first.events.index(event) for event in ("started", "assigned", "restored", "stopping", "stopped")
    ]
    assert order == sorted(order)
    processed = first.line("stopped")["records"]
    assert committed(servers, unique, topic) == [processed]
    with service(tmp_path, servers, unique) as second:
        assert second.line("assigned")["first_start"] is False
        assert second.line("assigned")["offsets"] == {f"{topic}/0": processed, f"{unique}-control/0": 0}
        produce(servers, topic, [BAD])
        assert second.line("dead letter")["offset"] == 8
        assert second.end()[0] == 0
    letters = read_committed(servers, f"{unique}-dead-letters", at_least=2)
    assert [json.loads(letter.value)["offset"] for letter in letters] == [1, 8]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it_committed(
    broker: SharedBroker, unique: str, tmp_path: Path, number: signal.Signals
) -> None:
    servers = broker.bootstrap_servers
    create_topic(servers, f"{unique}-in")
    with service(tmp_path, servers, unique) as running:
        running.line("restored")
        code, took = running.end(number)
    assert (code, running.line("stopping")["signal"]) == (0, number.name)
    assert took < ENDS_WITHIN_S


def test_a_broker_that_is_away_is_waited_for(plain_broker: Broker, unique: str, tmp_path: Path) -> None:
    """Alive and not ready while it is away, at the start and later; ready again and going on when it is back."""
    servers, topic = plain_broker.bootstrap_servers, f"{unique}-in"
    create_topic(servers, topic)
    plain_broker.kill()
    with service(tmp_path, servers, unique) as running:
        assert running.line("failed")["error"] == "BrokerUnreachable"
        assert running.get("/livez").status_code == 200
        away = running.get("/readyz")
        assert away.status_code == 503
        assert servers in str(away.json()["reasons"])
        plain_broker.start()
        wait_until(running.ready, 40.0, "ready after the broker came")
        produce(servers, topic, [GOOD, BAD])
        running.line("dead letter")

        # Stopped in order this time, as for an upgrade: then clients are told of it, and ask for the new leader.
        plain_broker.stop()
        wait_until(lambda: not running.ready(), 60.0, "not ready without the broker")
        assert running.get("/livez").status_code == 200
        before = len(running.lines)
        plain_broker.start()
        wait_until(running.ready, 60.0, "ready after the broker came back")
        produce(servers, topic, [BAD])
        assert running.line("dead letter", after=before)["offset"] == 2
        code, took = running.end()
    assert code == 0
    assert took < ENDS_WITHIN_S


def test_a_signal_while_the_broker_is_away_ends_it_in_time(
    plain_broker: Broker, unique: str, tmp_path: Path
) -> None:
    servers, topic = plain_broker.bootstrap_servers, f"{unique}-in"
    create_topic(servers, topic)
    with service(tmp_path, servers, unique, commit_every="1h") as running:
        produce(servers, topic, [GOOD])
        wait_until(
            lambda: "streamwatch_stream_keys 1.0" in running.get("/metrics").text,
            30.0,
            "an event was processed",
        )
        plain_broker.kill()
        code, took = running.end()
    assert took < ENDS_WITHIN_S
    assert code == 3
    assert running.line("stopped")["committed"] is False


def test_workers_share_the_tasks_are_one_target_and_end_together(
    broker: SharedBroker, unique: str, tmp_path: Path
) -> None:
    """One that is killed is started again, and goes on where it was committed."""
    servers, topic = broker.bootstrap_servers, f"{unique}-in"
    create_topic(servers, topic, 2)
    kafka = {"bootstrap_servers": servers, "session_timeout_ms": 2_000}
    with service(
        tmp_path, servers, unique, ["--workers", "2"], tasks="per_partition", kafka=kafka
    ) as running:
        wait_until(running.ready, 30.0, "both workers are ready")
        wait_until(lambda: _held(running) == [1, 1], 20.0, "each has a task")
        produce(servers, topic, [Written(BAD, None, 0), Written(BAD, None, 1)])
        letters = [running.line("dead letter")]
        letters.append(running.line("dead letter", after=running.lines.index(letters[0]) + 1))
        assert sorted(line["worker"] for line in letters) == [0, 1]
        assert sorted(line["partition"] for line in letters) == [0, 1]

        victim = next(line["pid"] for line in running.lines if line.get("worker") == 1)
        before = len(running.lines)
        os.kill(victim, signal.SIGKILL)
        assert running.line("worker ended", after=before)["worker"] == 1
        assert running.line("started", after=before)["worker"] == 1
        wait_until(running.ready, 30.0, "both are ready again")
        code, took = running.end()
    assert (code, running.other) == (0, [])
    assert took < ENDS_WITHIN_S
    assert [line["committed"] for line in running.lines if line["event"] == "stopped"] == [True] * 3
    letters = read_committed(servers, f"{unique}-dead-letters", at_least=2)
    assert [json.loads(letter.value)["partition"] for letter in letters].count(1) == 1


def _held(running: Service) -> list[int]:
    lines = running.get("/metrics").text.splitlines()
    return [int(float(line.split()[1])) for line in lines if line.startswith("streamwatch_tasks{")]


@pytest.mark.parametrize("args", [(), ("--workers", "2")])
def test_a_missing_topic_ends_the_start_and_is_named(
    broker: SharedBroker, unique: str, tmp_path: Path, args: Sequence[str]
) -> None:
    with service(tmp_path, broker.bootstrap_servers, unique, args) as running:
        code = running.process.wait(15.0)
        refused = running.line("refused")
    assert code == 3
    assert f"{unique}-in" in refused["detail"]
    assert running.other == []


def test_a_port_in_use_ends_the_start(broker: SharedBroker, unique: str, tmp_path: Path) -> None:
    servers = broker.bootstrap_servers
    create_topic(servers, f"{unique}-in")
    port = int(servers.rpartition(":")[2])  # the broker itself listens there
    with service(tmp_path, servers, unique, http={"host": "localhost", "port": port}) as running:
        code = running.process.wait(15.0)
        refused = running.line("refused")
    assert code == 3
    assert "in use" in refused["detail"]
