"""A worker that reads some records, commits an alert for each, and ends itself by kill -9 in its last transaction.

Arguments: bootstrap servers, service, records before the good commit, records before the bad one, the step before
which it dies (offsets, commit) or after which (committed).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from streamwatch.transports.kafka.producer import TaskProducer
from tests.kafka.drive import config, driven


def main(servers: str, service: str, good: int, bad: int, step: str) -> None:
    armed = [False]

    class Dying(TaskProducer):
        def send_offsets(self, offsets: Any, group: Any) -> None:
            if armed[0] and step == "offsets":
                os.kill(os.getpid(), signal.SIGKILL)
            super().send_offsets(offsets, group)

        def commit(self) -> None:
            if armed[0] and step == "commit":
                os.kill(os.getpid(), signal.SIGKILL)
            super().commit()
            if armed[0] and step == "committed":
                os.kill(os.getpid(), signal.SIGKILL)

    worker = driven(config(servers, service), make_producer=Dying)
    worker.read(good).commit([b"1:" + (v or b"") for v in worker.values[:good]], {"seen": b"1"}, b"one")
    first = len(worker.values)
    worker.read(first + bad)
    armed[0] = True
    worker.commit([b"2:" + (v or b"") for v in worker.values[first:]], {"seen": b"2"}, b"two")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
