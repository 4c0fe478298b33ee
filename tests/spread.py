"""How the tests are spread over the workers of xdist: by file, the long ones first.

A file's fixtures are then made once and not in every worker, and what takes long does not begin when the others have
ended. (The marks of `xdist_group` do not reach xdist 3.8 with pytest 9.2: each worker started a broker of its own.)
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# What takes long begins first, in this order; the rest as it comes.
FIRST = (
    "tests/kafka/test_exactly_once.py",
    "tests/kafka/test_start.py",
    "tests/contract/test_detectors.py",
    "tests/kafka/test_service.py",
    "tests/test_readme.py",
    "tests/kafka/test_transport.py",
    "tests/contract/test_transports.py",
    "tests/kafka/",
    "tests/test_engine.py",
    "tests/test_detectors.py",
    "tests/test_docker.py",
    "tests/test_join.py",
    "tests/test_segments.py",
    "tests/test_warmup.py",
    "tests/test_said.py",
    "tests/bench/",
)
# Too long for one worker, and without a fixture that costs: each of their functions by itself.
APART = (
    "tests/kafka/test_exactly_once.py",
    "tests/kafka/test_service.py",
    "tests/contract/test_detectors.py",
    "tests/contract/test_transports.py",
    "tests/kafka/test_transport.py",
    "tests/test_readme.py",
)
# They share what their process has read and trained.
TOGETHER = {"tests/test_demo.py": "demo", "tests/kafka/test_demo.py": "demo"}


def share(nodeid: str) -> str:
    """What one worker runs as a whole."""
    file, _, test = nodeid.partition("::")
    if file == "tests/kafka/test_exactly_once.py":
        return nodeid
    return f"{file}::{test.partition('[')[0]}" if file in APART else TOGETHER.get(file, file)


def rank(nodeid: str) -> int:
    return next((at for at, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


class Spread(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)
