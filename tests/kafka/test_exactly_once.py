"""Exactly once: three workers, a real broker, and faults of every kind on a seeded schedule, while people talk.

The plain run has each essential fault once and takes about a minute. The long version, 200 faults:

    python -m tests.kafka.faults --faults 200 --seed 1
"""

from __future__ import annotations

import pytest

from tests.kafka.faults import ESSENTIAL, KINDS, trial

SEED = 1


@pytest.mark.timeout(300)
def test_faults_of_every_kind_lose_nothing_and_double_nothing() -> None:
    """Alerts and dead letters are those of an undisturbed run of inputs and commands together, byte by byte and in
    order; state and offsets too. So each command acted once, and at its record."""
    outcome = trial(SEED, ESSENTIAL)
    assert not outcome.problems, str(outcome)
    # Else it would prove less than it says.
    hits = {tuple(kind.split(" ", 1)) for kind in outcome.hits}
    assert hits == set(list(KINDS)[:ESSENTIAL]), str(outcome)
    assert outcome.aborted_alerts > 0, f"no transaction that was hit held an alert: {outcome}"
    assert outcome.alerts > 200, str(outcome)
    assert outcome.dead_letters > 50, str(outcome)
    assert outcome.state_values > 20, str(outcome)
    assert set(outcome.commands) == {"silence", "pause", "end", "accept", "verdict"}, str(outcome)
    assert set(outcome.commanded) == {"silenced", "unsilenced", "accepted"}, str(outcome)
    assert outcome.heard_again > 20, f"hardly a command was in a batch that was processed twice: {outcome}"
