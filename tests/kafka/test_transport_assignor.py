"""Who gets which task, as a table, and what travels in the user data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from streamwatch.transports.kafka.assignor import Claim, TaskAssignor, read_claim, read_share, share


@pytest.mark.parametrize(
    ("rule", "tasks", "claims", "expected"),
    [
        ("one task, nobody claims it: the smallest member id", [0], {"b": Claim(), "a": Claim()}, {"a": (0,), "b": ()}),
        ("one task stays where it is", [0], {"a": Claim(), "b": Claim(3, (0,))}, {"a": (), "b": (0,)}),
        ("the newest generation wins", [0], {"a": Claim(8, (0,)), "b": Claim(9, (0,))}, {"a": (), "b": (0,)}),
        ("generation -1 claims nothing", [0], {"a": Claim(), "b": Claim(-1, (0,))}, {"a": (0,), "b": ()}),
        ("a newcomer gets its part, the rest stays", [0, 1, 2, 3],
         {"a": Claim(1, (0, 1)), "b": Claim(1, (2, 3)), "c": Claim()}, {"a": (0,), "b": (2, 3), "c": (1,)}),
        ("a task that is gone is not shared", [0], {"a": Claim(1, (0, 5))}, {"a": (0,)}),
        ("no tasks", [], {"a": Claim(1, (0,))}, {"a": ()}),
    ],
)  # fmt: skip
def test_tasks_are_shared_whole_even_and_sticky(
    rule: str, tasks: list[int], claims: dict[str, Claim], expected: dict[str, tuple[int, ...]]
) -> None:
    shares = share(tasks, claims)
    sizes = [len(owned) for owned in shares.values()]
    assert max(sizes) - min(sizes) < 2, rule
    assert sorted(task for owned in shares.values() for task in owned) == tasks, rule
    assert shares == expected, rule


def cluster(**partitions: int) -> Any:
    return SimpleNamespace(
        partitions_for_topic=lambda t: set(range(partitions[t])) if t in partitions else None
    )


def member(name: str, assignor: TaskAssignor, *topics: str) -> Any:
    sent = assignor.metadata(topics).encode()
    return SimpleNamespace(member_id=name, metadata=ConsumerProtocolSubscription.decode(sent))


def test_the_claim_of_the_last_assignment_travels_to_the_leader_and_keeps_the_task_there() -> None:
    """Through the bytes of the group protocol, as kafka-python sends them."""
    old, new = TaskAssignor(), TaskAssignor()
    first = old.assign(cluster(t=2, u=1), [member("z", old, "t", "u")])["z"]
    old.on_assignment(ConsumerProtocolAssignment.decode(first.encode()), 5)
    assert old.claim == Claim(5, (0,))

    both = new.assign(cluster(t=2, u=1), [member("a", new, "t", "u"), member("z", old, "t", "u")])
    assert sorted(map(tuple, both["z"].partitions())) == [("t", 0), ("t", 1), ("u", 0)]
    assert both["a"].partitions() == []


def test_a_member_that_lost_its_membership_claims_nothing() -> None:
    assignor = TaskAssignor()
    assignor.on_assignment(assignor.assign(cluster(t=1), [member("a", assignor, "t")])["a"], 5)
    assignor.forget()
    assert read_claim(assignor.metadata(["t"]).user_data) == Claim()


def test_user_data_that_cannot_be_read_claims_nothing() -> None:
    assert [read_claim(data) for data in (None, b"", b"\xff", b"\x91\xa1a")] == [Claim()] * 4


def test_per_partition_a_task_has_its_partition_of_every_topic() -> None:
    """And each member learns how many partitions the topics had, also one that gets no task."""
    assignor = TaskAssignor("per_partition")
    members = [member(name, assignor, "t", "u") for name in "abc"]
    given = assignor.assign(cluster(t=2, u=2), members)
    assert [sorted(map(tuple, given[name].partitions())) for name in "abc"] == [
        [("t", 0), ("u", 0)],
        [("t", 1), ("u", 1)],
        [],
    ]
    assert [read_share(given[name].user_data) for name in "abc"] == [
        ((0,), {"t": 2, "u": 2}),
        ((1,), {"t": 2, "u": 2}),
        ((), {"t": 2, "u": 2}),
    ]


def test_members_that_cut_the_work_in_different_ways_have_no_assignor_in_common() -> None:
    assert TaskAssignor("one").name != TaskAssignor("per_partition").name
