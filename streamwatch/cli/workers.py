"""`streamwatch run --workers N`: N processes of the service, started, watched, started again, and ended together.

Spawned, not forked: a fork breaks the clients of kafka-python. A worker that ends by itself is started again after a
backoff. One that is refused (config, rights, state) would be so again: it ends all, and its exit code is the one of
all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Literal

from streamwatch import __version__, logs
from streamwatch.cli.ending import DEADLINE_S, UNCOMMITTED, Ending, end_now
from streamwatch.cli.worker import STARTED, work
from streamwatch.config import Config
from streamwatch.errors import StreamwatchError
from streamwatch.logs import log
from streamwatch.runner import FORGIVEN_S, backoff_s
from streamwatch.web.server import Server
from streamwatch.web.together import Report, Reports, application

TURN_S = 0.2
ANSWER_S = 2.0
# The workers have the deadline of a service, a moment after us; ours is for those that miss theirs.
LATER_S = 0.8


def supervise(
    config: Config,
    count: int,
    resume_from: Literal["mark", "committed"] | None,
    form: logs.Format,
    level: logs.Level,
) -> int:
    """The exit code: 0 only if all workers ended committed."""
    logs.configure(config.service, form, level)
    if config.tasks == "one":
        detail = "with tasks: one a single worker has all the work and the others stand by; see tasks: per_partition"
        log().warning("standbys", workers=count, detail=detail)

    def start(number: int, first: bool, asked: Connection, news: Connection) -> SpawnProcess:
        answer = resume_from if first else None
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(config, answer, form, level, number, asked, news), name=f"worker-{number}"
        )
        process.start()
        return process

    workers = Workers(count, start, config.watchdog)
    ending = Ending(lambda: None, DEADLINE_S + LATER_S, workers.end_now)
    ending.listen()
    server = Server(config.http, application(workers.reports)) if config.http else None
    try:
        if server:
            server.start()
        log().info(
            "started",
            version=__version__,
            config=config.digest,
            workers=count,
            http=server.address if server else None,
            pid=os.getpid(),
        )
        code = workers.run(ending.stop)
    except StreamwatchError as error:
        log().critical("refused", error=type(error).__name__, detail=str(error))
        return error.exit_code
    finally:
        ending.over()
        workers.kill()
        if server:
            server.close()
    log().info("stopped", committed=code == 0, workers=count)
    return code


Start = Callable[[int, bool, Connection, Connection], SpawnProcess]


class _Worker:
    """`started`: it says that it runs. `refused`: the exit code that it gave as final."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: SpawnProcess | None = None
        self.began_at = 0.0
        self.start_at = 0.0
        self.failures = 0
        self.restarts = -1
        self.started = False
        self.refused: int | None = None

    def start(self, start: Start) -> None:
        self.asks, asked = multiprocessing.Pipe()
        self.news, tells = multiprocessing.Pipe(duplex=False)
        self.restarts += 1
        self.started, self.refused = False, None
        self.process = start(self.number, not self.restarts, asked, tells)
        self.began_at = time.monotonic()
        # Each end has one owner: so a worker hears of our end, and we of its.
        asked.close()
        tells.close()

    def read_news(self) -> None:
        try:
            while self.news.poll():
                code = self.news.recv()
                if code == STARTED:
                    self.started = True
                else:
                    self.refused = code
        except (EOFError, OSError):
            return

    def over(self, now: float) -> int:
        """The exit code of the process that has ended; when the next may start."""
        assert self.process is not None
        self.read_news()
        code = self.process.exitcode
        self.process.close()
        self.process = None
        self.asks.close()
        self.news.close()
        self.failures = 1 if now - self.began_at > FORGIVEN_S else self.failures + 1
        self.start_at = now + backoff_s(self.failures)
        return UNCOMMITTED if code is None else code


class Workers:
    """`start` gets the number of a worker and whether it is its first start, and starts its process. `limit_s`: see
    `Reports.alive`."""

    def __init__(self, count: int, start: Start, limit_s: float) -> None:
        self._workers = [_Worker(number) for number in range(count)]
        self._start = start
        self._limit_s = limit_s
        self._lock = threading.Lock()  # of the processes and their connections
        self._question = 0
        self._turned_at = time.monotonic()

    def run(self, stop: threading.Event) -> int:
        """Until `stop`, or until a worker is refused; then all end. The exit code."""
        code = 0
        ending = False
        while True:
            self._turned_at = now = time.monotonic()
            if stop.is_set() and not ending:
                ending = True
                self._signal()
            with self._lock:
                for worker in self._workers:
                    if worker.process is None and not ending and now >= worker.start_at:
                        worker.start(self._start)
            running = [worker.process for worker in self._workers if worker.process is not None]
            if ending and not running:
                return code
            wait([process.sentinel for process in running], TURN_S)
            for worker in self._workers:
                if worker.process is None:
                    continue
                worker.read_news()
                if worker.process.exitcode is None:
                    continue
                with self._lock:
                    ended = worker.over(time.monotonic())
                if worker.refused is not None:
                    code = worker.refused
                    if not ending:
                        ending = True
                        self._signal()
                elif ending:
                    # One that a signal ended before it had begun had nothing to commit.
                    clean = ended == 0 or (not worker.started and ended < 0)
                    code = code or (0 if clean else UNCOMMITTED)
                else:
                    self._ended(worker, ended)

    def _ended(self, worker: _Worker, code: int) -> None:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        write = log().warning if code == 0 else log().error
        wait_s = round(worker.start_at - time.monotonic(), 2)
        write("worker ended", worker=worker.number, detail=f"{how}: it is started again", retry_in_s=wait_s)

    def _signal(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.terminate()

    def kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.kill()

    def end_now(self, code: int) -> None:
        self.kill()
        end_now(code)

    def reports(self) -> Reports:
        """Asks all workers; takes at most `ANSWER_S`."""
        found: dict[int, Report | None] = {worker.number: None for worker in self._workers}
        with self._lock:
            self._question += 1
            asked = [worker for worker in self._workers if worker.started and self._ask(worker)]
            deadline = time.monotonic() + ANSWER_S
            for worker in asked:
                found[worker.number] = self._answer(worker, deadline)
        alive = time.monotonic() - self._turned_at <= self._limit_s
        return Reports(alive, found, {worker.number: max(0, worker.restarts) for worker in self._workers})

    def _ask(self, worker: _Worker) -> bool:
        if worker.process is None:
            return False
        try:
            worker.asks.send(self._question)
        except OSError:
            return False
        return True

    def _answer(self, worker: _Worker, deadline: float) -> Report | None:
        try:
            while worker.asks.poll(max(0.0, deadline - time.monotonic())):
                question: int
                report: Report
                question, report = worker.asks.recv()
                if question == self._question:  # else one that came too late
                    return report
        except (EOFError, OSError):
            return None
        return None
