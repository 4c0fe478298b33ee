"""The log: what a line holds, what is held back and counted, and what never comes out."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwatch import logs
from streamwatch.engine import Restored
from streamwatch.errors import TaskLost
from streamwatch.events import StreamKey
from streamwatch.execute import Obeyed
from streamwatch.journal import DEAD_LETTERS_SHOWN, Journal
from streamwatch.plan import Unwatched
from streamwatch.records import Source
from streamwatch.segments import Slicing
from streamwatch.transports.base import Closed, Opened, Progress, Stalled
from tests.samples import Clock, alert, letter, waiting, work
from tests.talk import silence
from tests.test_metrics import Watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Lines:
    """What the log has written since it was last read."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def read(self, event: str | None = None) -> list[dict[str, Any]]:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        lines = [json.loads(line, parse_constant=_no_json) for line in text.splitlines()]
        return [line for line in lines if event in (None, line["event"])]


def _no_json(text: str) -> None:
    raise AssertionError(f"{text} is not JSON")


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Lines:
    found = Lines()
    logs.configure("fraud-watch", "json", "info", found.stream, clock)
    return found


@pytest.fixture
def journal(lines: Lines, clock: Clock) -> Journal:
    return Journal(interval_s=10.0, clock=clock)


def turn(journal: Journal, progress: Progress = Progress()) -> None:  # noqa: B008 - frozen
    journal.turned(progress, {}, True)


def test_every_line_says_when_in_utc_how_grave_and_which_service(lines: Lines) -> None:
    logs.log().info("started", http=None)
    (line,) = lines.read()
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"], line["service"]) == ("info", "started", "fraud-watch")


def test_a_number_that_json_does_not_know_becomes_null_and_the_line_stays_json(lines: Lines) -> None:
    logs.log().info("x", nan=math.nan, inf=math.inf, source=Source("a", 1), other=object)
    (line,) = lines.read()
    assert line["nan"] is None
    assert line["inf"] is None
    assert line["source"] == ["a", 1]


@pytest.mark.parametrize(("level", "shown"), [("debug", 2), ("info", 1), ("warning", 0)])
def test_lines_below_the_level_are_not_written(level: logs.Level, shown: int) -> None:
    found = Lines()
    logs.configure("s", "json", level, found.stream)
    logs.log().debug("a")
    logs.log().info("b")
    assert len(found.read()) == shown


@pytest.mark.parametrize(
    ("form", "stream", "readable"),
    [
        ("auto", io.StringIO(), False),
        ("auto", Terminal(), True),
        ("console", io.StringIO(), True),
        ("json", Terminal(), False),
    ],
)
def test_lines_are_json_unless_a_person_reads(form: logs.Format, stream: io.StringIO, readable: bool) -> None:
    logs.configure("s", form, "info", stream)
    logs.log().info("hello")
    assert stream.getvalue().startswith("{") is not readable
    assert "hello" in stream.getvalue()


def test_a_traceback_is_part_of_its_line(lines: Lines) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        logs.log().critical("crashed", exc_info=True)
    (line,) = lines.read()
    assert "ValueError: boom" in line["exception"]


def test_other_libraries_come_out_of_the_same_door_from_warning_up(lines: Lines) -> None:
    logging.getLogger("kafka.conn").info("chatter")
    logging.getLogger("kafka.conn").warning("connection to %s refused", "b1")
    (line,) = lines.read()
    assert (line["event"], line["logger"], line["level"]) == (
        "connection to b1 refused",
        "kafka.conn",
        "warning",
    )


def test_a_repetition_of_others_is_counted_and_the_count_is_written(lines: Lines, clock: Clock) -> None:
    for port in range(50):
        logging.getLogger("kafka").warning("connection %d refused", port)
    logging.getLogger("kafka").error("connection 1 refused")
    assert [line["level"] for line in lines.read()] == ["warning", "error"]
    clock.now += logs.QUIET_S
    logs.log().info("committed")  # any line lets the count out
    assert [line["event"] for line in lines.read()] == [
        "connection 49 refused (49 like this were not shown)",
        "committed",
    ]
    for port in (9, 10):
        logging.getLogger("kafka").warning("connection %d refused", port)
    assert [line["event"] for line in lines.read()] == ["connection 9 refused"]
    clock.now += logs.QUIET_S
    logging.getLogger("kafka").warning("connection 11 refused")
    assert [line["event"] for line in lines.read()] == ["connection 11 refused (1 like this were not shown)"]


def test_our_own_lines_are_never_held_back(lines: Lines) -> None:
    for _ in range(20):
        logs.log().info("alert", id="same")
    assert len(lines.read()) == 20


def test_what_is_held_back_comes_out_before_the_process_ends(lines: Lines) -> None:
    for _ in range(3):
        logging.getLogger("kafka").warning("again")
    logs.end()
    assert [line["event"] for line in lines.read()][1:] == ["again (2 like this were not shown)"]


@given(
    limit=st.integers(1, 5),
    said=st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from("abc")), max_size=80),
)
def test_a_rate_limit_loses_no_count(limit: int, said: list[tuple[float, str]]) -> None:
    """Let through + held back = said, for each kind; and never more than the limit within a window."""
    rate, now = logs.RateLimit(limit, 10.0), 0.0
    shown: dict[str, list[float]] = {kind: [] for kind in "abc"}
    held = dict.fromkeys("abc", 0)
    for step, kind in said:
        now += step
        for name, count in rate.due(now):
            held[name] += count
        if rate.allows(kind, now):
            shown[kind].append(now)
    for name, count in rate.due(now, everything=True):
        held[name] += count
    for kind in "abc":
        assert len(shown[kind]) + held[kind] == sum(1 for _, k in said if k == kind)
        times = shown[kind]
        for first, last in zip(times, times[limit * 2 :], strict=False):
            assert last - first >= 10.0


def test_an_alert_is_one_line_with_what_a_person_filters_by(lines: Lines, journal: Journal) -> None:
    journal.committed(work(alerts=[alert(severity="critical")]), 0.01)
    (line,) = lines.read()
    told = {name: line[name] for name in line if name not in ("timestamp", "service")}
    assert told == {
        "level": "error", "event": "alert", "task": 0, "id": "a1", "key": "k1", "state": "firing", "reason": "first",
        "severity": "critical", "open": True, "model": "fraud", "version": None, "segment": {"country": "DE"},
        "monitor": "error-rate", "signal": {"kind": "error"}, "direction": "up", "from": 0.1, "to": 0.3,
        "time": "2026-11-24T10:20:31Z", "owner": "risk-ml",
        "summary": "error-rate of fraud (country=DE) rose from 0.10 to 0.30",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("severity", "open_", "level"),
    [("info", True, "info"), ("warning", True, "warning"), ("critical", True, "error"), ("critical", False, "info")],
)  # fmt: skip
def test_an_alert_that_closes_is_information(
    lines: Lines, journal: Journal, severity: str, open_: bool, level: str
) -> None:
    journal.committed(work(alerts=[alert(severity=severity, open=open_, change=None)]), 0.01)
    (line,) = lines.read()
    assert line["level"] == level
    assert line["from"] is None


def test_dead_letters_are_limited_by_code_and_the_rest_is_counted(
    lines: Lines, journal: Journal, clock: Clock
) -> None:
    flood = [letter(offset=n) for n in range(100)]
    journal.committed(work(dead_letters=[*flood, letter("too deep")]), 0.01)
    shown = lines.read("dead letter")
    assert [line["code"] for line in shown] == ["not json"] * DEAD_LETTERS_SHOWN + ["too deep"]
    assert (shown[0]["topic"], shown[0]["partition"], shown[0]["offset"]) == ("predictions", 2, 0)
    assert shown[0]["reason"] == "expected JSON, got 'x'"
    clock.now += 10.0
    turn(journal)
    held = lines.read("dead letters not shown")
    assert [(line["code"], line["count"]) for line in held] == [("not json", 100 - DEAD_LETTERS_SHOWN)]


def test_traffic_is_one_summary_per_interval_and_none_without_traffic(
    lines: Lines, journal: Journal, clock: Clock
) -> None:
    for _ in range(20):
        clock.now += 0.4
        journal.committed(work(unusable={"score": 2}), 0.01)
        turn(journal)
    assert lines.read("committed") == []
    clock.now += 2.0
    turn(journal, Progress(lag={Source("predictions", 0): 5, Source("predictions", 1): 7}))
    (line,) = lines.read("committed")
    assert (line["seconds"], line["events"], line["events_per_s"]) == (10.0, 200, 20.0)
    assert (line["commits"], line["lag"], line["unusable"]) == (20, 12, {"score": 40})
    clock.now += 60.0
    turn(journal)
    assert lines.read() == []


def test_the_summary_says_what_became_of_late_labels_where_there_are_any(
    lines: Lines, journal: Journal, clock: Clock
) -> None:
    journal.committed(work(labels=3, joined={"outcomes": 2, "repeated": 1, "pushed out": 0}), 0.01)
    clock.now += 10.0
    held: Any = {0: Watched(waiting=[waiting("a"), waiting("b", 5)])}
    journal.turned(Progress(), held, True)
    (line,) = lines.read("committed")
    assert (line["labels"], line["outcomes"], line["unjoined"]) == (3, 2, {"repeated": 1})
    assert (line["labels_unjoined"], line["waiting"]) == (0, 12)
    journal.committed(work(), 0.01)
    clock.now += 10.0
    journal.turned(Progress(), held, True)
    (line,) = lines.read("committed")
    assert "outcomes" not in line


def test_predictions_that_wait_no_longer_are_a_warning_at_the_start(lines: Lines, journal: Journal) -> None:
    journal.restored(0, Restored(not_waiting=("fraud",)), 0.5)
    (line,) = lines.read("restored")
    assert (line["level"], line["not_waiting"]) == ("warning", ["fraud"])


def test_overtaken_records_are_a_warning_with_the_new_ones_and_the_sum(
    lines: Lines, journal: Journal, clock: Clock
) -> None:
    for total in (3, 5, 5):
        clock.now += 10.0
        turn(journal, Progress(overtaken=total))
    assert [(line["records"], line["total"]) for line in lines.read("overtaken")] == [(3, 3), (2, 5)]


def test_lag_is_a_warning_when_more_waits_than_an_interval_brings(
    lines: Lines, journal: Journal, clock: Clock
) -> None:
    journal.committed(work(records=20_000, events=20_000), 0.01)
    clock.now += 10.0
    turn(journal, Progress(lag={Source("predictions", 0): 19_000}))
    assert lines.read("lag") == []
    journal.committed(work(records=20_000, events=20_000), 0.01)
    clock.now += 10.0
    turn(journal, Progress(lag={Source("predictions", n): 10_000 * n for n in range(10)}))
    (line,) = lines.read("lag")
    assert (line["level"], line["records"], line["behind_s"]) == ("warning", 450_000, 225.0)
    assert list(line["worst"].items())[:2] == [("predictions/9", 90_000), ("predictions/8", 80_000)]


def test_a_start_says_what_was_restored_and_what_was_lost(lines: Lines, journal: Journal) -> None:
    source = Source("predictions", 1)
    journal.opened(Opened(0, {"k": b""}, b"m", {source: 40}, {source: 12}))
    journal.restored(0, Restored(keys=1, kept=("score",), dropped=("error-rate",)), 0.5)
    assigned, lost, restored = lines.read()
    assert (assigned["event"], assigned["offsets"]) == ("assigned", {"predictions/1": 40})
    assert (lost["event"], lost["level"], lost["records"], lost["partition"]) == ("lost", "warning", 12, 1)
    assert (restored["event"], restored["stream_keys"], restored["kept"]) == ("restored", 1, ["score"])
    assert (restored["dropped"], restored["level"]) == (["error-rate"], "warning")


def test_a_model_that_a_monitor_cannot_watch_is_a_warning_that_says_why(
    lines: Lines, journal: Journal
) -> None:
    journal.committed(work(unwatched=[Unwatched("off", "new", "only a regression has it")]), 0.01)
    (line,) = lines.read()
    assert (line["event"], line["level"]) == ("not watched", "warning")
    assert (line["monitor"], line["model"], line["why"]) == ("off", "new", "only a regression has it")


@pytest.mark.parametrize(("alone", "level"), [(True, "warning"), (False, "info")])
def test_a_command_about_nothing_is_a_warning_unless_other_tasks_hear_it_too(
    lines: Lines, alone: bool, level: str
) -> None:
    """A name may be misspelt; but with several tasks most commands are about a watcher of one."""
    Journal(alone=alone).committed(work(obeyed=[Obeyed(silence(), 0)]), 0.01)
    (line,) = lines.read()
    assert (line["event"], line["command"], line["level"]) == ("command", "silence", level)


def test_lines_of_one_of_several_workers_say_which(clock: Clock) -> None:
    found = Lines()
    logs.configure("fraud-watch", "json", "info", found.stream, clock, worker=2)
    logs.log().info("ready")
    assert [(line["service"], line["worker"]) for line in found.read()] == [("fraud-watch", 2)]


def test_stream_keys_that_go_are_announced_with_their_number(lines: Lines, journal: Journal) -> None:
    keys = [StreamKey("fraud", str(n)) for n in range(9)]
    journal.committed(work(evicted=keys, retired=keys[:1]), 0.01)
    evicted, retired = lines.read()
    assert (evicted["event"], evicted["level"], evicted["count"]) == ("evicted", "warning", 9)
    assert evicted["stream_keys"][:2] == ["fraud version 0", "fraud version 1"]
    assert len(evicted["stream_keys"]) == 5
    assert (retired["event"], retired["level"], retired["count"]) == ("retired", "info", 1)


def test_that_segments_are_pooled_is_announced_with_the_slicing(lines: Lines, journal: Journal) -> None:
    journal.committed(work(pooled=[Slicing(("country", "shop"), "fraud")]), 0.01)
    (line,) = lines.read()
    assert (line["event"], line["level"]) == ("pooled", "warning")
    assert (line["model"], line["by"]) == ("fraud", ["country", "shop"])
    assert "`max_segments`" in line["detail"]


def test_failures_stalls_and_readiness_are_told_once_each(lines: Lines, journal: Journal) -> None:
    journal.failed(TaskLost("fenced"), 0, 0.2)
    journal.closed(Closed(0, "rebalance"))
    journal.stalled(Stalled(0, Source("predictions", 1), True, "no leader"))
    journal.stalled(Stalled(0, Source("predictions", 1), False))
    for n in range(3):
        turn(journal, Progress(ready=False, detail=f"rebalancing for {n} s"))
    turn(journal)
    told = [(line["event"], line["level"]) for line in lines.read()]
    assert told == [
        ("failed", "warning"), ("closed", "info"), ("stalled", "error"), ("seeing again", "info"),
        ("not ready", "info"), ("ready", "info"),
    ]  # fmt: skip


def test_the_end_lets_out_what_was_held_back(lines: Lines, journal: Journal) -> None:
    journal.committed(work(dead_letters=[letter(offset=n) for n in range(9)]), 0.01)
    lines.read()
    journal.end(Progress())
    events = [line["event"] for line in lines.read()]
    assert events == ["dead letters not shown", "committed"]
