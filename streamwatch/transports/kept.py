"""What is committed, kept in this process: the transports of files and of memory start again from it."""

from __future__ import annotations

from collections.abc import Mapping

from streamwatch.config import Tasks
from streamwatch.records import Commit, Source
from streamwatch.transports.base import Opened
from streamwatch.transports.tasks import by_task


class Kept:
    """`states` and `marks` by task, `offsets` of all partitions."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, bytes]] = {}
        self.marks: dict[int, bytes] = {}
        self.offsets: dict[Source, int] = {}
        self._said_to: dict[int, Mapping[Source, int]] = {}

    @property
    def state(self) -> dict[str, bytes]:
        """Of task 0, the only one with `tasks: one`."""
        return self.states.setdefault(0, {})

    @property
    def mark(self) -> bytes:
        """Of task 0."""
        return self.marks.get(0, b"")

    def keep(self, commit: Commit) -> None:
        self.offsets.update(commit.offsets)
        self.marks[commit.task] = commit.mark
        self._said_to[commit.task] = commit.said_to
        state = self.states.setdefault(commit.task, {})
        for key, value in commit.state.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value

    def opened(self, tasks: Tasks, offsets: Mapping[Source, int]) -> list[Opened]:
        """Each task that has partitions in `offsets`, the next of each; task 0 if there are none."""
        return [
            Opened(
                task,
                dict(self.states.get(task, {})),
                self.marks.get(task, b""),
                {source: offsets[source] for source in sources},
                said_to=self._said_to.get(task, {}),
            )
            for task, sources in (by_task(tasks, offsets) or {0: ()}).items()
        ]
