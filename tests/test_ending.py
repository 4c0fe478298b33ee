"""How a service ends: real signals to a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

HEAD = """
import sys, threading
from streamwatch import logs
from streamwatch.cli.ending import Ending, end_now, tell
logs.configure("s", "json")
hung = threading.Event()
ending = Ending(lambda: tell("info", "told"), deadline_s=DEADLINE, echo_s=ECHO)
ending.listen()
tell("info", "listening")
"""
OBEYS = HEAD + "ending.stop.wait(); ending.over(); tell('info', 'done')"
HANGS = HEAD + "ending.stop.wait(); hung.wait()"
HANGS_IN_A_LOG_LINE = (
    HEAD + "import logging\nending.stop.wait()\nwith logging.getLogger().handlers[0].lock: hung.wait()"
)


@contextmanager
def running(script: str, deadline_s: float, echo_s: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    script = script.replace("DEADLINE", str(deadline_s)).replace("ECHO", str(echo_s))
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr
            assert json.loads(process.stderr.readline())["event"] == "listening"
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    _, text = process.communicate(timeout=30)
    return process.returncode, [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_loop_and_says_which(number: signal.Signals) -> None:
    with running(OBEYS, deadline_s=30.0) as process:
        process.send_signal(number)
        code, lines = end(process)
    assert code == 0
    assert [line["event"] for line in lines] == ["told", "stopping", "done"]
    assert lines[1]["signal"] == number.name


def test_a_commit_that_hangs_is_left_behind_at_the_deadline() -> None:
    with running(HANGS, deadline_s=1.0) as process:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, lines = end(process)
    assert code == 3
    assert time.monotonic() - began < 10.0
    assert (lines[-1]["event"], lines[-1]["committed"]) == ("stopped", False)
    assert "did not return in 1 s" in lines[-1]["detail"]


def test_a_second_signal_ends_it_at_once() -> None:
    with running(HANGS, deadline_s=600.0) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code, lines = end(process)
    assert code == 3
    assert "second signal" in lines[-1]["detail"]


def test_the_echo_of_a_signal_is_not_a_second_wish() -> None:
    """`timeout` signals its child, and then the group that the child is in."""
    with running(HANGS, deadline_s=1.0, echo_s=600.0) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code, lines = end(process)
    assert code == 3
    assert "did not return in 1 s" in lines[-1]["detail"]


def test_even_a_hang_inside_a_log_line_does_not_hold_up_the_end() -> None:
    with running(HANGS_IN_A_LOG_LINE, deadline_s=1.0) as process:
        process.send_signal(signal.SIGTERM)
        code, _ = end(process)
    assert code == 3


WATCHED = """
import threading
from streamwatch import logs
from streamwatch.cli.service import _hang
from streamwatch.watchdog import Watchdog
from streamwatch.web.health import Health
from streamwatch.transports.base import Progress
logs.configure("s", "json")
health = Health(DEADLINE)
Watchdog(health, lambda stack: _hang(DEADLINE, stack)).start()
for _ in range(3):
    health.turned(Progress(), {}, True)
logs.log().info("listening")
def commit_that_hangs(): threading.Event().wait()
commit_that_hangs()
"""


def test_a_loop_that_hangs_is_ended_and_the_log_says_where() -> None:
    with running(WATCHED, deadline_s=0.5) as process:
        code, lines = end(process)
    assert code == 3
    assert [line["event"] for line in lines] == ["watchdog"]
    assert lines[0]["level"] == "critical"
    assert "commit_that_hangs" in lines[0]["stack"]
    assert "0.5 s" in lines[0]["detail"]
