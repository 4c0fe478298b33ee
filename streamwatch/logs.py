"""structlog, set up once by the command line: JSON lines on stderr, or readable ones on a terminal.

Other libraries' loggers (kafka, uvicorn) come out of the same door from WARNING up, repetitions counted and
not written: kafka-python says the same line ten times a second while a broker is away.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterable, MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

LOGGER = "streamwatch"
QUIET_S = 60.0


class RateLimit:
    """At most `limit` of a kind per `window_s`; what is held back is counted and given out by `due`."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._windows: dict[Hashable, list[float]] = {}  # kind: [began, let through, held back]

    def allows(self, kind: Hashable, now: float) -> bool:
        """Whether one more may be said. Ask `due` first: it is what ends a window."""
        window = self._windows.setdefault(kind, [now, 0, 0])
        if window[1] < self._limit:
            window[1] += 1
            return True
        window[2] += 1
        return False

    def due(self, now: float, everything: bool = False) -> list[tuple[Any, int]]:
        """The kinds whose window is over, with how many were held back in it (only those with any)."""
        over = [kind for kind, w in self._windows.items() if everything or now - w[0] >= self._window_s]
        counts = [(kind, int(self._windows.pop(kind)[2])) for kind in over]
        return [(kind, count) for kind, count in counts if count]


class Stderr(logging.StreamHandler[TextIO]):
    """The one handler: our lines as they are, others' at most once per `QUIET_S` for each kind of line."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._limit = RateLimit(1, QUIET_S)
        self._last: dict[tuple[str, int, str], str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        if record.name == LOGGER:
            self._counts(self._limit.due(now))
            super().emit(record)
            return
        text = record.getMessage()
        # Numbers differ from line to line (ports, ids, milliseconds): they do not make it news.
        kind = (record.name, record.levelno, re.sub(r"\d+", "#", text)[:200])
        due = dict(self._limit.due(now))
        held = due.pop(kind, 0)
        self._counts(due.items())
        if not self._limit.allows(kind, now):
            self._last[kind] = text
            return
        if held:
            self._last.pop(kind)
            record = copy.copy(record)
            record.msg, record.args = _counted(text, held), None
        super().emit(record)

    def _counts(self, due: Iterable[tuple[Any, int]]) -> None:
        for kind, count in due:
            name, level, _ = kind
            text = _counted(self._last.pop(kind), count)
            super().emit(logging.LogRecord(name, level, "", 0, text, None, None))

    def end(self) -> None:
        self._counts(self._limit.due(self._clock(), everything=True))
        self.flush()


def _counted(text: str, count: int) -> str:
    return f"{text} ({count} like this were not shown)"


def configure(
    service: str | None,
    form: Format = "auto",
    level: Level = "info",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    worker: int | None = None,
) -> None:
    """Send every log line of the process to `stream` (default: stderr), each with the name of the service, and with
    the number of the worker if it is one of several."""
    stream = sys.stderr if stream is None else stream
    console = readable(form, stream)

    who: dict[str, Any] = {"service": service} if service else {}
    if worker is not None:
        who["worker"] = worker

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**who, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        named,
    ]
    if console:
        end: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    else:
        end = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    handler = Stderr(stream, clock)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # On a busy machine kafka-python warns of its own steps that took 0.1 s: nothing that anybody can mend.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    logging.getLogger(LOGGER).setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def readable(form: Format, stream: TextIO) -> bool:
    """Whether lines are for people (console) and not for machines."""
    return form == "console" or (form == "auto" and stream.isatty())


def log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(LOGGER)
    return logger


def end() -> None:
    """Write what is still held back: for those who are about to end the process."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Stderr):
            handler.end()


def _json(event: Any, **_: Any) -> str:
    """A line of JSON that every reader can parse: NaN becomes null, what JSON does not know becomes text."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode({**first, **event}, enc_hook=str).decode()
