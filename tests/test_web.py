"""Health and the small web: when it is ready, when it is alive, and what happens when nothing moves."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from streamwatch.config import Http
from streamwatch.errors import BrokerUnreachable, OperatorError
from streamwatch.metrics import Metrics
from streamwatch.transports.base import Progress
from streamwatch.watchdog import Watchdog
from streamwatch.web.health import FETCH_S, Health, Pulse, not_ready
from streamwatch.web.server import Server, application
from tests.samples import Clock, work

NOW = 1_000.0
GOOD = Pulse(beat_at=NOW, progress=Progress(fetched_at=NOW))
STANDBY = Pulse(beat_at=NOW, progress=Progress(detail="standby"))


@pytest.mark.parametrize(
    ("pulse", "reasons"),
    [
        (GOOD, []),
        (STANDBY, []),
        (Pulse(NOW), ["starting: nothing polled yet"]),
        (Pulse(NOW, Progress(ready=False)), ["not assigned"]),
        (Pulse(NOW, Progress(ready=False, detail="restoring task 0")), ["restoring task 0"]),
        (Pulse(NOW, Progress(), "BrokerUnreachable: away"), ["BrokerUnreachable: away"]),
        (Pulse(NOW, Progress(), stopping=True), ["stopping"]),
        (Pulse(NOW, Progress(fetched_at=NOW - FETCH_S)), []),
        (
            Pulse(NOW, Progress(fetched_at=NOW - FETCH_S - 1)),
            ["nothing could be fetched for 16 s (limit 15 s)"],
        ),
        (Pulse(NOW - 30, Progress()), []),
        (Pulse(NOW - 31, Progress()), ["no progress for 31 s (the watchdog ends it at 60 s)"]),
        (
            Pulse(NOW, Progress(ready=False), "TaskLost: fenced", True),
            ["stopping", "not assigned", "TaskLost: fenced"],
        ),
    ],
)
def test_ready_is_the_absence_of_reasons(pulse: Pulse, reasons: list[str]) -> None:
    assert not_ready(pulse, NOW, limit_s=60.0) == reasons


def test_a_failure_is_forgotten_by_the_next_good_turn() -> None:
    health = Health(60.0, Clock())
    health.failed(BrokerUnreachable("no broker at b1:9092"), None, 0.2)
    health.turned(Progress(), {}, False)
    assert health.not_ready() == ["BrokerUnreachable: no broker at b1:9092"]
    health.turned(Progress(), {}, True)
    assert health.not_ready() == []


def test_a_turn_that_failed_is_progress_too() -> None:
    clock = Clock()
    health = Health(60.0, clock)
    for _ in range(10):
        clock.now += 50.0
        health.turned(Progress(), {}, False)
        assert health.alive


def test_alive_ends_at_the_limit_and_ready_before() -> None:
    clock = Clock()
    health = Health(60.0, clock)
    health.turned(Progress(), {}, True)
    found = []
    for _ in range(4):
        found.append((health.alive, not health.not_ready()))
        clock.now += 30.5
    assert found == [(True, True), (True, False), (False, False), (False, False)]


def test_the_watchdog_shows_where_the_loop_hangs_and_only_once() -> None:
    clock, called, again, hung = Clock(), threading.Event(), threading.Event(), list[str]()
    health = Health(0.05, clock)

    def hang(stack: str) -> None:
        hung.append(stack)
        (again if called.is_set() else called).set()

    watchdog = Watchdog(health, hang)
    watchdog.start()
    assert not called.wait(0.05)  # the clock stands still: there is progress
    clock.now += 1.0
    the_place_where_it_hangs(called)
    assert "the_place_where_it_hangs" in hung[0]
    assert not again.wait(0.1)


def the_place_where_it_hangs(called: threading.Event) -> None:
    assert called.wait(10.0)


def test_a_watchdog_that_was_stopped_ends_nothing() -> None:
    clock, called = Clock(), threading.Event()
    watchdog = Watchdog(Health(0.05, clock), lambda _: called.set())
    watchdog.start()
    watchdog.stop()
    clock.now += 1.0
    assert not called.wait(0.1)


@contextlib.contextmanager
def serving(health: Health, metrics: Metrics) -> Iterator[httpx.Client]:
    server = Server(Http(port=0), application(health, metrics))
    server.start()
    try:
        with httpx.Client(base_url=server.address, timeout=10.0) as client:
            yield client
    finally:
        server.close()


def test_the_endpoints_say_it_to_a_prober_and_to_a_person() -> None:
    clock = Clock()
    health, metrics = Health(60.0, clock), Metrics()
    metrics.committed(work(events=7), 0.01)
    with serving(health, metrics) as client:
        starting = client.get("/readyz")
        assert starting.status_code == 503
        assert starting.json() == {"ready": False, "reasons": ["starting: nothing polled yet"]}
        health.turned(Progress(), {}, True)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})
        assert client.get("/livez").status_code == 200
        clock.now += 61.0
        alive = client.get("/livez")
        assert (alive.status_code, alive.json()) == (503, {"alive": False, "silent_s": 61.0})
        scrape = client.get("/metrics")
        assert scrape.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "streamwatch_events_total 7.0" in scrape.text
        assert client.get("/secret").status_code == 404


def test_any_free_port_is_loopback_and_said() -> None:
    server = Server(Http(port=0), application(Health(60.0), Metrics()))
    server.start()
    server.close()
    assert server.address.startswith("http://127.0.0.1:")
    assert not server.address.endswith(":0")


def test_a_port_in_use_ends_the_start_and_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = Server(Http(port=port), application(Health(60.0), Metrics()))
        with pytest.raises(OperatorError, match=rf"127.0.0.1:{port} is in use .*port: 0") as caught:
            server.start()
    assert caught.value.exit_code == 3


def test_an_address_that_is_not_ours_ends_the_start() -> None:
    server = Server(Http(host="192.0.2.1"), application(Health(60.0), Metrics()))
    with pytest.raises(OperatorError, match=r"cannot listen on 192.0.2.1:8080"):
        server.start()
