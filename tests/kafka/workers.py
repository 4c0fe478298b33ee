"""The workers of the fault suite as processes, and what they say in their journal."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from streamwatch.config import Tasks
from tests.cluster import Cluster
from tests.kafka.stream import SERVICE, kinds_of
from tests.topics import high_watermarks

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WORKERS = 3


class BrokenError(AssertionError):
    """The suite cannot go on: a worker ended by itself, or something did not happen in time."""


class Workers:
    """Three workers, and their journal. What ends by kill -9 is started anew; none is left when it is
    left.

    `holders`: the pid that has a task, by task.
    """

    def __init__(
        self, cluster: Cluster, folder: Path, without: Sequence[str] = (), tasks: Tasks = "one"
    ) -> None:
        self.cluster = cluster
        self.folder = folder
        self.without = without
        self.tasks = tasks
        self.lines: list[dict[str, Any]] = []
        self._processes: list[subprocess.Popen[str] | None] = [None] * WORKERS
        self._starts = itertools.count()
        self._journal = folder / "journal.jsonl"
        self._journal.touch()
        self._read_to = 0
        self.holders: dict[int, int] = {}
        self._ending: set[int] = set()

    def __enter__(self) -> Workers:
        for slot in range(WORKERS):
            self._start(slot)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait(10)
                assert process.stdin
                process.stdin.close()

    def _start(self, slot: int) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.kafka.worker",
            self.cluster.bootstrap_servers,
            SERVICE,
            str(slot),
        ]
        command += [
            str(self._journal),
            "--tasks",
            self.tasks,
            *(["--without", *self.without] if self.without else []),
        ]
        with (self.folder / f"worker-{slot}-{next(self._starts)}.err").open("w") as errors:
            # A group of its own: a stopped worker is ended by the kernel when this process is gone.
            self._processes[slot] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=errors, text=True, process_group=0, cwd=ROOT
            )

    def alive(self) -> dict[int, int]:
        """Slots by pid."""
        return {p.pid: slot for slot, p in enumerate(self._processes) if p is not None and p.poll() is None}

    def tick(self) -> None:
        """Read the journal; start anew what has ended, wake what is stopped for no reason, raise what is wrong."""
        with self._journal.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read_to += len(new)
        for line in map(json.loads, new.splitlines()):
            self.lines.append(line)
            pid = line["pid"]
            task = line.get("task")
            if line["event"] in ("opened", "committed"):
                self.holders[task] = pid
            elif line["event"] in ("closed", "failed") and self.holders.get(task) == pid:
                del self.holders[task]
        for slot, process in enumerate(self._processes):
            if process is None or process.poll() is None:
                continue
            asked = process.pid in self._ending and process.returncode == 0
            refused = process.returncode == 3 and any(self.too_large(0, process.pid))
            if process.returncode != -signal.SIGKILL and not asked and not refused:
                raise BrokenError(
                    f"worker {slot} (pid {process.pid}) ended by itself with {process.returncode}"
                )
            self._start(slot)
        self.cluster.mend()

    def until(self, holds: Callable[[], T], within_s: float, what: str) -> T:
        deadline = time.monotonic() + within_s
        while True:
            self.tick()
            if answer := holds():
                return answer
            if time.monotonic() > deadline:
                raise BrokenError(f"not within {within_s:g} s: {what}")
            time.sleep(0.01)

    def since(self, start: int, event: str, **equal: Any) -> Iterator[dict[str, Any]]:
        wanted = {"event": event, **equal}
        return (line for line in self.lines[start:] if wanted.items() <= line.items())

    def too_large(self, start: int, pid: int | None = None) -> Iterator[dict[str, Any]]:
        """Of those lines that say that the alert topic refused a record."""
        return (
            line
            for line in self.lines[start:]
            if line["event"] in ("refused", "failed")
            and "MessageSizeTooLarge" in line["text"]
            and pid in (None, line["pid"])
        )

    def heard_again(self) -> int:
        """How many commands were handed out more than once: in a batch that was processed again."""
        times = Counter(
            (line["task"], offset)
            for line in self.since(0, "heard")
            for offset in range(line["first"], line["last"] + 1)
        )
        return sum(count > 1 for count in times.values())

    def commit_again(self, after: str) -> None:
        """Wait for the next commit of anybody."""
        mark = len(self.lines)
        self.until(lambda: any(self.since(mark, "committed")), 90.0, f"a commit after {after}")

    def owner(self, task: int = 0) -> int:
        """The pid of the worker that has the task; waits for one."""

        def found() -> int | None:
            return self.holders.get(task) if self.holders.get(task) in self.alive() else None

        return self.until(found, 90.0, f"somebody owns task {task}") or 0

    def roll(self) -> None:
        """One after the other is asked to end, ends committed, and is started again."""
        for slot in range(WORKERS):
            pid = self._running(slot)
            self._ending.add(pid)
            self.signal(pid, signal.SIGTERM)
            self.until(lambda pid=pid: pid not in self.alive(), 15.0, f"worker {slot} ends after SIGTERM")  # type: ignore[misc]
            self._running(slot)

    def _running(self, slot: int) -> int:
        """The pid of a worker that has come so far that it hears signals."""

        def found() -> int | None:
            return next(
                (
                    pid
                    for pid, at in self.alive().items()
                    if at == slot and any(self.since(0, "started", pid=pid))
                ),
                None,
            )

        return self.until(found, 30.0, f"worker {slot} runs") or 0

    def signal(self, pid: int, number: signal.Signals) -> None:
        slot = self.alive().get(pid)
        if slot is not None and (process := self._processes[slot]) is not None:
            process.send_signal(number)

    def tell(self, pid: int, order: str) -> None:
        process = self._processes[self.alive().get(pid, 0)]
        if process is not None and process.pid == pid and process.stdin:
            try:
                process.stdin.write(order + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it is gone already

    def drain(self) -> None:
        """Until every record is committed; then the workers end cleanly."""
        # The closing records wait for each other.
        wanted = {
            f"{part.topic}/{part.partition}": end - 1
            for kind in kinds_of(self.tasks)
            for part, end in high_watermarks(self.cluster.bootstrap_servers, f"{SERVICE}-{kind}").items()
        }

        def reached() -> bool:
            known: dict[int, dict[str, int]] = {}
            for line in self.lines:
                if line["event"] in ("committed", "opened"):
                    known[line["task"]] = line["offsets"]
            offsets = {place: offset for of_task in known.values() for place, offset in of_task.items()}
            return all(offsets.get(p, 0) >= end for p, end in wanted.items())

        self.until(reached, 90.0, f"everything is committed ({wanted})")
        for process in self._processes:
            assert process is not None
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for slot, process in enumerate(self._processes):
            assert process is not None
            try:
                code = process.wait(15.0)
            except subprocess.TimeoutExpired:
                raise BrokenError(f"worker {slot} did not end within 15 s of SIGTERM") from None
            if code:
                raise BrokenError(f"worker {slot} ended with {code} after SIGTERM")

    def report(self, schedule: str) -> str:
        """What a person needs to look into a failure."""
        texts = [f"schedule: {schedule}", "last lines of the journal:"]
        texts += [f"  {json.dumps(line)}" for line in self.lines[-25:]]
        for path in sorted(self.folder.glob("worker-*.err"), key=lambda path: path.stat().st_mtime)[-6:]:
            if text := path.read_text().strip():
                texts += [f"{path.name}:", *(f"  {line}" for line in text.splitlines()[-12:])]
        return "\n".join(texts)
