"""What the fault suite does to workers and brokers, and when: a seeded schedule."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamwatch.config import Tasks

# A commit takes about 5 ms: the moments at which it is hit while under way.
UNDER_WAY_S = (0.0, 0.001, 0.002, 0.003, 0.005, 0.008)
# Without an alert, what is lost and what is there twice would be state alone, which is written often enough.
WHICH = ("alerts", "alerts", "any")
# With their weights; each run begins with one each of the first ESSENTIAL.
KINDS: dict[tuple[str, str], int] = {
    ("kill", "owner"): 4,
    ("kill", "standby"): 2,
    ("kill", "offsets"): 2,
    ("kill", "commit"): 6,
    ("kill", "committing"): 4,
    ("stop", "owner"): 2,
    ("stop", "write"): 2,
    ("stop", "commit"): 3,
    ("broker", "now"): 2,
    ("broker", "commit"): 2,
    ("refuse", "alerts"): 1,
    ("kill", "write"): 1,
    ("kill", "committed"): 2,
    ("stop", "standby"): 1,
    ("stop", "offsets"): 2,
    ("broker", "write"): 1,
    ("broker", "committing"): 1,
}
ESSENTIAL = 11
# With `tasks: per_partition` all workers are owners, and a rolling restart is one more fault.
ROLLING: dict[tuple[str, str], int] = {
    ("roll", "all"): 3,
    **{kind: weight for kind, weight in KINDS.items() if "standby" not in kind},
}
# With several brokers their faults are what is new.
OF_BROKERS = 3


@dataclass(frozen=True)
class Fault:
    """act     kill (-9, started anew), stop (SIGSTOP beyond the session, then SIGCONT), broker (kill -9 of one,
            restart), refuse (the alert topic takes no record for a while), roll (SIGTERM to one after the other, each
            started anew: to all workers, or to the brokers, each when all replicas are in sync again)
    place   all, brokers; owner, standby, now: at any moment; alone: the other brokers have not heard of it for a
            moment, what it took meanwhile is nowhere else; else a place in the owner's next transaction, see `worker`
    after_s for a commit under way: how long after its call
    gap_s   the pause before it
    settled whether before it somebody must have committed since the one before
    which   of a place in a transaction: `any`, or one that holds `alerts`
    """

    act: str
    place: str
    after_s: float
    gap_s: float
    settled: bool
    which: str

    @property
    def kind(self) -> str:
        return f"{self.act} {self.place}"


def kinds_of_faults(tasks: Tasks = "one", brokers: int = 1) -> Mapping[tuple[str, str], int]:
    """With their weights."""
    kinds = KINDS if tasks == "one" else ROLLING
    if brokers == 1:
        return kinds
    more = {kind: weight * (OF_BROKERS if kind[0] == "broker" else 1) for kind, weight in kinds.items()}
    return {("roll", "brokers"): OF_BROKERS, ("broker", "alone"): OF_BROKERS, **more}


def schedule(
    seed: int, count: int, only: Sequence[str] = (), tasks: Tasks = "one", brokers: int = 1
) -> list[Fault]:
    """`only`: these kinds in turn, as "stop write"."""
    draw = random.Random(seed)
    weights = kinds_of_faults(tasks, brokers)
    kinds = list(weights)
    first = draw.sample(kinds[:ESSENTIAL], ESSENTIAL) + draw.sample(kinds[ESSENTIAL:], len(kinds) - ESSENTIAL)
    more = draw.choices(kinds, list(weights.values()), k=count)
    if only:
        first = [kind for kind in kinds if " ".join(kind) in only] * count
    return [
        Fault(
            act,
            place,
            draw.choice(UNDER_WAY_S),
            draw.uniform(0.0, 0.8),
            draw.random() < 0.7,
            draw.choice(WHICH),
        )
        for act, place in (first + more)[:count]
    ]
