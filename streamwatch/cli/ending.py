"""How a service ends: by a signal, committed within a deadline, or at once when that cannot be had."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from streamwatch import logs

# The platform gives 10 s from SIGTERM in the contract; one is kept for telling why and for Python's own ending.
DEADLINE_S = 9.0
TELL_S = 0.5
UNCOMMITTED = 3
# Two signals so close together are one wish: `timeout` and some supervisors signal a process and its group.
ECHO_S = 1.0


def tell(level: str, event: str, **fields: Any) -> None:
    """A log line, waited for only briefly: whoever hangs may hang in writing one, and holds the log's lock then."""

    def write() -> None:
        getattr(logs.log(), level)(event, **fields)

    _briefly(write)


def end_now(code: int) -> None:
    """End the process without Python's ending, which would wait for a thread or a call that hangs."""

    def flush() -> None:
        logs.end()
        sys.stdout.flush()

    _briefly(flush)
    os._exit(code)


def _briefly(act: Callable[[], None]) -> None:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(TELL_S)


class Ending:
    """Sets `stop` at the first SIGTERM or SIGINT; at the deadline, or at another that is no echo of the
    first, calls `end`, which ends the process.

    A signal's handler only writes to a socket: setting a `threading.Event` in it can lock up the thread that
    waits for the same event.
    """

    def __init__(
        self,
        told: Callable[[], object],
        deadline_s: float = DEADLINE_S,
        end: Callable[[int], object] = end_now,
        echo_s: float = ECHO_S,
    ) -> None:
        self.stop = threading.Event()
        self._told = told
        self._deadline_s = deadline_s
        self._end = end
        self._echo_s = echo_s
        self._reader, self._writer = socket.socketpair()
        self._thread = threading.Thread(target=self._wait, name="ending", daemon=True)

    def listen(self) -> None:
        """Only from the main thread."""
        self._thread.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def over(self) -> None:
        """The ending is done: the deadline does not count any more."""
        self._writer.send(b"\0")
        self._thread.join(1.0)

    def _heard(self, number: int, _: FrameType | None) -> None:
        self._writer.send(bytes([number]))

    def _wait(self) -> None:
        number = self._reader.recv(1)[0]
        if not number:
            return
        self._told()
        self.stop.set()
        tell("info", "stopping", signal=signal.Signals(number).name)
        deadline = time.monotonic() + self._deadline_s - TELL_S
        again_at = time.monotonic() + self._echo_s
        while True:
            heard, _, _ = select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))
            if heard and not self._reader.recv(1)[0]:
                return
            if not heard or time.monotonic() >= again_at:
                break
        late = f"the last commit did not return in {self._deadline_s:g} s"
        why = f"{'a second signal came' if heard else late}: ended as by a crash; the next start goes on"
        tell("critical", "stopped", committed=False, detail=why)
        self._end(UNCOMMITTED)
