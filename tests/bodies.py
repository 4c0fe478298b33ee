"""What worker processes do in tests, without the service: a spawned process imports this, and it must be light."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

STARTED = -1


def stays(code: int, asked: Any, news: Any) -> None:
    """Answers, until SIGTERM; then it ends with this code."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    news.send(STARTED)
    while not over.is_set():
        asked.send((asked.recv(), None))


def deaf(code: int, asked: Any, news: Any) -> None:
    """Never answers."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    news.send(STARTED)
    threading.Event().wait()


def is_refused(code: int, asked: Any, news: Any) -> None:
    news.send(code)
    sys.exit(code)


def crashes(code: int, asked: Any, news: Any) -> None:
    news.send(STARTED)
    os.kill(os.getpid(), signal.SIGKILL)
