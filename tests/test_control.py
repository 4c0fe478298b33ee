"""What the control keeps: which windows are in force, verdicts and incidents; written with the commit, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from streamwatch.alerts import rfc3339
from streamwatch.commands import Verdict
from streamwatch.control import MOST_IN_FORCE, MOST_VERDICTS, NONE, STATE_KEY, Control
from streamwatch.engine import Engine
from streamwatch.errors import SenderError, StateDamaged
from streamwatch.state import pack, unpack
from tests.build import START_S, mixed
from tests.talk import accept, end, silence
from tests.test_commands import process, steps, told, watch
from tests.test_engine import Store


def kept(engine: Engine) -> dict[str, Any]:
    return unpack(STATE_KEY, engine.changes()[STATE_KEY] or b"", STATE_KEY)


def verdict(incident: str, word: Any = "false") -> Verdict:
    return Verdict(id=f"v{incident}", author="bo", incident=incident, verdict=word)


# ---- bounded


def test_a_silence_is_replaced_even_when_no_more_can_be_in_force():
    control = Control(watch())
    for number in range(MOST_IN_FORCE):
        control.obey(silence(f"s{number}"), START_S)
    with pytest.raises(SenderError, match="end some of them"):
        control.obey(silence("more"), START_S)
    assert control.obey(silence("s7", reason="longer"), START_S)
    assert [window.reason for window in control.windows if window.name == "s7"] == ["longer"]
    assert len(control.windows) == MOST_IN_FORCE


def test_verdicts_are_bounded_and_the_one_said_longest_ago_goes():
    control = Control(watch())
    for number in (*range(MOST_VERDICTS), 5, MOST_VERDICTS):
        control.obey(verdict(f"i{number}"), START_S)
    assert len(control.verdicts) == MOST_VERDICTS
    assert "i0" not in control.verdicts
    assert [*control.verdicts][-2:] == ["i5", f"i{MOST_VERDICTS}"]


# ---- in state


def test_it_is_written_only_when_something_was_said():
    """A commit a second must not write a thousand silences each time."""
    engine = Engine(watch())
    engine.process(mixed(steps(10, 5)))
    assert kept(engine)["since_s"] == START_S
    engine.process(mixed(steps(20, 5, start=10), 10))
    assert STATE_KEY not in engine.changes()
    engine.process(mixed([silence()], 20))
    assert [one["id"] for one in kept(engine)["commands"]] == ["s1"]
    engine.process(mixed([end("no-such"), accept()], 21))
    assert STATE_KEY not in engine.changes()


def test_state_from_before_there_were_commands_goes_on():
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed(steps(600, 400)))
    store.take(engine)
    del store.state[STATE_KEY]
    again = store.engine(watch(repeat_every="0s"))
    assert again.control.unaffected == (*NONE[:2], START_S + 599)
    assert told(again.process(mixed([silence()], 600)).alerts) == [("firing", "silenced", True)]


def test_commands_before_the_first_event_outlive_a_restart():
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed([silence()]))
    store.take(engine)
    again = store.engine(watch())
    assert again.control.since_s is None
    assert told(again.process(mixed(steps(900, 400), 1)).alerts)[0] == ("firing", "first", True)


def test_windows_that_the_config_changed_are_so_since_that_restart_and_no_later_one():
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed(steps(100, 50)))
    store.take(engine)
    window = {"name": "w", "from": rfc3339(START_S), "to": rfc3339(START_S + 50)}
    changed = store.engine(watch(windows=[window]))
    assert kept(changed)["windows_since_s"] == START_S + 99
    store.take(changed)
    changed.process(mixed(steps(200, 50, start=100), 100))
    store.take(store.engine(watch(windows=[window])))
    changed.control.fire("error")  # so that there is something to write
    assert kept(changed)["windows_since_s"] == START_S + 99


DAMAGED: list[dict[str, Any]] = [
    {"commands": [{"command": "dance"}]},
    {"commands": None},
    {"verdicts": [["i", True]]},
    {"fired": {"error": "many"}},
    {"since_s": "soon"},
]


@pytest.mark.parametrize("damage", [*DAMAGED, {}], ids=[*(str(*d) for d in DAMAGED), "windows"])
def test_what_commands_did_not_leave_is_refused(damage):
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed([silence(), *steps(5, 5)]))
    store.take(engine)
    content = unpack(STATE_KEY, store.state[STATE_KEY], STATE_KEY)
    if not damage:
        del content["windows"]
    store.state[STATE_KEY] = pack(STATE_KEY, {**content, **damage})
    with pytest.raises(StateDamaged, match="control"):
        store.engine(watch())


# ---- since when


@pytest.mark.parametrize("restart", [False, True])
def test_a_silence_that_was_over_before_it_came_says_nothing(restart):
    """What stood at its time was said then, and no alert is edited."""
    events = steps(900, 400)
    said = silence("s1", 450, 100)
    store = Store()
    engine = store.engine(watch(repeat_every="0s"))
    alerts = list(engine.process(mixed([*events[:600], said])).alerts)
    if restart:
        store.take(engine)
        engine = store.engine(watch(repeat_every="0s"))
    alerts += engine.process(mixed(events[600:], 601)).alerts
    assert told(alerts) == [("firing", "first", False)]
    assert alerts[0].time < rfc3339(START_S + 450)


def test_of_silences_that_overlap_the_first_by_name_is_told():
    """Whichever came first: state holds them in the order of their names, and a restart must change nothing."""
    for names in (("s1", "s2"), ("s2", "s1")):
        alerts = process(watch(), *(silence(name) for name in names), *steps(900, 400))
        assert alerts[0].data.silenced_by.name == "s1"
