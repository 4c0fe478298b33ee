"""Fixtures that several test modules share.

The shared broker is one for the whole test session, over all workers of xdist: the first test that asks for it
starts it, the session's controller ends it (also after Ctrl-C).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker, locked, wait_until
from tests.spread import Spread, rank

# The controller's folder for what its workers share; workers get its name (and the controller's pid) from it.
SESSION = pytest.StashKey[Path]()


@dataclass(frozen=True)
class SharedBroker:
    """A broker that other tests use at the same time: not to be stopped, topics by unique names."""

    bootstrap_servers: str


def pytest_configure(config: pytest.Config) -> None:
    # A shell ignores it for what it starts in the background, and so would the processes that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = getattr(config, "workerinput", None)
    if given is None:
        config.stash[SESSION] = Path(tempfile.mkdtemp(prefix="streamwatch-tests-"))
    else:
        config.stash[SESSION] = Path(given["streamwatch_session"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["streamwatch_session"] = str(node.config.stash[SESSION])
    node.workerinput["streamwatch_controller"] = os.getpid()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread | None:
    return Spread(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or SESSION not in config.stash:
        return
    session = config.stash[SESSION]
    described = session / "broker.json"
    if described.exists():
        started = json.loads(described.read_text())
        _end(started["pid"])
        shutil.rmtree(started["folder"], ignore_errors=True)
    shutil.rmtree(session, ignore_errors=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        # It is a child of this process when there are no workers, else of one that has gone.
        wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 5)
    except (ProcessLookupError, ChildProcessError):
        pass


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> SharedBroker:
    """The session's shared broker, started when the first test asks for it."""
    session = request.config.stash[SESSION]
    controller = getattr(request.config, "workerinput", {}).get("streamwatch_controller", os.getpid())
    described = session / "broker.json"
    with locked(session / "broker.lock"):
        if not described.exists():
            started = Broker(parent=controller).start()
            text = {"pid": started.pid, "folder": str(started.folder), "servers": started.bootstrap_servers}
            described.write_text(json.dumps(text))
    return SharedBroker(json.loads(described.read_text())["servers"])


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker of this test alone: it may be killed, stopped, restarted."""
    with Broker(apart=True) as started:
        yield started


@pytest.fixture
def plain_broker() -> Iterator[Broker]:
    """As `own_broker`, and one process less: for tests that kill it only while no transaction commits."""
    with Broker() as started:
        yield started


@pytest.fixture
def unique() -> str:
    """A name that no other test has: for topics, groups, services on the shared broker."""
    return f"t-{uuid.uuid4().hex[:12]}"
