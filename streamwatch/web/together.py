"""One page for the workers of one process: /livez, /readyz and /metrics of all of them. A replica is one target.

Each series of a worker gets the label `worker`. They are not added up: a worker that is started again begins its
counters at 0, and in a sum that would look as if all had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamwatch.metrics import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself: as /livez, /readyz and /metrics of a service that has no workers."""

    alive: bool
    silent_s: float
    not_ready: list[str]
    metrics: bytes


@dataclass(frozen=True, slots=True)
class Reports:
    """By worker; None: it is being started again, or gives no answer. `alive`: somebody looks after them."""

    alive: bool
    workers: Mapping[int, Report | None]
    restarts: Mapping[int, int]

    @property
    def not_ready(self) -> list[str]:
        return [
            f"worker {number}: {reason}"
            for number, report in self.workers.items()
            for reason in (["starting, or gives no answer"] if report is None else report.not_ready)
        ]


def application(reports: Callable[[], Reports]) -> Starlette:
    # Not async: `reports` waits for the workers' answers.
    def livez(_: Request) -> Response:
        """A worker that hangs ends itself and is started again: no reason to end all of them."""
        told = reports()
        workers = {
            str(number): None if one is None else {"alive": one.alive, "silent_s": round(one.silent_s, 3)}
            for number, one in told.workers.items()
        }
        return JSONResponse({"alive": told.alive, "workers": workers}, 200 if told.alive else 503)

    def readyz(_: Request) -> Response:
        reasons = reports().not_ready
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def scrape(_: Request) -> Response:
        return Response(text(reports()), headers={"content-type": CONTENT_TYPE})

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)])


def text(told: Reports) -> str:
    running = sum(one is not None for one in told.workers.values())
    lines = [
        "# HELP streamwatch_workers Workers that run and answer.",
        "# TYPE streamwatch_workers gauge",
        f"streamwatch_workers {running}",
        "# HELP streamwatch_worker_restarts_total Times that a worker ended by itself and was started again.",
        "# TYPE streamwatch_worker_restarts_total counter",
        *(
            f'streamwatch_worker_restarts_total{{worker="{number}"}} {count}'
            for number, count in told.restarts.items()
        ),
    ]
    return "\n".join([*lines, merged({n: one.metrics for n, one in told.workers.items() if one is not None})])


def merged(texts: Mapping[int, bytes]) -> str:
    """Expositions of several workers as one: each metric once, with the samples of all.

    >>> print(merged({0: b'# TYPE a gauge\\na 1.0\\n', 1: b'# TYPE a gauge\\na{b="{"} 2.0\\n'}), end="")
    # TYPE a gauge
    a{worker="0"} 1.0
    a{worker="1",b="{"} 2.0
    """
    heads: dict[str, dict[str, None]] = {}
    samples: dict[str, list[str]] = {}
    for number, exposition in texts.items():
        name = ""
        for line in exposition.decode().splitlines():
            if line.startswith("# "):
                name = line.split(" ", 3)[2]
                heads.setdefault(name, {})[line] = None
            elif line:
                samples.setdefault(name, []).append(_labelled(line, number))
    return "".join(f"{line}\n" for name in heads for line in [*heads[name], *samples.get(name, ())])


def _labelled(sample: str, number: int) -> str:
    """No name of a metric holds a brace or a space."""
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{worker="{number}",{rest}'
    name, _, rest = sample.partition(" ")
    return f'{name}{{worker="{number}"}} {rest}'
