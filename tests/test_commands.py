"""Commands and windows in the engine: what they mark, skip and end, at their place among the events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from streamwatch.alerts import Alert, rfc3339
from streamwatch.commands import Accept, Command, End, Verdict, command
from streamwatch.config import Config
from streamwatch.control import MOST_IN_FORCE
from streamwatch.engine import Engine
from streamwatch.errors import SenderError
from streamwatch.times import epoch_s
from tests.build import START_S, config, event, life, mixed, mixed_batches, monitor
from tests.talk import pause, silence, spoken
from tests.test_engine import Store, everything

Item = dict[str, Any] | Command


def steps(n: int, at: int, seed: int = 3, start: int = 0, every_s: float = 1.0) -> list[dict[str, Any]]:
    """An error rate that rises from 5 % to 60 % at event `at`, one event a second."""
    draw = random.Random(seed)
    found = []
    for i in range(start, n):
        wrong = draw.random() < (0.05 if i < at else 0.6)
        found.append(event(START_S + i * every_s, event_id=f"e{i}", prediction=int(wrong), label=0))
    return found


def watch(**policy: Any) -> Config:
    more = {key: policy.pop(key) for key in ("windows", "max_stream_keys") if key in policy}
    return config(
        monitor("error", "error", **{"settle_after": "30m", "repeat_every": "10m", **policy}), **more
    )


def process(of: Config, *items: Item) -> list[Alert]:
    return list(Engine(of).process(mixed(items)).alerts)


def told(alerts: Sequence[Alert]) -> list[tuple[str, str, bool]]:
    return [(alert.state, alert.data.reason, alert.silenced) for alert in alerts]


# ---- silence


def test_a_silenced_alert_is_written_all_the_same_and_marked():
    plain = process(watch(), *steps(900, 400))
    marked = process(watch(), silence(reason="backfill"), *steps(900, 400))
    assert told(plain)[0] == ("firing", "first", False)
    assert told(marked)[0] == ("firing", "first", True)
    by = marked[0].data.silenced_by
    assert (by.name, by.author, by.reason, by.until) == ("s1", "ana", "backfill", rfc3339(START_S + 3600))
    assert [alert.id for alert in marked] == [alert.id for alert in plain]
    assert marked[0].open


def test_a_silence_marks_only_what_fits():
    other = silence("s1", 0, 3600, "model=fraud", "monitor=other")
    assert told(process(watch(), other, *steps(900, 400)))[0] == ("firing", "first", False)


def test_what_is_open_when_a_silence_comes_is_said_again_and_once_more_when_it_ends():
    events = steps(900, 400)
    alerts = process(watch(repeat_every="0s"), *events[:600], silence("s1", 0, 700), *events[600:])
    assert told(alerts) == [
        ("firing", "first", False),
        ("firing", "silenced", True),
        ("firing", "unsilenced", False),
    ]
    assert [alert.time for alert in alerts[1:]] == [rfc3339(START_S + 599), rfc3339(START_S + 700)]
    assert alerts[1].data.summary.endswith(f"silenced by ana until {rfc3339(START_S + 700)}")
    assert len({alert.data.key for alert in alerts}) == 1
    assert len({alert.id for alert in alerts}) == 3


def test_an_alert_that_came_in_the_silence_speaks_up_when_it_is_over():
    """Else a pager that drops what is silenced would never hear of it."""
    alerts = process(watch(repeat_every="0s"), silence("s1", 0, 800), *steps(900, 400))
    assert told(alerts) == [("firing", "first", True), ("firing", "unsilenced", False)]


def test_a_silence_can_be_ended_early_and_replaced():
    events = steps(1200, 400)
    alerts = process(
        watch(repeat_every="0s"),
        silence("s1", 0, 5000),
        *events[:700],
        silence("s1", 0, 6000),
        *events[700:800],
        End(id="x", author="bo", of="s1"),
        *events[800:],
    )
    assert told(alerts) == [("firing", "first", True), ("firing", "unsilenced", False)]
    assert alerts[1].time == rfc3339(START_S + 799)


def test_reminders_of_what_is_silenced_are_marked_too():
    alerts = process(watch(), silence("s1", 0, 4000), *steps(2000, 400))
    assert told(alerts)[:2] == [("firing", "first", True), ("firing", "reminder", True)]


def test_a_silence_of_another_time_marks_nothing():
    for off in (silence("s1", -9000, 3600), silence("s1", 90_000, 3600)):
        assert {alert.silenced for alert in process(watch(), off, *steps(900, 400))} == {False}


def test_two_silences_one_after_the_other_at_one_moment_give_two_ids():
    events = steps(900, 400)
    ends = [End(id="x", author="bo", of=name) for name in ("s1", "s2")]
    alerts = process(
        watch(repeat_every="0s"), *events, silence("s1"), ends[0], silence("s2"), ends[1], silence("s1")
    )
    assert [reason for _, reason, _ in told(alerts)] == ["first", *["silenced", "unsilenced"] * 2, "silenced"]
    assert len({alert.id for alert in alerts[:-1]}) == len(alerts) - 1


def test_what_is_blind_is_silenced_and_stays_blind():
    events = [event(START_S + i, prediction=1, label=0, score="high") for i in range(200)]
    items = [*events[:150], silence("s1", 0, 160), *events[150:]]
    alerts = process(config(monitor("score", "score", repeat_every="0s")), *items)
    assert told(alerts) == [
        ("blind", "unusable values", False),
        ("blind", "silenced", True),
        ("blind", "unsilenced", False),
    ]


def test_a_silence_is_in_the_state_of_the_commit_that_says_so():
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed(steps(600, 400)))
    store.take(engine)
    engine = store.engine(watch())
    engine.process(mixed([silence()], 600))
    store.take(engine)
    (still,) = store.engine(watch()).open()
    assert still.alert.silenced
    assert engine.control.fired == {"error": 1}  # saying it again is no new incident


def test_a_command_makes_alerts_in_the_order_of_stream_keys_and_monitors():
    """Not in that in which they came to be watched: a restart forgets it."""
    draw = random.Random(4)
    events = [
        event(
            START_S + i,
            model="b" if i % 2 else "a",
            features={"size": draw.gauss(1 + 9 * (i > 800), 1)}
            | ({"age": draw.gauss(1 + 9 * (i > 800), 1)} if i > 9 else {}),
        )
        for i in range(1000)
    ]
    of = config(monitor("inputs", "feature", of="all", repeat_every="0s"))
    alerts = process(of, events[1], *events, silence("s1", 0, 5000, "monitor=inputs"))
    assert told(alerts[-4:]) == [("firing", "silenced", True)] * 4
    assert [(alert.data.model, alert.data.signal["name"]) for alert in alerts[-4:]] == [
        (model, name) for model in "ab" for name in ("age", "size")
    ]


# ---- accept


def test_accept_ends_what_is_open_and_the_detector_begins_anew():
    events = steps(2500, 400)
    engine = Engine(watch(repeat_every="0s"))
    first = engine.process(mixed([*events[:900], Accept(id="a1", author="ana", match=("monitor=error",))]))
    assert told(first.alerts) == [("firing", "first", False), ("ended", "accepted", False)]
    assert not first.alerts[1].open
    assert first.obeyed[0].watchers == 1
    assert engine.open() == []
    assert engine.gauges()[0].n == 0
    after = engine.process(mixed(events[900:], 901))
    assert after.alerts == []
    assert engine.gauges()[0].level == pytest.approx(0.6, abs=0.05)


def test_accept_by_incident_touches_that_alert_only():
    of = config(
        monitor("error", "error", repeat_every="0s", settle_after="2h"),
        monitor("again", "error", repeat_every="0s", settle_after="2h"),
    )
    engine = Engine(of)
    first = engine.process(mixed(steps(900, 400))).alerts
    accept = Accept(id="a1", author="ana", match=(f"incident={first[0].data.incident}",))
    output = engine.process(mixed([accept], 900))
    assert [(alert.data.monitor, alert.data.reason) for alert in output.alerts] == [("error", "accepted")]
    assert [one.alert.data.monitor for one in engine.open()] == ["again"]


ACCEPTED = [
    (("monitor=error",), 1, [0, 300]),
    (("model=fraud",), 2, [0, 0]),
    (("model=other",), 0, [300, 300]),
    (("incident=none",), 0, [300, 300]),
    (("incident!=none",), 0, [300, 300]),
    (("monitor=error", "key=none"), 0, [300, 300]),
    (("monitor=error", "key!=none"), 0, [300, 300]),
]


@pytest.mark.parametrize(("match", "about", "n"), ACCEPTED, ids=[" ".join(row[0]) for row in ACCEPTED])
def test_what_begins_anew_is_what_an_accept_fits(match, about, n):
    """With nothing open, too; but what names an open alert is about nothing when there is none."""
    engine = Engine(config(monitor("error", "error"), monitor("again", "error")))
    output = engine.process(mixed([*steps(300, 300), Accept(id="a1", author="ana", match=match)]))
    assert (output.alerts, output.obeyed[0].watchers) == ([], about)
    assert [gauge.n for gauge in engine.gauges()] == n


def test_an_accept_is_in_the_state_of_the_commit_that_says_so():
    store = Store()
    engine = store.engine(watch())
    engine.process(mixed(steps(600, 400)))
    store.take(engine)
    engine = store.engine(watch())
    engine.process(mixed([Accept(id="a1", author="ana", match=("model=*",))], 600))
    store.take(engine)
    engine = store.engine(watch())
    assert engine.open() == []
    assert engine.gauges()[0].n == 0


def test_accept_leaves_blindness_alone():
    events = [event(START_S + i, prediction=1, label=0, score="high") for i in range(200)]
    engine = Engine(config(monitor("score", "score")))
    engine.process(mixed(events))
    output = engine.process(mixed([Accept(id="a1", author="ana", match=("monitor=score",))], 200))
    assert output.alerts == []
    assert [one.alert.state for one in engine.open()] == ["blind"]


# ---- pause and windows that skip


def test_detectors_do_not_read_what_a_pause_covers():
    events = steps(1200, 400)
    engine = Engine(watch())
    output = engine.process(mixed([*events[:400], pause("p1", 400, 600), *events[400:1000]]))
    assert output.alerts == []
    assert engine.gauges()[0].n == 400
    assert engine.gauges()[0].paused
    late = engine.process(mixed(events[1000:], 1001))
    assert told(late.alerts) == [("firing", "first", False)]


def test_a_pause_goes_by_the_time_of_each_event():
    """Events of the covered time that come late are skipped, too; others that come meanwhile are read."""
    events = [event(START_S + i, prediction=0, label=0) for i in (0, 10, 50, 20, 30, 51, 29)]
    engine = Engine(watch())
    engine.process(mixed([pause("p1", 20, 10), *events]))
    assert engine.gauges()[0].n == 5


def test_time_that_is_skipped_is_not_quiet():
    """An open alert does not settle because nobody looked."""
    events = steps(900, 400)
    after = [event(START_S + 900 + i * 60, prediction=1, label=0) for i in range(200)]
    calm = process(watch(repeat_every="0s", ignore_below=0.5), *events, *after)
    paused = process(watch(repeat_every="0s", ignore_below=0.5), *events, pause("p1", 1000, 5000), *after)
    assert told(calm) == told(paused) == [("firing", "first", False), ("settled", "quiet", False)]
    assert times(paused)[1] - times(calm)[1] == pytest.approx(5000)


def times(alerts: Sequence[Alert]) -> list[float]:
    return [epoch_s(alert.time) for alert in alerts]


def test_windows_of_the_config_mute_and_skip_like_commands():
    events = steps(900, 400)
    when = {"from": rfc3339(START_S), "to": rfc3339(START_S + 3600)}
    muted = process(watch(windows=[{"name": "launch", "match": ["model=fraud"], **when}]), *events)
    assert told(muted)[0] == ("firing", "first", True)
    assert (muted[0].data.silenced_by.name, muted[0].data.silenced_by.author) == ("launch", None)
    engine = Engine(watch(windows=[{"name": "load-test", "do": "skip", **when}]))
    assert engine.process(mixed(events)).alerts == []
    assert engine.gauges()[0].n == 0


def test_a_window_that_the_config_loses_or_gains_is_so_from_the_restart_on():
    events = steps(900, 400)
    when = {"from": rfc3339(START_S), "to": rfc3339(START_S + 9000)}
    of = watch(windows=[{"name": "launch", **when}], repeat_every="0s")
    store = Store()
    engine = store.engine(of)
    assert told(engine.process(mixed(events)).alerts) == [("firing", "first", True)]
    store.take(engine)
    engine = store.engine(watch(repeat_every="0s"))
    more = steps(1000, 0, start=900)
    lost = engine.process(mixed(more, 900)).alerts
    assert told(lost) == [("firing", "unsilenced", False)]
    assert times(lost) == [START_S + 899]
    store.take(engine)
    gained = store.engine(of).process(mixed(steps(1100, 0, start=1000), 1000)).alerts
    assert told(gained) == [("firing", "silenced", True)]


# ---- verdicts, and what is no command


def test_verdicts_and_incidents_are_counted_and_the_last_verdict_counts():
    events = steps(900, 400)
    engine = Engine(watch())
    alert = engine.process(mixed(events)).alerts[0]
    said = [
        Verdict(id=f"v{n}", author="bo", incident=alert.data.incident, verdict=word, monitor="error")
        for n, word in enumerate(["true", "false"])
    ]
    engine.process(mixed(said, 900))
    assert engine.control.fired == {"error": 1}
    assert [(one.verdict, one.monitor, one.time_s) for one in engine.control.verdicts.values()] == [
        (False, "error", START_S + 899)
    ]
    assert engine.control.since_s == START_S


WRONG = [
    (b"", "malformed|truncated"),
    (b"{}", "missing required field `command`"),
    (b'{"command":"dance","id":"1","author":"a"}', "dance"),
    (b'{"command":"accept","id":"1","author":"a","match":[]}', "length >= 1"),
    (b'{"command":"accept","id":"1","author":"a","match":["model"]}', "expected name=value"),
    (b'{"command":"accept","id":"1","author":"a","match":["colour=red"]}', "expected one of model"),
    (b'{"command":"accept","id":"1","author":"","match":["model=a"]}', "length >= 1"),
    (b'{"command":"silence","id":"1","author":"a","match":["model=a"]}', "missing required field `from`"),
    (b'{"command":"silence","id":"1","author":"a","match":["incident=a"],"from":"2026-01-01T00:00:00Z",'
     b'"to":"2026-01-01T00:00:00Z"}', "expected one of model"),
    (b'{"command":"pause","id":"1","author":"a","match":["model=a"],"from":"2026-01-01T00:00:00Z",'
     b'"to":"2026-01-01T00:00:00Z"}', "is not after"),
    (b'{"command":"pause","id":"1","author":"a","match":["model=a"],"from":"2026-01-01T00:00:00",'
     b'"to":"2026-01-02T00:00:00Z"}', "with its zone"),
    (b'{"command":"verdict","id":"1","author":"a","incident":"i","verdict":"maybe"}', "maybe"),
    (b'{"command":"end","id":"1","author":"a","of":"s","extra":1}', "extra"),
    (b"[" * 5000, "malformed|expected|Expected|deep"),
    (b'{"command":"end","id":"1","author":"a","of":"' + b"x" * 70_000 + b'"}', "at most 65536 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "says"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_what_is_no_command_is_refused_with_what_was_expected(value, says):
    with pytest.raises(SenderError, match=says) as refused:
        command(value)
    assert refused.value.code == "not a command"


def test_what_is_no_command_becomes_a_dead_letter_and_the_rest_goes_on():
    whole = mixed([{"command": "dance"}, *steps(900, 400), silence()])
    source = whole.source.copy()
    source[0] = 0  # of the control topic
    broken = replace(whole, source=source)
    output = Engine(watch()).process(broken)
    assert [(letter.topic, letter.offset, letter.code) for letter in output.dead_letters] == [
        ("watch-control", 0, "not a command")
    ]
    assert told(output.alerts) == [("firing", "first", False), ("firing", "silenced", True)]
    assert output.events == 900


def test_more_silences_than_can_be_in_force_are_refused():
    engine = Engine(watch())
    output = engine.process(mixed([silence(f"s{n}") for n in range(MOST_IN_FORCE + 1)]))
    assert [letter.code for letter in output.dead_letters] == ["not a command"]
    assert len(engine.control.windows) == MOST_IN_FORCE
    late = engine.process(
        mixed([*steps(10, 5, start=5, every_s=1000.0), silence("late", 5000)], MOST_IN_FORCE + 1)
    )
    assert late.dead_letters == []
    assert len(engine.control.windows) == 1


def test_a_command_before_the_first_event_counts():
    engine = Engine(watch())
    assert engine.process(mixed([silence(), Accept(id="a", author="b", match=("model=*",))])).alerts == []
    assert told(engine.process(mixed(steps(900, 400), 2)).alerts)[0][2]


# ---- neither batches nor restarts change anything


def talk(n: int, seed: int) -> list[Item]:
    """`life` with people talking into it."""
    draw = random.Random(seed)
    items: list[Item] = []
    for i, one in enumerate(life(n)):
        if draw.random() < 0.01:
            items.append(spoken(draw, i, one["timestamp"] - START_S, ABOUT))
        items.append(one)
    return items


ABOUT = [("model=fraud",), ("monitor=score",), ("monitor=in*", "model!=churn"), ("severity=warning",)]
SEED = 38  # of a talk that shows every reason
WINDOWS = [
    {"name": "night", "weekly": {"from": "22:00", "to": "04:00", "zone": "Europe/Berlin"}},
    {"name": "test", "do": "skip", "match": ["monitor=error*"], "from": rfc3339(START_S + 500),
     "to": rfc3339(START_S + 650)},
]  # fmt: skip


def lived(
    of: Config, items: Sequence[Item], sizes: Sequence[int], restart: bool
) -> tuple[list[bytes], dict[str, bytes]]:
    store = Store()
    outputs = store.live(of, mixed_batches(items, sizes), restart)
    alerts = [alert for output in outputs for alert in output.alerts]
    return [alert.message().value or b"" for alert in alerts], store.state


def test_commands_do_not_depend_on_batches_nor_restarts():
    items = talk(1500, SEED)
    of = everything(windows=WINDOWS)
    expected = lived(of, items, [len(items)], False)
    text = b"\n".join(expected[0])
    for reason in (b"silenced", b"unsilenced", b"accepted", b"reminder", b"quiet"):
        assert b'"reason":"' + reason + b'"' in text
    assert len(set(expected[0])) == len(expected[0])
    draw = random.Random(SEED)
    for most, restart in ((1, False), (60, True), (500, True)):
        sizes: list[int] = []
        while sum(sizes) < len(items):
            sizes.append(draw.randint(1, most))
        assert lived(of, items, sizes, restart) == expected
