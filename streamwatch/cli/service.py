"""`streamwatch run`: the loop on Kafka with its log, metrics, health, signals and watchdog."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

from streamwatch import __version__, configfile, logs
from streamwatch.cli.ending import UNCOMMITTED, Ending, end_now, tell
from streamwatch.config import Config
from streamwatch.errors import StreamwatchError
from streamwatch.journal import Journal
from streamwatch.logs import log
from streamwatch.metrics import Metrics
from streamwatch.observer import Observers
from streamwatch.runner import Total, run
from streamwatch.transports.base import Transport
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.watchdog import Watchdog
from streamwatch.web.health import Health
from streamwatch.web.server import Server, application

CRASHED = 3
# How many new objects set off a collection. Of 10,000 stream keys there are a million objects, which hardly ever become
# garbage in cycles; with Python's own numbers looking through them was a third of the work.
COLLECT = (100_000, 50, 100)


def serve(
    paths: Sequence[Path],
    resume_from: Literal["mark", "committed"] | None,
    form: logs.Format,
    level: logs.Level,
    workers: int = 1,
) -> int:
    """The exit code. ConfigError before anything is started; later errors are log lines."""
    config = configfile.load(paths, os.environ)
    if workers > 1:
        from streamwatch.cli.workers import supervise

        return supervise(config, workers, resume_from, form, level)
    logs.configure(config.service, form, level)

    def outside(health: Health, metrics: Metrics) -> Outside | None:
        return Server(config.http, application(health, metrics)) if config.http else None

    try:
        return served(config, resume_from, outside)
    except StreamwatchError as error:
        if logs.readable(form, sys.stderr):
            raise
        log().critical("refused", error=type(error).__name__, detail=str(error))
        return error.exit_code


class Outside(Protocol):
    """Who shows how the service is doing; `address` is where, if it is a place of its own."""

    @property
    def address(self) -> str | None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


def served(
    config: Config,
    resume_from: Literal["mark", "committed"] | None,
    outside: Callable[[Health, Metrics], Outside | None],
) -> int:
    """The exit code. StreamwatchError if the service is refused."""
    try:
        total = _serve(config, KafkaTransport(config, resume_from=resume_from), outside)
    except StreamwatchError:
        raise
    except Exception:  # noqa: BLE001 - a bug: its traceback belongs in the log, as one line
        log().critical("crashed", exc_info=True)
        return CRASHED
    log().info("stopped", **asdict(total))
    return 0 if total.committed else UNCOMMITTED


def _serve(
    config: Config, transport: Transport, outside: Callable[[Health, Metrics], Outside | None]
) -> Total:
    gc.set_threshold(*COLLECT)
    health = Health(config.watchdog)
    metrics = Metrics()
    journal = Journal(alone=config.tasks == "one")
    ending = Ending(health.stopping)
    ending.listen()
    server = outside(health, metrics)
    if server:
        server.start()
    watchdog = Watchdog(health, lambda stack: _hang(config.watchdog, stack))
    watchdog.start()
    _started(config, server.address if server else None)
    try:
        total = run(transport, config, stop=ending.stop, observe=Observers(journal, metrics, health))
    finally:
        journal.end(transport.progress())
        watchdog.stop()
        ending.over()
        if server:
            server.close()
    return total


def _started(config: Config, http: str | None) -> None:
    log().info(
        "started",
        version=__version__,
        config=config.digest,
        inputs=config.input_topics,
        alerts=config.alerts_topic,
        dead_letters=config.dead_letters_topic,
        state=config.state_topic,
        monitors=[monitor.name for monitor in config.monitors],
        bootstrap_servers=config.kafka.bootstrap_servers,
        http=http,
        pid=os.getpid(),
        libraries={name: version(name) for name in ("kafka-python", "river", "numpy")},
    )


def _hang(limit_s: float, stack: str) -> None:
    why = f"no progress of the loop for {limit_s:g} s: ended, to be started again"
    tell("critical", "watchdog", detail=why, stack=stack)
    end_now(CRASHED)
