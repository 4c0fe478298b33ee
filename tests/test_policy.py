"""Each rule of the policy, by its number, and the reasons it gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from streamwatch.detectors.base import Detection, Level
from streamwatch.policy import (
    BlindLimit,
    Blindness,
    Decision,
    Drift,
    Look,
    Policy,
    blind_due_s,
    drift_due_s,
    on_cold,
    on_detection,
    on_look,
    on_mute,
    on_time,
    on_time_blind,
    on_warm,
)

NOW = 1000.0


def settle_s(policy: Policy, drift: Drift) -> float:
    """Where nothing is skipped."""
    return drift.detected_s + policy.settle_after


def change(before: float, after: float) -> Detection:
    direction = "up" if after >= before else "down"
    return Detection(0, direction, Level(before, 500), Level(after, 40), 900.0, 10.0)


OPEN = Drift(Level(0.10, 500), Level(0.30, 40), since_s=0.0, said_s=0.0, detected_s=0.0)

DETECTIONS = [
    # rule, policy, what stands, detection, state, reason
    ("1", Policy(direction="down"), None, change(0.1, 0.3), None, "other direction"),
    ("1 while open", Policy(direction="up"), OPEN, change(0.3, 0.1), None, "other direction"),
    ("2", Policy(ignore_below=0.25), None, change(0.1, 0.3), None, "small"),
    ("2 as a share", Policy(ignore_below="210%"), None, change(0.1, 0.3), None, "small"),
    ("2 at the limit", Policy(ignore_below=0.25), None, change(0.25, 0.5), "firing", "first"),
    ("3", Policy(), None, change(0.1, 0.3), "firing", "first"),
    ("4", Policy(), OPEN, change(0.3, 0.19), "firing", "improved"),
    ("4 back at the start", Policy(), OPEN, change(0.3, 0.1), "firing", "improved"),
    ("5", Policy(), OPEN, change(0.3, -0.1), "firing", "turned"),
    ("6", Policy(), OPEN, change(0.3, 0.4), "firing", "worse"),
    ("7", Policy(), OPEN, change(0.3, 0.35), None, "known"),
]


@pytest.mark.parametrize(("policy", "drift", "found", "state", "reason"), [row[1:] for row in DETECTIONS],
                         ids=[f"rule {row[0]}" for row in DETECTIONS])  # fmt: skip
def test_a_detection_is_decided_by_the_first_rule_that_fits(policy, drift, found, state, reason):
    decision, after = on_detection(policy, drift, found, NOW)
    assert (decision.state, decision.reason, decision.time_s) == (state, reason, NOW)
    if state == "firing":
        assert after is not None
        assert after.said == found.after
        assert after.said_s == after.detected_s == NOW
        assert after.before == (drift.before if drift else found.before)
        assert after.since_s == (drift.since_s if drift else found.onset_time_s)
    elif reason == "known":
        assert after == Drift(drift.before, drift.said, drift.since_s, drift.said_s, detected_s=NOW)
    else:
        assert after == drift


POLICY = Policy(settle_after="1h", repeat_every="10m")
LONG = Policy(settle_after="1h", repeat_every="4h")
NEVER = Policy(settle_after="1h", repeat_every="0s")

TIMES = [
    # rule, policy, now, state, reason, time of the alert
    ("nothing is due", POLICY, 599.0, None, None, None),
    ("9", POLICY, 600.0, "firing", "reminder", 600.0),
    ("9, of several that are due the last is written", POLICY, 1900.0, "firing", "reminder", 1800.0),
    ("8 comes before 9", POLICY, 3600.0, "settled", "quiet", 3600.0),
    ("8, with the time at which it was due", LONG, 9000.0, "settled", "quiet", 3600.0),
    ("9 is off", NEVER, 3599.0, None, None, None),
]


@pytest.mark.parametrize(("policy", "now_s", "state", "reason", "time_s"), [row[1:] for row in TIMES],
                         ids=[f"rule {row[0]}" for row in TIMES])  # fmt: skip
def test_time_settles_or_reminds(policy, now_s, state, reason, time_s):
    decision, after = on_time(policy, OPEN, settle_s(policy, OPEN), now_s)
    if state is None:
        assert (decision, after) == (None, OPEN)
        return
    assert tuple(decision) == (state, reason, time_s)
    assert (after is None) == (state == "settled")
    if after is not None:
        assert after.said_s == time_s


def test_time_that_was_skipped_is_not_quiet():
    """Rule 8 counts from a moment that who knows the windows gives."""
    assert on_time(LONG, OPEN, 5000.0, 4999.0)[0] is None
    assert on_time(LONG, OPEN, 5000.0, 9000.0)[0] == ("settled", "quiet", 5000.0)


@pytest.mark.parametrize("state", ["firing", "blind"])
@pytest.mark.parametrize(
    ("silenced", "muted", "reason"),
    [(False, True, "silenced"), (True, False, "unsilenced"), (False, False, None), (True, True, None)],
    ids=["rule 17", "rule 18", "neither", "still muted"],
)
def test_what_is_open_is_said_again_when_its_mark_changes(state, silenced, muted, reason):
    assert on_mute(state, silenced, muted, NOW) == (None if reason is None else (state, reason, NOW))


@pytest.mark.parametrize("policy", [POLICY, LONG, NEVER])
def test_what_is_due_is_due_exactly_then(policy):
    due_s = drift_due_s(policy, OPEN, settle_s(policy, OPEN))
    assert on_time(policy, OPEN, settle_s(policy, OPEN), due_s - 0.001)[0] is None
    assert on_time(policy, OPEN, settle_s(policy, OPEN), due_s)[0] is not None


BAD, NONE, GOOD = Look(False, 6, 40, False), Look(False, 0, 1000, True), Look(True, 0, 100, False)
BLIND = Blindness(0.0, 0.0)
COLD = Blindness(0.0, 0.0, cold=True)


@pytest.mark.parametrize(
    ("blindness", "look", "state", "reason"),
    [
        pytest.param(None, BAD, "blind", "unusable values", id="rule 10"),
        pytest.param(None, NONE, "blind", "no values", id="rule 11"),
        pytest.param(BLIND, GOOD, "seeing", "usable again", id="rule 12"),
        pytest.param(BLIND, BAD, None, None, id="still blind says nothing new"),
        pytest.param(None, GOOD, None, None, id="still seeing says nothing"),
    ],
)
def test_a_look_makes_blind_or_seeing_once(blindness, look, state, reason):
    decision, after = on_look(blindness, look, NOW)
    if state is None:
        assert (decision, after) == (None, blindness)
    else:
        assert tuple(decision) == (state, reason, NOW)
        assert after == (Blindness(NOW, NOW) if state == "blind" else None)


def test_who_has_not_seen_enough_is_blind_until_it_has():
    """Rules 14 to 16, and 10 to 12 of who is blind for that."""
    said = Decision("blind", "warm-up", NOW)
    assert on_cold(None, NOW) == (said, Blindness(NOW, NOW, cold=True))
    assert on_cold(BLIND, NOW) == (None, BLIND)
    assert on_look(BLIND, GOOD, NOW, cold=True) == (said, Blindness(0.0, NOW, cold=True))
    assert on_look(COLD, GOOD, NOW, cold=True) == (None, COLD)
    assert on_look(COLD, BAD, NOW, cold=True) == (
        Decision("blind", "unusable values", NOW),
        Blindness(0.0, NOW),
    )
    assert on_warm(COLD, NOW) == (Decision("seeing", "warmed up", NOW), None)
    assert on_warm(BLIND, NOW) == (None, BLIND)
    assert on_warm(None, NOW) == (None, None)


def test_blindness_is_repeated_like_an_open_drift():
    """Rule 13."""
    assert blind_due_s(POLICY, BLIND) == 600.0
    assert on_time_blind(POLICY, BLIND, 599.0) == (None, BLIND)
    decision, after = on_time_blind(POLICY, BLIND, 1250.0)
    assert tuple(decision) == ("blind", "reminder", 1200.0)
    assert after == Blindness(0.0, 1200.0)
    assert blind_due_s(NEVER, BLIND) == float("inf")


@pytest.mark.parametrize("value", [-1, "-3%", "abc", True, float("nan"), float("inf"), "inf%", None])
def test_ignore_below_wants_an_amount_or_a_percentage(value):
    with pytest.raises(ValidationError, match=r"from 0 up, or a percentage like 10%"):
        Policy(ignore_below=value)


@pytest.mark.parametrize(
    "field", [{"settle_after": "0s"}, {"blind": BlindLimit(unusable=0.1), "severity": "high"}]
)
def test_a_policy_refuses_what_makes_no_sense(field):
    with pytest.raises(ValidationError):
        Policy(**field)


@pytest.mark.parametrize("repeat_every", ["100ms", "700ms", "1.1s", "2.3s", "10m"])
def test_a_reminder_that_is_due_moves_on(repeat_every):
    """Rule 9: the quotient of two floats may round to 0 although a whole period has passed."""
    policy = Policy(repeat_every=repeat_every, settle_after="10d")
    drift = OPEN
    for _ in range(100):
        due_s = drift_due_s(policy, drift, settle_s(policy, drift))
        decision, drift = on_time(policy, drift, settle_s(policy, drift), due_s)
        assert decision is not None
        assert drift is not None
        assert drift_due_s(policy, drift, settle_s(policy, drift)) > due_s


@pytest.mark.parametrize(
    ("policy", "found"),
    [(Policy(direction="up"), change(0.3, 0.1)), (Policy(ignore_below=0.25), change(0.1, 0.3))],
)
def test_what_is_no_alert_lets_the_detector_begin_anew_all_the_same(policy, found):
    """Until it can detect something again, that it finds nothing is no quiet (rule 8)."""
    _, after = on_detection(policy, replace(OPEN, warm_s=5.0), found, NOW)
    assert after == OPEN
