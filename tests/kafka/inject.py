"""Faults done to the workers and the brokers of the fault suite."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from tests.broker import Broker
from tests.cluster import Cluster
from tests.kafka.schedule import Fault
from tests.kafka.stream import PARTITIONS, SERVICE, SESSION_MS
from tests.kafka.workers import BrokenError, Workers

# Shorter than the session that a broker has with the controller: the others remain in sync, as the controller sees it.
ALONE_S = 0.3


class Injector:
    """Does one fault after the other to the workers and the brokers. `hits`: how often each kind took place."""

    def __init__(self, workers: Workers, cluster: Cluster, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self._workers = workers
        self._cluster = cluster
        self._draw = random.Random(seed)

    def inject(self, fault: Fault) -> None:
        time.sleep(fault.gap_s)
        self._workers.tick()
        start = len(self._workers.lines)
        match fault.act, fault.place:
            case "kill", "owner" | "standby":
                self._kill(self._one(fault.place))
            case "stop", "owner" | "standby":
                pid = self._one(fault.place)
                self._workers.signal(pid, signal.SIGSTOP)
                self._wake(pid, start, replaced=fault.place == "owner")
            case "roll", "brokers":
                self._roll_brokers()
            case "roll", _:
                self._workers.roll()
            case "broker", "now" | "alone":
                broker = self._dispensable()
                if fault.place == "alone":
                    self._kill_alone(broker)
                else:
                    broker.kill()
                broker.start()
            case "refuse", _:
                if not self._refuse():
                    return
            case _:
                broker = self._dispensable() if fault.act == "broker" else self._cluster.brokers[0]
                victim = broker.pid
                pid = self._order(fault, victim)
                if fault.act == "stop":
                    self._wake(pid, start, replaced=True)
                elif fault.act == "kill":
                    self._kill(pid)
                else:
                    self._workers.until(lambda: broker.pid != victim, 60.0, "the broker is killed and back")
        self.hits[fault.kind] += 1
        if fault.settled:
            self._workers.commit_again(fault.kind)

    def _task(self) -> int:
        return 0 if self._workers.tasks == "one" else self._draw.randrange(PARTITIONS)

    def _one(self, who: str) -> int:
        owner = self._workers.owner(self._task())
        return owner if who == "owner" else self._draw.choice(sorted(self._workers.alive().keys() - {owner}))

    def _dispensable(self) -> Broker:
        """A broker that may go: one at a time, as replication allows."""
        self._synced()
        return self._draw.choice(self._cluster.brokers)

    def _synced(self) -> None:
        self._workers.until(self._cluster.in_sync, 60.0, "all replicas are in sync")

    def _kill_alone(self, broker: Broker) -> None:
        others = [one for one in self._cluster.brokers if one is not broker]
        for one in others:
            one.pause()
        try:
            time.sleep(ALONE_S)
            broker.kill()
        finally:
            for one in others:
                one.go_on()

    def _roll_brokers(self) -> None:
        for broker in self._cluster.brokers:
            self._synced()
            broker.stop()
            broker.start()

    def _kill(self, pid: int) -> None:
        self._workers.signal(pid, signal.SIGKILL)
        self._workers.until(lambda: pid not in self._workers.alive(), 10.0, f"pid {pid} is gone")

    def _order(self, fault: Fault, broker: int) -> int:
        """Have the owner do it in its next transaction: `broker` is the pid of the broker that it may be done to. Who
        is not the owner any more is told to forget it."""
        task = self._task()
        for _ in range(10):
            pid, start = self._workers.owner(task), len(self._workers.lines)
            self._workers.tell(pid, f"{fault.act} {fault.place} {fault.after_s} {broker} {fault.which}")

            def over(pid: int = pid, start: int = start) -> bool:
                done = any(self._workers.since(start, "act", pid=pid))
                return done or self._workers.holders.get(task) != pid or pid not in self._workers.alive()

            self._workers.until(over, 60.0, f"{fault.kind} takes place")
            if any(self._workers.since(start, "act", pid=pid)):
                return pid
            self._workers.tell(pid, "none none 0 0 any")
        raise BrokenError(f"no owner came to {fault.kind}")

    def _wake(self, pid: int, start: int, replaced: bool) -> None:
        if replaced:
            self._workers.until(
                lambda: any(line["pid"] != pid for line in self._workers.since(start, "opened")),
                60.0,
                "the stopped is replaced",
            )
        else:
            time.sleep(1.5 * SESSION_MS / 1000)
        time.sleep(self._draw.choice([0.0, 0.0, 0.1, 0.5]))
        self._workers.signal(pid, signal.SIGCONT)

    def _refuse(self) -> bool:
        """Whether somebody noticed."""
        start = len(self._workers.lines)

        def noticed() -> bool:
            return any(self._workers.too_large(start))

        self._limit_alerts("100")
        deadline = time.monotonic() + 5.0
        self._workers.until(lambda: noticed() or time.monotonic() > deadline, 10.0, "the alert topic refuses")
        self._limit_alerts("1000000")
        self._workers.commit_again("the refusal")
        return noticed()

    def _limit_alerts(self, limit: str) -> None:
        admin = KafkaAdminClient(
            bootstrap_servers=self._cluster.bootstrap_servers, bootstrap_timeout_ms=30_000
        )
        try:
            topic = ConfigResource(
                ConfigResourceType.TOPIC, f"{SERVICE}-alerts", {"max.message.bytes": limit}
            )
            admin.alter_configs([topic])
        finally:
            admin.close()
