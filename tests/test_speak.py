"""What people may say to a service, and what is refused before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamwatch import configfile
from streamwatch.cli import lookup
from streamwatch.cli.behind import Kind, late
from streamwatch.cli.fitting import refuse_unfit
from streamwatch.cli.lookup import Said, Target
from streamwatch.cli.speak import When, span
from streamwatch.errors import UsageError
from streamwatch.matchers import OPEN_ALERT, matchers
from tests.cli import cli

NOW_S = 1_764_000_000.5  # 2025-11-24T16:00:00.5Z
CONFIG = """
service: fraud-watch
kafka: {bootstrap_servers: "localhost:1"}
inputs: [{topics: [predictions]}]
models: {fraud: {task: binary}, churn: {task: binary}}
monitors:
  - {name: error-rate, signal: error, detector: adwin, severity: critical, owner: risk, by: [country]}
  - {name: inputs, signal: feature, of: all, detector: adwin, tags: {team: data}, models: [churn]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("when", "kind", "expected"),
    [
        (When(for_="2h"), "pause", ("2025-11-24T16:00:00Z", "2025-11-24T18:00:00Z")),
        # A stream that is a little behind is silenced all the same.
        (When(for_="2h"), "silence", ("2025-11-23T16:00:00Z", "2025-11-24T18:00:00Z")),
        (When(to="2025-11-24T17:00:00+01:00", from_="2025-11-24T15:00:00Z"), "pause", None),  # it is over
        (When(to="2025-11-25T17:00:00+01:00"), "pause", ("2025-11-24T16:00:00Z", "2025-11-25T16:00:00Z")),
        (
            When(from_="2026-03-01T00:00:00Z", for_="30d"),
            "silence",
            ("2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z"),
        ),
        (When(from_="2026-03-01T00:00:00Z", to="2026-03-31T00:00:01Z"), "silence", None),
        (When(for_="31d"), "pause", None),
        (When(for_="0s"), "pause", None),
        (When(for_="2"), "pause", None),
        (When(for_="soon"), "pause", None),
        (When(to="17:00"), "pause", None),
        (When(to="2025-11-25T17:00:00"), "pause", None),
        (When(for_="1h", to="2025-11-25T17:00:00Z"), "pause", None),
        (When(), "silence", None),
        (When(from_="2026-03-01T00:00:00Z"), "silence", None),
    ],
)
def test_a_silence_or_pause_has_an_end_within_30_days(
    when: When, kind: Any, expected: tuple[str, str] | None
) -> None:
    if expected is not None:
        assert span(when, NOW_S, kind) == expected
        return
    with pytest.raises(UsageError):
        span(when, NOW_S, kind)


@pytest.mark.parametrize(
    ("kind", "times_s", "from_s", "told"),
    [
        ("pause", {}, 0.0, None),  # it has read nothing yet
        ("pause", {0: -600.0}, 0.0, None),
        (
            "pause",
            {0: -601.0},
            0.0,
            "stream time is 2025-11-24T15:49:59.500000Z, 10m behind the clock, and a pause",
        ),
        ("pause", {0: 0.0}, 7200.0, None),
        ("silence", {0: -86_000.0}, -86_400.0, None),
        (
            "silence",
            {0: -90_000.0},
            -86_400.0,
            "in force when the stream gets to 2025-11-23T16:00:00.500000Z",
        ),
        ("silence", {0: -7200.0}, 3600.0, "in force when the stream gets to 2025-11-24T17:00:00.500000Z"),
        ("pause", {0: 0.0, 3: -7200.0}, 0.0, "stream time of task 3 is"),
    ],
)
def test_what_is_in_force_later_than_the_clock_says_is_told(
    kind: Kind, times_s: dict[int, float], from_s: float, told: str | None
) -> None:
    """Times count from now here."""
    found = late(kind, {task: NOW_S + time_s for task, time_s in times_s.items()}, NOW_S + from_s, NOW_S)
    assert found == told if told is None else told in (found or "")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["monitor=error-rate"], None),
        (["monitor=err*", "model=fraud"], None),
        (["monitor!=inputs"], None),
        (["severity=critical", "owner=risk"], None),
        (["segment.country=DE", "monitor=error-rate"], None),
        (["signal=feature:amount"], None),
        (["tags.team=data", "model=churn"], None),
        (["incident=1a2b"], None),
        (["version=3"], "version=3"),  # errors and inputs are watched over all versions together
        (["monitor=eror-rate"], "did you mean monitor=error-rate?"),
        (["model=frod", "monitor=error-rate"], "did you mean model=fraud?"),
        (["severity=info"], "there is critical, warning"),
        (["segment.contry=DE"], "no monitor of the config has segment.contry"),
        (["tags.team=data", "model=fraud"], "tags.team=data, model=fraud together"),
        (["segment.country=DE", "monitor=inputs"], "together"),
    ],
)
def test_what_fits_nothing_in_the_config_is_refused_with_what_there_is(
    config: Path, texts: list[str], told: str | None
) -> None:
    loaded = configfile.load([config], {})
    if told is None:
        refuse_unfit(loaded, texts, matchers(texts, OPEN_ALERT))
        return
    with pytest.raises(UsageError) as refused:
        refuse_unfit(loaded, texts, matchers(texts, OPEN_ALERT))
    assert told in str(refused.value)
    assert "--force" in str(refused.value)


def test_models_that_only_events_name_may_be_meant(config: Path) -> None:
    config.write_text(CONFIG.replace("churn: {", '"*": {').replace(", models: [churn]", ""))
    refuse_unfit(configfile.load([config], {}), ["model=other"], matchers(["model=other"]))


def said(alert_id: str, incident: str, key: str, open: bool = True, state: str = "firing") -> Said:
    data = lookup._Data(key=key, model="fraud", monitor="error-rate", summary="it rose", incident=incident)
    return Said(alert_id, "2025-11-24T16:00:00Z", f"streamwatch.alert.{state}", open, data)


NEWEST_FIRST = [
    said("5555aa", "1111aa", "aaaa11", open=False, state="settled"),
    said("4444aa", "3333aa", "bbbb11"),
    said("3333aa", "3333aa", "bbbb11"),
    said("2222bb", "1111aa", "aaaa11"),
    said("1111aa", "1111aa", "aaaa11"),
    said("1111bb", "1111bb", "cccc11"),
]


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        ("3333", "3333aa"),
        ("4444", "3333aa"),  # an alert's own id stands for its incident
        ("1111a", "1111aa"),
        ("1111", UsageError),
        ("bbbb", None),  # a key lives longer than an incident
        ("9999", None),
    ],
)
def test_a_verdict_is_of_the_one_incident_that_begins_so(beginning: str, expected: Any) -> None:
    if expected is UsageError:
        with pytest.raises(UsageError, match="several"):
            lookup.incident(NEWEST_FIRST, beginning)
        return
    found = lookup.incident(NEWEST_FIRST, beginning)
    assert (found and found.value) == expected


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        ("3333", Target("incident", "3333aa", NEWEST_FIRST[1])),
        ("4444", Target("key", "bbbb11", NEWEST_FIRST[1])),
        ("bbbb", Target("key", "bbbb11", NEWEST_FIRST[1])),
        ("2222", Target("key", "aaaa11", NEWEST_FIRST[0])),  # the latest of it says that it is not open
        ("1111a", Target("incident", "1111aa", NEWEST_FIRST[0])),
        ("1111", UsageError),
        ("9999", None),
    ],
)
def test_an_accept_is_of_an_incident_or_of_one_alert_as_it_stands_now(beginning: str, expected: Any) -> None:
    if expected is UsageError:
        with pytest.raises(UsageError, match="several"):
            lookup.alert(NEWEST_FIRST, beginning)
        return
    assert lookup.alert(NEWEST_FIRST, beginning) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["silence", "CONFIG", "--for", "1h", "--reason", "x"], "of what?"),
        (["silence", "CONFIG", "--monitor", "error-rate", "--for", "1h"], "--reason"),
        (["pause", "CONFIG", "--monitor", "error-rate", "--reason", "x"], "--for"),
        (
            ["pause", "CONFIG", "--match", "monitor", "--for", "1h", "--reason", "x"],
            "--match: expected name=value",
        ),
        (["pause", "CONFIG", "--match", "incident=1", "--for", "1h", "--reason", "x"], "--match"),
        (["silence", "CONFIG", "--end", "s-1", "--for", "1h"], "--end"),
        (["silence", "CONFIG", "--model", "frod", "--for", "1h", "--reason", "x"], "model=fraud"),
        (
            ["silence", "CONFIG", "--model", "fraud", "--for", "1h", "--reason", "x" * 501],
            "nothing was written",
        ),
        (["silence", "CONFIG", "--model", "fraud", "--for", "90d", "--reason", "x"], "at most 30d"),
        (["silence", "none.yaml", "--model", "fraud", "--for", "1h", "--reason", "x"], "none.yaml"),
        (["accept", "CONFIG"], "expected an ALERT"),
        (["accept", "CONFIG", "abc"], "at least the first 4"),
        (["accept", "CONFIG", "--monitor", "eror-rate"], "error-rate"),
        (["verdict", "CONFIG", "xyzz", "true"], "digits and a to f"),
        (["verdict", "CONFIG", "1111", "maybe"], "maybe"),
        (["verdict", "CONFIG", "true"], "Missing argument"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_before_a_broker_is_asked(
    config: Path, arguments: list[str], told: str
) -> None:
    done = cli(*(str(config) if part == "CONFIG" else part for part in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr
