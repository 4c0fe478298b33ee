"""What `tail` shows of an alert, and what it leaves out."""

from __future__ import annotations

import json

import msgspec
import pytest

from streamwatch.alerts import Alert
from streamwatch.cli.tail import Wanted, shown
from tests.samples import alert


def text(
    made: Alert, wanted: Wanted = Wanted(), as_json: bool = False, colour: bool = False  # noqa: B008 - frozen
) -> str | None:  # fmt: skip
    return shown(msgspec.json.encode(made), wanted, as_json, colour)


def test_an_alert_is_one_line_that_a_person_can_read() -> None:
    assert text(alert(severity="critical", runbook="https://runbooks/error")) == (
        "2026-11-24T10:20:31Z  firing    critical  error-rate of fraud (country=DE) rose from 0.10 to 0.30"
        "  [first, owner risk-ml, https://runbooks/error]"
    )


def test_colour_tells_how_grave_and_whether_it_is_over() -> None:
    assert "\x1b" not in (text(alert()) or "")
    assert "\x1b[33mfiring" in (text(alert(), colour=True) or "")
    assert "\x1b[32mended" in (text(alert("ended", open=False), colour=True) or "")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(model="fraud"), True),
        (Wanted(model="churn"), False),
        (Wanted(monitor="error-rate"), True),
        (Wanted(monitor="score"), False),
        (Wanted(severity="warning"), True),
        (Wanted(severity="critical"), False),
        (Wanted(open=True), True),
        (Wanted(model="fraud", severity="critical"), False),
    ],
)
def test_only_what_is_wanted_is_shown(wanted: Wanted, fits: bool) -> None:
    assert (text(alert(), wanted) is not None) is fits
    assert (text(alert(), wanted, as_json=True) is not None) is fits


def test_a_closed_alert_is_not_open() -> None:
    assert text(alert("ended", open=False), Wanted(open=True)) is None


def test_json_is_the_alert_as_it_was_written() -> None:
    made = alert()
    assert json.loads(text(made, as_json=True) or "") == json.loads(msgspec.json.encode(made))


def test_names_out_of_events_cannot_break_the_line_or_the_terminal() -> None:
    line = text(alert(summary="score of a\n\x1b[2Jb rose"))
    assert line is not None
    assert line.isprintable()
    assert r"a\n\x1b[2Jb" in line


@pytest.mark.parametrize("value", [None, b"", b"x", b"[]", b"1", b"{}", b'{"data": 1}'])
def test_what_is_no_alert_is_shown_as_such_and_does_not_end_it(value: bytes | None) -> None:
    line = shown(value, Wanted(), False, False)
    assert line is not None
    assert line.startswith("not an alert")
