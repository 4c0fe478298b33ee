"""One of several workers of one process: the service without a web of its own, which answers the process that started
it, and ends with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Literal

from streamwatch import logs
from streamwatch.cli.service import Outside, served
from streamwatch.config import Config
from streamwatch.errors import StreamwatchError
from streamwatch.logs import log
from streamwatch.metrics import Metrics
from streamwatch.web.health import Health
from streamwatch.web.together import Report

STARTED = -1


def work(
    config: Config,
    resume_from: Literal["mark", "committed"] | None,
    form: logs.Format,
    level: logs.Level,
    number: int,
    asked: Connection,
    news: Connection,
) -> None:
    """The body of a process; its exit code is that of a service. `asked` gets a number for each question and takes it
    back with the `Report`. `news` takes STARTED, or the exit code if the service was refused: then another try would
    be, too."""
    logs.configure(config.service, form, level, worker=number)

    def outside(health: Health, metrics: Metrics) -> Outside:
        news.send(STARTED)
        return Answers(asked, health, metrics)

    try:
        code = served(config, resume_from, outside)
    except StreamwatchError as error:
        log().critical("refused", error=type(error).__name__, detail=str(error))
        news.send(error.exit_code)
        code = error.exit_code
    sys.exit(code)


class Answers:
    """A thread that answers while the loop runs."""

    address = None

    def __init__(self, asked: Connection, health: Health, metrics: Metrics) -> None:
        self._asked = asked
        self._health = health
        self._metrics = metrics

    def start(self) -> None:
        threading.Thread(target=self._answer, name="answers", daemon=True).start()

    def close(self) -> None:
        """Until the process ends it can be asked."""

    def _answer(self) -> None:
        health = self._health
        while True:
            try:
                question = self._asked.recv()
                report = Report(health.alive, health.silent_s, health.not_ready(), self._metrics.text())
                self._asked.send((question, report))
            except (EOFError, OSError):
                log().warning("orphaned", detail="the process that started this worker is gone: it ends, too")
                os.kill(os.getpid(), signal.SIGTERM)
                return
