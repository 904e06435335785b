"""A web server that says which replica answers. ``python -m hasup.demo.web [--slow SECONDS] [--ignore-term]``.

Takes the socket it is handed (``listen.mode = "share"``) or listens on ``$PORT`` (a port, or the path of a Unix
socket). ``/healthz`` says ok; ``/hang`` makes it stop answering; ``/crash`` ends it.
"""

import argparse
import contextlib
import http.server
import os
import signal
import socket
import socketserver
import threading
import time
from typing import Any

import hasup

_FINISH_S = 5.0
_ARRIVE_S = 0.25  # the request of a connection that has just been accepted is here by then


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the replica's name."""

    protocol_version = "HTTP/1.1"
    slow = 0.0
    hung = threading.Event()
    stopping = threading.Event()

    def do_GET(self) -> None:
        """One request."""
        if self.path == "/crash":
            os._exit(7)
        if self.path == "/hang":
            self.hung.set()
        while self.hung.is_set():
            time.sleep(3600)  # the point of /hang
        time.sleep(self.slow)  # as slow as asked for
        name = f"{os.environ.get('HASUP_PROGRAM', 'web')}.{os.environ.get('HASUP_REPLICA', '1')}"
        body = b"ok\n" if self.path == "/healthz" else f"{name} (pid {os.getpid()})\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.close_connection = self.close_connection or self.stopping.is_set()
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, _format: str, *arguments: object) -> None:
        """One line a request; probes are too many to be of interest."""
        if self.path != "/healthz":
            print(f"{self.command} {self.path} {arguments[1] if len(arguments) > 1 else ''}", flush=True)


class Server(http.server.ThreadingHTTPServer):
    """On an inherited socket, or on one of its own."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, inherited: socket.socket | None, where: str) -> None:
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self.address_family = socket.AF_UNIX if where.startswith("/") else socket.AF_INET
        address: Any = where if where.startswith("/") else ("127.0.0.1", int(where))
        super().__init__(address, Handler, bind_and_activate=inherited is None)
        if inherited is not None:
            self.socket.close()
            self.socket = inherited
            self.socket.setblocking(False)  # all wake up for a connection: who is late must not wait for another

    def server_bind(self) -> None:
        """Without asking for the name of this machine."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection begins."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection ends."""
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def finish(self) -> None:
        """Answer what was asked, saying that it is the last answer, and wait until all connections are closed."""
        Handler.stopping.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._open, _ARRIVE_S)
            for connection in self._open:
                with contextlib.suppress(OSError):  # its client has gone
                    connection.shutdown(socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._open or Handler.hung.is_set(), _FINISH_S)


def main() -> None:
    """Serve until TERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--ignore-term", action="store_true", help="do not end at TERM")
    options = parser.parse_args()
    Handler.slow = options.slow
    inherited = hasup.listen_sockets()
    server = Server(inherited[0] if inherited else None, os.environ.get("PORT", "0"))
    stop = signal.SIG_IGN if options.ignore_term else lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    print(f"listening on {server.socket.getsockname()}", flush=True)
    hasup.ready()
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    server.finish()


if __name__ == "__main__":
    main()
