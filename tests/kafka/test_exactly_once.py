"""Exactly once: three workers, a real broker, and faults of every kind on a seeded schedule, while people talk.

The plain run shares the kinds between one task with standbys, and four tasks that several workers share, with late
labels and a rolling restart. The long versions, 200 faults of all kinds each:

    python -m tests.kafka.faults --faults 200 --seed 1
    python -m tests.kafka.faults --faults 200 --seed 1 --tasks per_partition
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamwatch.config import Tasks
from tests.kafka.faults import trial

SEED = 1
STANDBYS = ("kill standby", "kill offsets", "kill commit", "broker commit", "refuse alerts")
SHARED = ("roll all", "kill offsets", "kill commit", "stop owner", "broker commit")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("tasks", "kinds"), [("one", STANDBYS), ("per_partition", SHARED)])
def test_faults_of_every_kind_lose_nothing_and_double_nothing(tasks: Tasks, kinds: Sequence[str]) -> None:
    """Alerts and dead letters of each task are those of an undisturbed run of inputs and commands together, byte by
    byte and in order; state and offsets too. So each command acted once in each task, and at its record."""
    outcome = trial(SEED, len(kinds), only=kinds, tasks=tasks)
    assert not outcome.problems, str(outcome)
    # Else it would prove less than it says.
    assert set(outcome.hits) == set(kinds), str(outcome)
    assert outcome.aborted_alerts > 0, f"no transaction that was hit held an alert: {outcome}"
    assert outcome.alerts > 100, str(outcome)
    assert outcome.dead_letters > 50, str(outcome)
    assert outcome.state_values > 20, str(outcome)
    assert set(outcome.commands) == {"silence", "pause", "end", "accept", "verdict"}, str(outcome)
    assert set(outcome.commanded) == {"silenced", "unsilenced", "accepted"}, str(outcome)
    assert outcome.heard_again > 20, f"hardly a command was in a batch that was processed twice: {outcome}"
