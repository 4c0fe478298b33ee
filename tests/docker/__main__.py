"""The image on trial: read-only, without rights, any user id, 256 MiB, beside a real broker and a real Prometheus.

    docker build -f docker/Dockerfile -t streamwatch .
    python -m tests.docker --image streamwatch --engine docker

Needs Java and Maven (tests.broker), a container engine on this machine (the container shares its network), and
prometheus with promtool. It ends with 0 when every line is true, and says what it measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from kafka import KafkaConsumer, TopicPartition

from tests.broker import Broker, free_port, wait_until
from tests.topics import Written, create_topic, produce, read_committed

DOCKER = Path(__file__).parent.parent.parent / "docker"
MEMORY = 256 * 2**20
USER = 4711  # any: the image names no user that must exist
BAD = 3
PARTITIONS = 4


def config(port: int) -> dict[str, Any]:
    """The central config as shipped, but for the listener of the broker, the port, and where it starts."""
    shipped = yaml.safe_load((DOCKER / "kubernetes" / "central" / "config.yaml").read_text())
    shipped["monitors"].append(
        {"name": "by-country", "signal": "score", "detector": "adwin", "by": ["country"]}
    )
    return {
        **shipped,
        "kafka": {"bootstrap_servers": "${KAFKA}"},
        "http": {"host": "127.0.0.1", "port": port},
        "start": "earliest",
    }


def records(events: int) -> list[Written]:
    """Eight models, one of which becomes wrong half way, and `BAD` records that are no events. Times rise to now."""
    draw = random.Random(1)
    start_ms = int(time.time() * 1000) - events
    found = []
    for i in range(events):
        model = i % 8
        label = int(draw.random() < 0.3)
        wrong = draw.random() < (0.4 if model == 5 and i > events / 2 else 0.08)
        body: dict[str, Any] = {
            "event_id": f"e{i}", "model": f"m{model}", "model_version": "3", "timestamp": start_ms + i,
            "prediction": 1 - label if wrong else label, "label": label, "score": round(draw.betavariate(2, 5), 3),
            "features": {"amount": round(draw.gauss(50, 9), 2), "country": draw.choice(("DE", "AT", "FR"))},
        }  # fmt: skip
        value = b"not json" if i % (events // BAD) == 7 else json.dumps(body).encode()
        found.append(Written(value, partition=i % PARTITIONS, timestamp_ms=start_ms + i))
    return found


def replayed(folder: Path, sent: Sequence[Written]) -> list[str]:
    """The ids of the alerts that the same records give offline."""
    offsets = [0] * PARTITIONS
    with (folder / "recorded.jsonl").open("w") as out:
        for record in sent:
            assert record.partition is not None
            assert record.value is not None
            line = {
                "topic": "predictions", "partition": record.partition, "offset": offsets[record.partition],
                "timestamp": record.timestamp_ms, "value": record.value.decode(),
            }  # fmt: skip
            if record.value.startswith(b"{"):
                line["value"] = json.loads(record.value)
            offsets[record.partition] += 1
            out.write(json.dumps(line) + "\n")
    command = [sys.executable, "-m", "streamwatch", "replay", "config.yaml", "recorded.jsonl"]
    done = subprocess.run(
        command, cwd=folder, env={"KAFKA": "unused:9092"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


@contextlib.contextmanager
def container(engine: list[str], more: list[str], image: str, folder: Path, servers: str) -> Iterator[str]:
    name = f"streamwatch-trial-{uuid.uuid4().hex[:8]}"
    command = [
        *engine, "run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--user", f"{USER}:{USER}",
        "--memory", str(MEMORY), "--memory-swap", str(MEMORY), "--network", "host",
        "--volume", f"{folder}/config.yaml:/etc/streamwatch/config.yaml:ro", "--env", f"KAFKA={servers}",
        *more, image,
    ]  # fmt: skip
    said(command)
    try:
        yield name
    except BaseException:
        subprocess.run([*engine, "logs", "--tail", "20", name], check=False)
        raise
    finally:
        subprocess.run([*engine, "rm", "--force", name], capture_output=True, check=False)


def said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A real one with the shipped rules; its address."""
    shipped = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())
    shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    shipped["rule_files"] = [str(DOCKER / "prometheus" / "rules.yaml")]
    shipped["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(shipped))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            "prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={address}",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def firing(address: str) -> set[str]:
    try:
        found = httpx.get(f"{address}/api/v1/alerts").json()["data"]["alerts"]
    except httpx.TransportError:
        return set()
    return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}


def offsets(servers: str, group: str) -> tuple[dict[int, int], dict[int, int]]:
    """(committed, ends) by partition."""
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
    try:
        parts = [TopicPartition("predictions", number) for number in range(PARTITIONS)]
        ends = consumer.end_offsets(parts)
        return {p.partition: consumer.committed(p) for p in parts}, {p.partition: ends[p] for p in parts}
    finally:
        consumer.close()


def peak_mib(engine: list[str], name: str) -> float:
    """The most memory that the service has had at once, as the kernel counts it (VmHWM)."""
    pid = said([*engine, "inspect", "--format", "{{.State.Pid}}", name])
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def trial(engine: list[str], more: list[str], image: str, events: int) -> None:
    with tempfile.TemporaryDirectory() as given, Broker() as broker:
        folder, servers, port = Path(given), broker.bootstrap_servers, free_port()
        folder.chmod(0o755)
        (folder / "config.yaml").write_text(yaml.safe_dump(config(port), sort_keys=False))
        create_topic(servers, "predictions", PARTITIONS)
        sent = records(events)
        web = f"http://127.0.0.1:{port}"
        with prometheus(folder, f"127.0.0.1:{port}") as address:
            began = time.monotonic()
            with container(engine, more, image, folder, servers) as name:

                def ready() -> bool:
                    running = said([*engine, "inspect", "--format", "{{.State.Running}}", name])
                    expect("the container runs", running, "true", told=False)
                    with contextlib.suppress(httpx.TransportError):
                        return httpx.get(f"{web}/readyz").status_code == 200
                    return False

                wait_until(ready, 60, "the container to be ready")
                tell("ready after", f"{time.monotonic() - began:.1f} s")
                produce(servers, "predictions", sent)
                wait_until(lambda: count(web, "records_total") == events, 120, "all records to be processed")
                wait_until(
                    lambda: {"StreamwatchDriftOpen", "StreamwatchDeadLetters"} <= firing(address),
                    60,
                    "the rules",
                )
                tell("rules that fire in Prometheus", ", ".join(sorted(firing(address))))
                checked = subprocess.run(
                    ["promtool", "check", "metrics"],
                    input=httpx.get(f"{web}/metrics").content,
                    capture_output=True,
                    check=False,
                )
                expect(
                    "promtool check metrics", (checked.returncode, checked.stdout + checked.stderr), (0, b"")
                )
                peak = peak_mib(engine, name)
                tell("peak of memory", f"{peak:.0f} MiB of {MEMORY // 2**20}, {events:,} events")
                asked = time.monotonic()
                said([*engine, "kill", "--signal", "TERM", name])
                code = int(said([*engine, "wait", name]))
                took = time.monotonic() - asked
                expect("exit code after SIGTERM", code, 0)
                expect(f"ended within 10 s ({took:.1f} s)", took < 10, True)
        committed, ends = offsets(servers, "models-watch")
        expect("committed offsets are the ends", committed, ends)
        letters = read_committed(servers, "models-watch-dead-letters")
        expect("dead letters", len(letters), BAD)
        written = [json.loads(r.value)["id"] for r in read_committed(servers, "models-watch-alerts")]
        expect(f"{len(written)} alerts, those of the replay", sorted(written), sorted(replayed(folder, sent)))


def count(web: str, name: str) -> float:
    found = [
        line
        for line in httpx.get(f"{web}/metrics").text.splitlines()
        if line.startswith(f"streamwatch_{name} ")
    ]
    return float(found[0].split()[1])


def tell(what: str, text: str) -> None:
    print(f"{what}: {text}", flush=True)


def expect(what: str, found: object, wanted: object, told: bool = True) -> None:
    if found != wanted:
        raise SystemExit(f"FAILED: {what}: expected {wanted!r}, got {found!r}")
    if told:
        tell(what, "yes" if wanted is True or not isinstance(wanted, int) else str(wanted))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.docker", description=__doc__)
    parser.add_argument("--image", default="streamwatch")
    parser.add_argument("--engine", default="docker", help="docker, podman, 'podman --runtime runc', ...")
    parser.add_argument(
        "--more", default="", help="further options of `run`, such as --read-only-tmpfs=false"
    )
    parser.add_argument("--events", type=int, default=400_000)
    given = parser.parse_args()
    trial(shlex.split(given.engine), shlex.split(given.more), given.image, given.events)


if __name__ == "__main__":
    main()
