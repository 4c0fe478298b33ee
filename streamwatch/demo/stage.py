"""The service on the events of a story, until all is read and every alert is read back.

On Kafka it is the service's own loop and transport on a thread of this process, and the alerts come from the alert
topic, read committed, as a consumer of them would get them. In memory it is the same loop without Kafka. Both return
the engines as they were last, with their sketches.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from streamwatch import configfile
from streamwatch.config import Config
from streamwatch.demo.feed import Feed
from streamwatch.demo.topics import topic_for, write
from streamwatch.engine import Engine
from streamwatch.errors import BrokerUnreachable, PlatformError
from streamwatch.observer import Silent, Work
from streamwatch.runner import run
from streamwatch.transports.base import Progress
from streamwatch.transports.kafka.clients import prepared
from streamwatch.transports.kafka.follow import follow
from streamwatch.transports.kafka.settings import KafkaSettings
from streamwatch.transports.kafka.transport import KafkaTransport
from streamwatch.transports.memory import MemoryTransport, Record

WITHIN_S = 50.0
LEAVE_S = 12.0

Tell = Callable[[bytes], None]


def config_text(service: str) -> str:
    """The config of the stories as a file, for a service of this name and the topic `{service}-predictions`."""
    text = files("streamwatch.demo").joinpath("watch.yaml").read_text()
    return text.replace("service: demo ", f"service: {service} ").replace(
        "[demo-predictions]", f"[{service}-predictions]"
    )


def config_of(service: str, settings: KafkaSettings | None = None) -> Config:
    """ConfigError if the name is none that a service can have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{service.replace('/', '-')}.yaml")
        path.write_text(config_text(service))
        config = configfile.load([path], {})
    return config if settings is None else config.model_copy(update={"kafka": settings})


def in_memory(config: Config, feed: Feed, tell: Tell) -> Sequence[Engine]:
    (topic,) = config.input_topics
    transport = MemoryTransport(
        [
            Record(topic, feed.value(row), timestamp_ms=round(time_s * 1000))
            for row, time_s in enumerate(feed.times_s)
        ]
    )
    engines = _Engines()
    run(transport, config, stop=threading.Event(), observe=engines, sketch=True)
    for message in transport.alert_messages:
        tell(message.value or b"")
    return engines.last


def on_kafka(
    config: Config, feed: Feed, tell: Tell, keep: bool = False, within_s: float = WITHIN_S
) -> Sequence[Engine]:
    """BrokerUnreachable if it is not through `within_s` after its start; then nothing is left running either."""
    (topic,) = config.input_topics
    with topic_for(config, keep):
        write(config.kafka, topic, feed)
        prepared(config)
        service = _Service(config, len(feed), within_s)
        service.start()
        try:
            for value in service.read_back():
                tell(value)
        finally:
            service.end()
        service.verdict()
        return service.last


class _Engines(Silent):
    """The engines as they were last."""

    def __init__(self) -> None:
        self.last: Sequence[Engine] = ()

    def turned(self, progress: Progress, engines: Mapping[int, Engine], healthy: bool) -> None:
        self.last = tuple(engines.values())


class _Service(_Engines):
    """The loop on its thread. It listens to itself: how much is committed, and what fails."""

    def __init__(self, config: Config, records: int, within_s: float) -> None:
        super().__init__()
        self._config = config
        self._left = records
        self._deadline = time.monotonic() + within_s
        self._alerts = 0
        self._read = 0
        self._failure: PlatformError | None = None
        self._crash: BaseException | None = None
        self._stop = threading.Event()
        self._transport = KafkaTransport(config)
        self._thread = threading.Thread(target=self._run, name="the service of the demo", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(LEAVE_S)

    def read_back(self) -> Iterator[bytes]:
        """The alerts as they come, until all that the service committed are read, or it ended, or is late."""
        for value in follow(self._config.kafka, self._config.alerts_topic, from_start=True, done=self._done):
            self._read += 1
            yield value or b""

    def verdict(self) -> None:
        """What the service died of, or that it is late."""
        if self._crash is not None:
            raise self._crash
        if self._left > 0 or self._read < self._alerts:
            why = self._failure or self._transport.progress().detail or "it is slow"
            raise BrokerUnreachable(
                f"the service was not through in time ({self._left} events left): {why}. To do: try again; if that "
                "does not help, look at the broker's log"
            )

    def _run(self) -> None:
        try:
            run(self._transport, self._config, stop=self._stop, observe=self, sketch=True)
        except BaseException as error:  # noqa: BLE001 - it is raised by `verdict`, where the caller waits
            self._crash = error

    def _done(self) -> bool:
        through = self._left <= 0 and self._read >= self._alerts
        return through or not self._thread.is_alive() or time.monotonic() > self._deadline

    def committed(self, work: Work, seconds: float) -> None:
        # The alerts first: who reads both from another thread must not see all records and too few alerts.
        self._alerts += len(work.alerts)
        self._left -= work.records

    def failed(self, error: PlatformError, task: int | None, retry_in_s: float) -> None:
        self._failure = error
