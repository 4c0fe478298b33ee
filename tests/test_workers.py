"""Processes together: who is started again, what ends all, and with which exit code."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamwatch.cli import workers
from streamwatch.cli.workers import Workers
from streamwatch.metrics import Metrics
from streamwatch.web.together import Report, Reports, text
from tests.bodies import crashes, deaf, is_refused, stays
from tests.broker import wait_until

Body = tuple[Callable[[int, Any, Any], None], int]


class Running:
    """A body for each worker, and another for all of its later starts."""

    def __init__(self, bodies: Sequence[Body], again: Body = (stays, 0)) -> None:
        self.codes: list[int] = []
        self.stop = threading.Event()
        self.workers = Workers(len(bodies), self._start, 60.0)
        self._bodies, self._again = bodies, again
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _start(self, number: int, first: bool, asked: Any, news: Any) -> Any:
        body, code = self._bodies[number] if first else self._again
        process = multiprocessing.get_context("spawn").Process(target=body, args=(code, asked, news))
        process.start()
        return process

    def _run(self) -> None:
        self.codes.append(self.workers.run(self.stop))

    def pids(self) -> list[int | None]:
        """Of those that say that they run."""
        workers = self.workers._workers
        return [one.process.pid for one in workers if one.started and one.process is not None]

    def ended(self) -> int:
        self._thread.join(20.0)
        (code,) = self.codes
        return code


@contextmanager
def running(*bodies: Body, **more: Any) -> Iterator[Running]:
    made = Running(bodies, **more)
    try:
        yield made
    finally:
        made.stop.set()
        made._thread.join(20.0)
        made.workers.kill()


@pytest.mark.parametrize(("codes", "together"), [((0, 0), 0), ((0, 3), 3)])
def test_the_exit_code_is_0_only_if_all_ended_committed(codes: Sequence[int], together: int) -> None:
    with running(*((stays, code) for code in codes)) as made:
        wait_until(lambda: len(made.pids()) == 2, 20.0, "both run")
        made.stop.set()
        assert made.ended() == together


def test_one_that_crashes_is_started_again_while_the_other_goes_on() -> None:
    with running((crashes, 0), (stays, 0)) as made:
        wait_until(lambda: made.workers._workers[0].restarts == 1 and len(made.pids()) == 2, 20.0, "again")
        told = made.workers.reports()
        assert (told.restarts, told.alive) == ({0: 1, 1: 0}, True)
        made.stop.set()
        assert made.ended() == 0


def test_one_that_is_refused_ends_all_with_its_code() -> None:
    with running((stays, 0), (is_refused, 2)) as made:
        assert made.ended() == 2
        assert made.pids() == []


def test_one_that_gives_no_answer_is_left_out_and_holds_the_page_up_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "ANSWER_S", 0.3)
    with running((deaf, 0), (stays, 0)) as made:
        wait_until(lambda: len(made.pids()) == 2, 20.0, "both run")
        began = time.monotonic()
        told = made.workers.reports()
        assert time.monotonic() - began < 5.0
        assert told.workers[0] is None
        assert "worker 0: starting, or gives no answer" in told.not_ready


def test_metrics_of_all_are_one_exposition_that_prometheus_reads() -> None:
    """Every series of a worker says which; no metric is described twice."""
    one = Report(True, 0.1, [], Metrics().text())
    told = Reports(True, {0: one, 1: one, 2: None}, {0: 0, 1: 4, 2: 1})
    families = {family.name: family for family in text_string_to_metric_families(text(told))}
    assert text(told).count("# HELP streamwatch_commits_total ") == 1
    assert [s.labels for s in families["streamwatch_commits"].samples] == [{"worker": "0"}, {"worker": "1"}]
    assert {s.labels["worker"] for s in families["streamwatch_build_info"].samples} == {"0", "1"}
    assert [s.value for s in families["streamwatch_workers"].samples] == [2.0]
    assert [s.value for s in families["streamwatch_worker_restarts"].samples] == [0.0, 4.0, 1.0]
    assert told.not_ready == ["worker 2: starting, or gives no answer"]
