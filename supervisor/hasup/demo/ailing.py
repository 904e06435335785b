"""A program that falls ill in a way of your choice. ``python -m hasup.demo.ailing WHAT [--after SECONDS]``.

It is ready at once, works (with a heartbeat) until ``--after``, writes ``ill at SECONDS-SINCE-1970``, and then does
what its name says. ``silent`` and ``slow`` serve HTTP on ``$PORT``.
"""

import argparse
import http.server
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable

import hasup


def deadlock() -> None:
    """Two threads, each with the lock that the other one wants."""
    one, other = threading.Lock(), threading.Lock()
    both_hold_one = threading.Barrier(2)

    def take(mine: threading.Lock, yours: threading.Lock) -> None:
        with mine:
            both_hold_one.wait()
            with yours:
                pass

    threading.Thread(target=take, args=(one, other), daemon=True).start()
    take(other, one)


def busy() -> None:
    """A loop that does not end."""
    while True:
        pass


def leak() -> None:
    """Memory that is not given back."""
    _without_end(lambda: bytearray(4 << 20))


def descriptors() -> None:
    """Files that are not closed."""
    _without_end(lambda: os.open(os.devnull, os.O_RDONLY))


def threads() -> None:
    """Threads that do not end."""
    _without_end(lambda: threading.Thread(target=signal.pause, daemon=True).start())


def children() -> None:
    """Children that end, and are not waited for."""
    _without_end(_child)


def crash() -> None:
    """The end."""
    print("something went wrong", file=sys.stderr, flush=True)
    os._exit(3)


def silent() -> None:
    """A server that takes connections and does not answer (see :class:`Server`)."""
    Server.pause = 3600.0
    signal.pause()


def slow() -> None:
    """A server that takes its time for five seconds, and is well again (see :class:`Server`)."""
    Server.pause = 0.4
    time.sleep(5.0)  # as long as it is ill
    Server.pause = 0.0
    signal.pause()


def _child() -> None:
    if os.fork() == 0:
        os._exit(0)


def _without_end(more: Callable[[], object]) -> None:
    """Something more, twenty times a second, until there is no more to be had."""
    kept = [more() for _ in range(Course.at_once)]
    while True:
        kept.append(more())
        time.sleep(0.05)  # the rate


class Course:
    """How an illness goes on."""

    at_once = 0


class Server(http.server.BaseHTTPRequestHandler):
    """Answers each request after a pause."""

    pause = 0.0

    def do_GET(self) -> None:
        """One request."""
        time.sleep(self.pause)  # as ill as it is
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Probes are not worth a line."""


def _serve() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()


AILMENTS: dict[str, Callable[[], None]] = {
    ailment.__name__: ailment
    for ailment in (deadlock, busy, leak, descriptors, threads, children, crash, silent, slow)
}  # fmt: skip


def main() -> None:
    """Work, then fall ill."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=AILMENTS)
    parser.add_argument("--after", type=float, default=0.0, help="seconds of health")
    parser.add_argument("--spread", type=float, default=0.0, help="up to so many seconds more, by chance")
    parser.add_argument("--at-once", type=int, default=0, help="what grows begins with so many steps at once")
    options = parser.parse_args()
    Course.at_once = options.at_once
    healthy = options.after + random.uniform(0.0, options.spread)  # noqa: S311 - no secret
    began = time.monotonic()
    if options.what in ("silent", "slow"):
        _serve()
    hasup.ready()
    while time.monotonic() - began < healthy:
        hasup.heartbeat()
        time.sleep(0.05)  # stands for work
    hasup.heartbeat()
    print(f"ill at {time.time():.6f}", flush=True)
    AILMENTS[options.what]()


if __name__ == "__main__":
    main()
