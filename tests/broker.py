"""A real Kafka broker (KRaft, one node) for tests: starts in about two seconds, can be killed and restarted.

The jars come from Maven once, into a folder outside the checkout that all test runs share. The JVM's class
archive (AppCDS) lies beside them. Nothing is shared between brokers but these files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

KAFKA = "4.3.1"
CLUSTER_ID = "c3RyZWFtd2F0Y2gtdGVzdA"
NEEDED = (
    "Tests on a real broker need Java 17 or newer and Maven (Debian: apt install default-jre-headless maven)"
)
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamwatch</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
  </dependency></dependencies>
</project>
"""
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xlog:disable")
# A killed broker is fenced after its session; later by at most this.
SESSION_S = 1.5
CONTROLLER = 100  # the node id of a controller that is a process of its own
# The default of 50 partitions makes the first join take 3.5 s; a restarted broker waits for its old session
# to end, 9 s by default.
SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "auto.create.topics.enable": "false",
}


T = TypeVar("T")


class BrokerError(Exception):
    pass


def wait_until(predicate: Callable[[], T], within_s: float = 30.0, what: str = "") -> T:
    """The first true answer of `predicate`, asked every 20 ms; AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or predicate}")
        time.sleep(0.02)
    return answer


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is inside; the lock goes with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "streamwatch-tests" / f"kafka-{KAFKA}"


def free_port() -> int:
    """A port that nobody has, below the range of outgoing connections: from within that range, a client that
    reconnects to a broker that is down can connect to itself and take the port away."""
    try:
        below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        below = 32768
    while True:
        port = random.SystemRandom().randrange(10_000, below) if below > 11_000 else 0
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(candidate.getsockname()[1])


def classpath(artifact: str = "kafka_2.13") -> str:
    """The jars of the broker (or of `kafka-tools`), fetched by Maven at the first call on this machine."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise BrokerError(f"{tool} is not installed. {NEEDED}.")
    jars = cache() / artifact
    with locked(jars.with_name(f"{artifact}.lock")):
        if not jars.is_dir():
            _fetch(artifact, jars)
    return os.pathsep.join(str(jar) for jar in sorted(jars.glob("*.jar")))


def _fetch(artifact: str, jars: Path) -> None:
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        pom, fresh = Path(folder, "pom.xml"), Path(folder, "jars")
        pom.write_text(POM.format(artifact=artifact, version=KAFKA))
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(pom),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={fresh}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise BrokerError(f"Maven could not fetch Kafka {KAFKA}. {NEEDED}.\n{done.stdout}{done.stderr}")
        fresh.rename(jars)


def class_archive(jars: str) -> Path:
    """Where the JVM's class archive for these jars and this Java lies; made at the first call (4 s)."""
    java = Path(shutil.which("java") or "java").resolve()
    path = (
        cache()
        / f"classes-{hashlib.sha256(f'{java}{java.stat().st_mtime}{jars}'.encode()).hexdigest()[:12]}.jsa"
    )
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            fresh = path.with_suffix(".new")
            with Broker(jvm=(f"-XX:ArchiveClassesAtExit={fresh}",), archive=False) as training:
                training.stop()
            fresh.touch()  # a Java that cannot make one: do not try again
            fresh.rename(path)
    return path


@dataclass(frozen=True)
class Tls:
    """PEM files: `keystore` holds the broker's key and certificate, `ca` the authority of both sides."""

    keystore: Path
    ca: Path


@dataclass
class Broker:
    """One broker with its own folder and ports. A context manager: started inside, gone after.

    Listeners: PLAINTEXT always (with `acls` its clients are super users, so that tests can set things up);
    SASL if there are `users` (PLAIN and SCRAM-SHA-512); SSL, and MTLS which wants a client certificate, if there
    is `tls`; FAR, whose clients are sent on to an address where nobody listens, if `far`.
    `parent`: the process with which the broker ends, should that be killed.
    `joins`: the broker, `apart`, whose controller is this one's, too; `number` is the node id. See `cluster`.
    `apart`: the controller is a process of its own, which outlives a kill. For tests that kill the broker while
    transactions commit: a node that is both leads its partitions for a moment when it restarts before its old session
    has ended, is then fenced, takes the partitions without a leader for deleted ones, and completes the transactions
    without their markers (4.3.1 logs "these partitions are likely deleted already and hence can be skipped"): what
    was committed is then neither visible nor aborted, and the group's offsets stay undecided for ever.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    tls: Tls | None = None
    acls: bool = False
    far: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    jvm: Sequence[str] = ()
    archive: bool = True
    apart: bool = False
    number: int = 1
    joins: Broker | None = None
    parent: int = field(default_factory=os.getpid)
    folder: Path | None = None
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    controller: subprocess.Popen[bytes] | None = None
    killed_at: float = float("-inf")

    def address(self, listener: str = "PLAINTEXT") -> str:
        return f"localhost:{self.ports[listener]}"

    @property
    def bootstrap_servers(self) -> str:
        return self.address()

    @property
    def pid(self) -> int:
        if self.process is None:
            raise BrokerError("the broker is not started")
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self, within_s: float = 60.0) -> Broker:
        """Ready when it returns. After a kill or stop it starts again on the same data and ports."""
        jars = classpath()
        archive = class_archive(jars) if self.archive else None
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="streamwatch-kafka-"))
            self._format(jars)
        command = ["java", *JVM, *self.jvm]
        if archive is not None and archive.stat().st_size:
            command.append(f"-XX:SharedArchiveFile={archive}")
        command += ["-cp", jars, "kafka.Kafka"]
        if self.apart and self.controller is None:
            self.controller = self._process([*command, str(self.folder / "controller.properties")])
        if self._only_broker:
            time.sleep(max(0.0, self.killed_at + SESSION_S - time.monotonic()))
        self.process = self._process([*command, str(self.folder / "server.properties")])
        try:
            wait_until(self._ready, within_s, "the broker is ready")
        except AssertionError as late:
            self.kill()
            raise BrokerError(f"the broker was not ready within {within_s:g} s\n{self.log()}") from late
        return self

    def _process(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        assert self.folder is not None
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal ends the tests first, and they end the broker.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )
        self._end_with_parent(process.pid)
        return process

    def kill(self) -> None:
        """kill -9: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)
        self.killed_at = time.monotonic()

    def pause(self) -> None:
        """SIGSTOP, until `go_on`: to the others it is as one that cannot be reached."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, within_s: float = 20.0) -> None:
        """A clean end."""
        self._end(signal.SIGTERM, within_s)

    def restart(self) -> None:
        """kill -9, and again on the same data and ports."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """The end of it and of its data. Safe to call twice."""
        self.kill()
        if self.controller is not None:
            self.controller.kill()
            self.controller.wait(20.0)
            self.controller = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    @property
    def log_file(self) -> Path:
        return Path(self.folder or "", "broker.log")

    def log(self) -> str:
        path = self.log_file
        return path.read_text(errors="replace")[-4000:] if self.folder and path.exists() else ""

    def _end(self, how: signal.Signals, within_s: float = 20.0) -> None:
        if self._signal(how):
            assert self.process is not None
            self.process.wait(within_s)

    def _signal(self, number: signal.Signals) -> bool:
        """Whether it runs."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def _end_with_parent(self, pid: int) -> None:
        watch = 'while kill -0 "$1"; do kill -0 "$2" || exit; sleep 1; done; kill -9 "$2"; rm -rf "$3"'
        subprocess.Popen(
            ["sh", "-c", watch, "watch", str(self.parent), str(pid), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    @property
    def _only_broker(self) -> bool:
        """The controller is another process."""
        return self.apart or self.joins is not None

    def _ready(self) -> bool:
        if not self.running:
            raise BrokerError(
                f"the broker ended with {self.process and self.process.returncode}\n{self.log()}"
            )
        try:
            with socket.create_connection(("localhost", self.ports["PLAINTEXT"]), timeout=1):
                pass
        except OSError:
            return False
        return brokers_known(self.bootstrap_servers) > 0

    def _format(self, jars: str) -> None:
        assert self.folder is not None
        listeners = ["PLAINTEXT", "CONTROLLER"]
        listeners += ["SASL"] if self.users else []
        listeners += ["SSL", "MTLS"] if self.tls else []
        listeners += ["FAR"] if self.far else []
        self.ports.update({name: free_port() for name in listeners})
        if self.joins is not None:
            self.ports["CONTROLLER"] = self.joins.ports["CONTROLLER"]
        files = {"server.properties": self._properties()}
        if self.apart:
            files["controller.properties"] = {**SETTINGS, **self.settings, **self._controller_properties()}
        for name, properties in files.items():
            (self.folder / name).write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
            self._format_one(jars, self.folder / name, properties)

    def _format_one(self, jars: str, path: Path, properties: Mapping[str, str]) -> None:
        """As the tool formats a folder. What it writes names no port and no place, and is kept: each call of the tool
        costs a second."""
        told = [jars, properties["process.roles"], properties["node.id"], *sorted(self.users.items())]
        kept = cache() / f"formatted-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"
        with locked(kept.with_suffix(".lock")):
            if not kept.exists():
                self._format_by_tool(jars, path)
                fresh = kept.with_suffix(".new")
                shutil.copytree(properties["log.dirs"], fresh, dirs_exist_ok=True)
                fresh.rename(kept)
        shutil.copytree(kept, properties["log.dirs"], dirs_exist_ok=True)

    def _format_by_tool(self, jars: str, path: Path) -> None:
        command = [
            "java",
            *JVM,
            "-cp",
            jars,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
            str(path),
        ]
        for user, password in self.users.items():
            command += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise BrokerError(f"the broker's folder could not be formatted: {done.stdout}{done.stderr}")

    def _controller_properties(self) -> dict[str, str]:
        return {
            "process.roles": "controller",
            "node.id": str(CONTROLLER),
            "log.dirs": f"{self.folder}/controller",
            "listeners": f"CONTROLLER://localhost:{self.ports['CONTROLLER']}",
            "controller.quorum.voters": f"{CONTROLLER}@localhost:{self.ports['CONTROLLER']}",
        }

    def _properties(self) -> dict[str, str]:
        protocols = {"SASL": "SASL_PLAINTEXT", "MTLS": "SSL", "CONTROLLER": "PLAINTEXT", "FAR": "PLAINTEXT"}
        own = {
            "node.id": str(self.number),
            "log.dirs": f"{self.folder}/data",
            "listeners": ",".join(
                f"{name}://localhost:{port}"
                for name, port in self.ports.items()
                if name != "CONTROLLER" or not self._only_broker
            ),
            "advertised.listeners": ",".join(
                f"{name}://localhost:{1 if name == 'FAR' else port}"
                for name, port in self.ports.items()
                if name != "CONTROLLER"
            ),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocols.get(name, name)}" for name in self.ports
            ),
            "controller.quorum.voters": f"{CONTROLLER if self._only_broker else self.number}"
            f"@localhost:{self.ports['CONTROLLER']}",
        }
        if self._only_broker:
            own["process.roles"] = "broker"
        if self.users:
            module = "org.apache.kafka.common.security"
            users = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
            own["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-512"
            own["listener.name.sasl.plain.sasl.jaas.config"] = (
                f"{module}.plain.PlainLoginModule required {users};"
            )
            own["listener.name.sasl.scram-sha-512.sasl.jaas.config"] = (
                f"{module}.scram.ScramLoginModule required;"
            )
        if self.tls:
            own["ssl.keystore.type"] = own["ssl.truststore.type"] = "PEM"
            own["ssl.keystore.location"] = str(self.tls.keystore)
            own["ssl.truststore.location"] = str(self.tls.ca)
            own["listener.name.mtls.ssl.client.auth"] = "required"
        if self.acls:
            own["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            own["super.users"] = "User:ANONYMOUS"
        return {**SETTINGS, **own, **self.settings}


def brokers_known(bootstrap_servers: str) -> int:
    """How many brokers the cluster's metadata names; 0 while it does not answer."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=2_000)
    except KafkaError:
        return 0
    try:
        return len(admin.describe_cluster()["brokers"])
    except KafkaError:
        return 0
    finally:
        admin.close()
