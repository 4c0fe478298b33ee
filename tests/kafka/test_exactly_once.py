"""Exactly once: three workers, a real broker, and faults of every kind on a seeded schedule.

The plain run has each essential fault once and takes about a minute. The long version, 200 faults:

    python -m tests.kafka.faults --faults 200 --seed 1
"""

from __future__ import annotations

import pytest

from tests.kafka.faults import ESSENTIAL, KINDS, trial

SEED = 1


@pytest.mark.timeout(300)
def test_faults_of_every_kind_lose_nothing_and_double_nothing() -> None:
    """Alerts and dead letters are those of an undisturbed run, byte by byte and in order; state and offsets too."""
    outcome = trial(SEED, ESSENTIAL)
    assert not outcome.problems, str(outcome)
    # Else it would prove less than it says.
    hits = {tuple(kind.split(" ", 1)) for kind in outcome.hits}
    assert hits == set(list(KINDS)[:ESSENTIAL]), str(outcome)
    assert outcome.aborted_alerts > 0, f"no transaction that was hit held an alert: {outcome}"
    assert outcome.alerts > 200, str(outcome)
    assert outcome.dead_letters > 50, str(outcome)
    assert outcome.state_values > 20, str(outcome)
