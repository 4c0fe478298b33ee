"""The end of a process that hangs (kafka-python's commit can wait for ever): a restart is the recovery."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable

from streamwatch.web.health import Health


class Watchdog:
    """Calls `hang(stack)` once when the loop has made no progress for the limit of `health`.

    `hang` gets the stack of the thread that started the watchdog, which is the loop's, and ends the process.
    """

    def __init__(self, health: Health, hang: Callable[[str], object]) -> None:
        self._health = health
        self._hang = hang
        self._over = threading.Event()

    def start(self) -> None:
        loop = threading.get_ident()
        threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _watch(self, loop: int) -> None:
        while not self._over.wait(min(1.0, self._health.limit_s / 10)):
            if not self._health.alive:
                frame = sys._current_frames().get(loop)
                self._hang("".join(traceback.format_stack(frame)) if frame else "the loop's thread is gone")
                return
