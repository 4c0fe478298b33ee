"""How long alerts wait while three replicas are restarted one after the other, and whether all come, once.

    python -m tests.bench.rolling [--rounds 3] [--rate 1000]

Four tasks on three replicas as users run them. Ten times a second an event makes an alert at once (see `latency`);
meanwhile each replica gets SIGTERM, ends, is started anew, and is waited for until it is ready, before the next one.
Exit code 1 if an alert is missing, there twice, or came later than the session timeout.
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
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaProducer

from tests.bench.events import PARTITIONS, events
from tests.bench.latency import QUIET, Seen, event, watch
from tests.broker import Broker, wait_until
from tests.topics import Written, create_topic, produce, read_committed

REPLICAS = 3
PROBES_A_SECOND = 10
SESSION_S = 10.0  # the default


class Replica:
    def __init__(self, config: Path, folder: Path, number: int) -> None:
        self._config, self._folder, self._number, self._starts = config, folder, number, 0
        self.start()

    def start(self) -> None:
        self._starts += 1
        self._log = self._folder / f"{self._number}-{self._starts}.log"
        with self._log.open("w") as stderr:
            command = [sys.executable, "-m", "streamwatch", "run", str(self._config)]
            self._process = subprocess.Popen(command, stderr=stderr)

    def ready(self) -> bool:
        return '"event":"ready"' in self._log.read_text()

    def restart(self) -> None:
        self.end()
        self.start()
        wait_until(self.ready, 60, "the replica is ready again")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def end(self) -> None:
        self._process.terminate()
        code = self._process.wait(15)
        assert code == 0, f"a replica ended with {code}"


class Sender(threading.Thread):
    """Sends until told to end; `sent`: when each probe was."""

    def __init__(self, servers: str, probes: list[str], rate: int) -> None:
        super().__init__(daemon=True)
        self.sent: dict[str, float] = {}
        self._servers, self._probes, self._rate = servers, probes, rate
        self._over = threading.Event()

    def run(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._servers, linger_ms=2, acks="all")
        crowd = [(one.value, place(json.loads(one.value or b"")["model"])) for one in events(20_000)]
        began, count = time.monotonic(), 0
        while not self._over.wait(0.005):
            now = time.monotonic() - began
            for number in range(count, int(now * self._rate)):
                value, partition = crowd[number % len(crowd)]
                producer.send("predictions", value, partition=partition)
            count = int(now * self._rate)
            if int(now * PROBES_A_SECOND) > len(self.sent):
                model = self._probes[len(self.sent)]
                self.sent[model] = time.monotonic()
                producer.send("predictions", event(model, 1000.0), partition=place(model))
        producer.flush(30)
        producer.close()

    def end(self) -> None:
        self._over.set()
        self.join(60)


def place(model: str) -> int:
    """Its partition."""
    return zlib.crc32(model.encode()) % PARTITIONS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1_000)
    given = parser.parse_args()
    probes = [f"probe-{number}" for number in range(2_000)]
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        servers, folder = broker.bootstrap_servers, Path(name)
        for topic in ("predictions", "labels"):
            create_topic(servers, topic, PARTITIONS)
        sender = Sender(servers, probes, given.rate)
        config: dict[str, Any] = {
            **watch(servers),
            "tasks": "per_partition",
            "http": None,
            "max_stream_keys": 100_000,
        }
        config["monitors"][-1]["models"] = probes
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        quiet = [Written(event(model, 0.0), None, place(model)) for model in probes for _ in range(QUIET)]
        produce(servers, "predictions", quiet)
        replicas = [Replica(path, folder, number) for number in range(REPLICAS)]
        try:
            for replica in replicas:
                wait_until(replica.ready, 90, "every replica is ready")
            seen = Seen(servers)
            seen.start()
            sender.start()
            time.sleep(3)  # some alerts of an undisturbed time
            for _ in range(given.rounds):
                for replica in replicas:
                    replica.restart()
            time.sleep(3)
            sender.end()
            wait_until(lambda: len(seen.at) >= len(sender.sent), 60, "the alert of every probe")
            seen.end()
            for replica in replicas:
                replica.end()
        finally:
            for replica in replicas:
                replica.kill()
        alerts = Counter(
            body["data"]["model"]
            for record in read_committed(servers, "latency-alerts")
            if (body := json.loads(record.value))["data"]["monitor"] == "probe"
        )
    took_s = sorted(seen.at[model] - at for model, at in sender.sent.items())
    missing = sender.sent.keys() - alerts.keys()
    twice = [model for model in sender.sent if alerts[model] > 1]
    told = {"probes": len(took_s), "missing": len(missing), "twice": len(twice),
            "p50_s": round(statistics.median(took_s), 3), "p99_s": round(took_s[int(len(took_s) * 0.99)], 3),
            "max_s": round(took_s[-1], 3), "restarts": given.rounds * REPLICAS}  # fmt: skip
    print(json.dumps(told))
    return int(bool(missing or twice or took_s[-1] > SESSION_S))


if __name__ == "__main__":
    sys.exit(main())
