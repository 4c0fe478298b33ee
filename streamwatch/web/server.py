"""The small web of a service: /livez, /readyz and /metrics, in a daemon thread of its own."""

from __future__ import annotations

import errno
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from streamwatch.config import Http
from streamwatch.errors import OperatorError
from streamwatch.metrics import CONTENT_TYPE, Metrics
from streamwatch.web.health import Health


def application(health: Health, metrics: Metrics) -> Starlette:
    async def livez(_: Request) -> Response:
        body = {"alive": health.alive, "silent_s": round(health.silent_s, 3)}
        return JSONResponse(body, 200 if body["alive"] else 503)

    async def readyz(_: Request) -> Response:
        reasons = health.not_ready()
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def scrape(_: Request) -> Response:
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", scrape)])


class Server:
    """Listens from `start` until `close`. `address` is known after `start`, with the true port."""

    def __init__(self, http: Http, application: Starlette) -> None:
        self._http = http
        self._server = uvicorn.Server(
            uvicorn.Config(
                application, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        self._thread: threading.Thread | None = None
        self.address = ""

    def start(self) -> None:
        """OperatorError if the address cannot be had."""
        listening = _listen(self._http)
        host, port = listening.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(2.0)


def _listen(http: Http) -> socket.socket:
    where = f"{http.host}:{http.port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"http: {where} is in use by another process: set `http: {{port: 0}}` for any free port, "
                "another port, or `http: null` for none"
            ) from error
        raise OperatorError(f"http: cannot listen on {where}: {error.strerror or error}") from error
    return listening
