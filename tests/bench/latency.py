"""How long an event takes from its sending to its alert, visible to a consumer that reads committed.

    python -m tests.bench.latency [--rate 5000] [--seconds 30]

A producer sends `rate` events a second over 4 partitions, and a label a second to a topic of its own; the service runs
as users run it, 8 models x 4 ADWIN, with late labels. Five times a second an event goes to a model that nobody has
heard of for long and that jumps: it alarms at once, and the time counts from before its `send` until the alert topic's
consumer has its alert. Needs what the tests on a real broker need. Exit code 1 above 250 ms at the 99th percentile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.bench.events import PARTITIONS, events
from tests.bench.loop_streamwatch import config
from tests.broker import Broker, wait_until
from tests.topics import create_topic, produce

LIMIT_MS = 250.0
PROBES_A_SECOND = 5
QUIET = 40  # events of a probe's model before its jump


def watch(servers: str) -> dict[str, Any]:
    """The config of the throughput benchmark, with probes and late labels."""
    plain = config(servers, "predictions", "latency")
    probe = {"page_hinkley": {"min_instances": 30, "delta": 0.0, "threshold": 100.0, "scale": "none"}}
    return {
        **plain,
        "inputs": [*plain["inputs"], {"topics": ["labels"], "kind": "labels"}],
        "models": {"m0": {"labels": {"wait": "1h"}}, "*": {}},
        "monitors": [
            *plain["monitors"],
            {"name": "probe", "signal": "prediction", "detector": probe, "models": PROBES},
        ],
    }


PROBES: list[str] = []


def event(model: str, prediction: float) -> bytes:
    return json.dumps(
        {"model": model, "event_id": f"{model}-{time.time_ns()}", "prediction": prediction}
    ).encode()


class Seen(threading.Thread):
    """When the alert of each probe was there to be read."""

    def __init__(self, servers: str) -> None:
        super().__init__(daemon=True)
        self.at: dict[str, float] = {}
        self._servers = servers
        self._ended = threading.Event()

    def run(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level="read_committed",
            group_id=None,
            fetch_max_wait_ms=10,
        )
        part = TopicPartition("latency-alerts", 0)
        consumer.assign([part])
        consumer.seek_to_beginning(part)
        while not self._ended.is_set():
            for records in consumer.poll(timeout_ms=20).values():
                now = time.monotonic()
                for record in records:
                    alert = json.loads(record.value)
                    if alert["data"]["monitor"] == "probe":
                        self.at.setdefault(alert["data"]["model"], now)
        consumer.close()

    def end(self) -> None:
        self._ended.set()
        self.join(5)


def send(servers: str, rate: int, seconds: int) -> dict[str, float]:
    """When each probe was sent."""
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=2, acks="all")
    crowd = [written.value for written in events(20_000)]
    sent: dict[str, float] = {}
    began, count, labels = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        for number in range(count, due):
            producer.send("predictions", crowd[number % len(crowd)], partition=number % PARTITIONS)
        count = max(count, due)
        if int(now) > labels:
            labels = int(now)
            producer.send(
                "labels", json.dumps({"event_id": f"none-{labels}", "label": 1}).encode(), partition=0
            )
        if int(now * PROBES_A_SECOND) > len(sent):
            model = PROBES[len(sent)]
            sent[model] = time.monotonic()
            producer.send("predictions", event(model, 1000.0), partition=len(sent) % PARTITIONS)
        time.sleep(0.002)  # the pace of a load generator
    producer.flush(30)
    producer.close()
    return sent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    PROBES.extend(f"probe-{number}" for number in range(given.seconds * PROBES_A_SECOND + 1))
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        servers = broker.bootstrap_servers
        for topic, partitions in (("predictions", PARTITIONS), ("labels", 1)):
            create_topic(servers, topic, partitions)
        produce(servers, "predictions", [event(model, 0.0) for model in PROBES for _ in range(QUIET)])
        path, log = Path(folder, "config.yaml"), Path(folder, "log")
        path.write_text(yaml.safe_dump(watch(servers)))
        with log.open("w") as stderr:
            service = subprocess.Popen([sys.executable, "-m", "streamwatch", "run", str(path)], stderr=stderr)
        try:
            wait_until(lambda: '"event":"ready"' in log.read_text(), 60, "the service to be ready")
            seen = Seen(servers)
            seen.start()
            sent = send(servers, given.rate, given.seconds)
            wait_until(lambda: len(seen.at) >= len(sent), 30, "the alert of every probe")
            seen.end()
        finally:
            service.terminate()
            service.wait(15)
    took_ms = sorted((seen.at[model] - at) * 1000.0 for model, at in sent.items())
    half, most = statistics.median(took_ms), took_ms[int(len(took_ms) * 0.99)]
    print(json.dumps({"rate": given.rate, "probes": len(took_ms), "p50_ms": round(half, 1), "p99_ms": round(most, 1),
                      "max_ms": round(took_ms[-1], 1)}))  # fmt: skip
    return 0 if most < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
