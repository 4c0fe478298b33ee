"""What a restore holds while it goes on, without a broker."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

from streamwatch.transports.kafka.producer import TaskProducer
from streamwatch.transports.kafka.task import Task
from tests.kafka.drive import config


def test_a_restore_that_is_given_up_lets_go_at_once() -> None:
    """Not when its garbage is collected: by then another restore reads with the same consumer."""
    clients: Any = None  # not asked before the first step of a real restore
    task = Task(config("localhost:1", "s"), 0, 1, clients, TaskProducer(lambda: None, "s-0"))
    held = [True]

    def restore(task: Task) -> Iterator[float]:
        try:
            yield 0.0
        finally:
            held.clear()

    gc.disable()
    try:
        task.steps = restore(task)  # type: ignore[assignment]
        task.step()
        task.discard()
        del task
        assert not held
    finally:
        gc.enable()
