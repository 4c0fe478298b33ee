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
import shlex
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml
from kafka import KafkaConsumer, TopicPartition

from tests.broker import Broker, free_port, wait_until
from tests.docker.stream import BAD, DOCKER, PARTITIONS, config, record, records
from tests.topics import create_topic, produce, read_committed

MEMORY = 256 * 2**20
USER = 4711  # any: the image names no user that must exist
REPLAYED = ("config.yaml", "recorded.jsonl")


def confined(engine: list[str], more: list[str], folder: Path, servers: str) -> list[str]:
    """`run` with what the shipped manifests allow to the service, and no more."""
    return [
        *engine, "run", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--user", f"{USER}:{USER}", "--memory", str(MEMORY), "--memory-swap", str(MEMORY),
        "--network", "host", "--volume", f"{folder}:/etc/streamwatch:ro", "--env", f"KAFKA={servers}", *more,
    ]  # fmt: skip


@contextlib.contextmanager
def container(engine: list[str], run: list[str], image: str) -> Iterator[str]:
    name = f"streamwatch-trial-{uuid.uuid4().hex[:8]}"
    said([*run, "--detach", "--name", name, image])
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
        run = confined(engine, more, folder, servers)
        web = f"http://127.0.0.1:{port}"
        with prometheus(folder, f"127.0.0.1:{port}") as address:
            began = time.monotonic()
            with container(engine, run, image) as name:

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
                expect("records overtaken", count(web, "overtaken_records_total"), 0)
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
        record(folder, sent)
        offline = said([*run, "--rm", image, "replay", *(f"/etc/streamwatch/{name}" for name in REPLAYED)])
        expect(
            f"alerts: {len(written)}, those of the replay",
            sorted(written),
            sorted(json.loads(line)["id"] for line in offline.splitlines()),
        )


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
