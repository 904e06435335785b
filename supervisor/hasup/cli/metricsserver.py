"""Metrics over HTTP: asked of hasup anew for each scrape."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from hasup import client
from hasup.cli.errors import USAGE, Failure, explain
from hasup.cli.exposition import text
from hasup.config.readers import address_parts
from hasup.model.spec import Listen
from hasup.runtime.sockets import ListenError, bind

_SLOW_S: Final = 10.0  # whoever is slower is left alone
_MOST: Final = 16  # scrapes at a time
_TYPES: Final = {
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
}


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    timeout = _SLOW_S
    server_version = "hasup"
    sys_version = ""
    server: "_Server"

    def do_GET(self) -> None:
        """The metrics, in the format that is asked for."""
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self._answer(404, "text/plain; charset=utf-8", "there is nothing but /metrics\n")
            return
        form = "openmetrics" if "application/openmetrics-text" in self.headers.get("Accept", "") else "prometheus"
        try:
            body = text(self.server.directory, form)
        except Exception as error:  # hasup is not there, or busy: the scrape fails, the server stays
            self._answer(503, "text/plain; charset=utf-8", f"{explain(error)[0]}\n")
        else:
            self._answer(200, _TYPES[form], body)

    def _answer(self, code: int, kind: str, body: str) -> None:
        data = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """A scrape is not worth a line."""


class _Server(ThreadingHTTPServer):
    """Threads, but not more than a few."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, directory: str, address: str) -> None:
        self.directory = directory
        self._free = threading.BoundedSemaphore(_MOST)
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bind(Listen(address=address, backlog=self.request_queue_size), "")  # relative: paths may be long

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, when one is free; nobody waits longer than the slowest may take."""
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is not worth a line."""


def serve(directory: str, address: str) -> int:
    """Answer until Ctrl-C, or TERM."""
    try:
        scheme, port = address_parts(address)
        if scheme != "unix":
            int(port)
        server = _Server(directory, address)
    except ValueError:
        raise Failure(f"{address!r} is no address; for example 127.0.0.1:9464, or unix:metrics.sock", USAGE) from None
    except ListenError as error:
        raise Failure(str(error)) from error
    with server:
        client.ready()
        where = f"the socket {port}" if scheme == "unix" else f"http://{address}/metrics"
        sys.stderr.write(f"hasup: metrics at {where}\n")
        server.serve_forever()
    return 0
