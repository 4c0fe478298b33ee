"""What a member of the group does about a join that kafka-python has forgotten.

The race itself takes a busy machine and luck, so the client is played here; the real one is in test_transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from kafka.coordinator.base import BaseCoordinator
from kafka.structs import MemberState

from streamwatch.transports.kafka.assignor import TaskAssignor
from streamwatch.transports.kafka.membership import Membership


@dataclass
class Coordinator:
    needs: bool
    asked: int = 0

    def need_rejoin(self) -> bool:
        return self.needs

    def request_rejoin(self) -> None:
        self.asked += 1


@dataclass
class Metadata:
    state: Any


class Consumer:
    def __init__(self, state: Any, needs: bool) -> None:
        self._coordinator = Coordinator(needs)
        self._state = state

    def poll(self, timeout_ms: int) -> dict[Any, Any]:
        return {}

    def group_metadata(self) -> Metadata:
        return Metadata(self._state)


@pytest.mark.parametrize(
    ("state", "needs", "told"),
    [
        pytest.param(MemberState.REBALANCING, False, True, id="joins, and does not know it: told to"),
        pytest.param(MemberState.REBALANCING, True, False, id="joins, and knows it"),
        pytest.param(MemberState.STABLE, False, False, id="has joined"),
        pytest.param(MemberState.UNJOINED, True, False, id="has not begun"),
    ],
)
def test_a_member_that_forgot_its_join_is_told_to_join(state: Any, needs: bool, told: bool) -> None:
    consumer = Consumer(state, needs)
    Membership(consumer, ["predictions"], TaskAssignor()).poll(1.0)
    assert (consumer._coordinator.asked > 0) == told


def test_kafka_python_still_has_what_this_relies_on() -> None:
    assert {"need_rejoin", "request_rejoin"} <= set(dir(BaseCoordinator))
