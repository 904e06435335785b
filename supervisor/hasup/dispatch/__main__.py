"""``python -m hasup.dispatch``: started by hasup, with its orders in ``HASUP_DISPATCH``."""

import gc
import os
import resource
import sys
from _random import Random

from hasup.dispatch.service import Service
from hasup.dispatch.settings import BadSettings, Settings

_OTHER_DESCRIPTORS = 64  # standard streams, channels, and sockets that are being closed


def main() -> int:
    """Serve; the exit code: 0 after a stop in order, 2 when the orders make no sense."""
    try:
        settings = Settings(os.environ.get("HASUP_DISPATCH", ""))
        service = Service(settings, os.environ, _most(settings), Random().random)
    except (BadSettings, OSError) as error:
        print(f"hasup: the dispatcher cannot start: {error}", file=sys.stderr)
        return 2
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)
    service.run()
    return 0


def _most(settings: Settings) -> int:
    """So many connections there are descriptors for, two each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = (hard - _OTHER_DESCRIPTORS) // 2 if hard != resource.RLIM_INFINITY else settings.max_connections
    if room < settings.max_connections:
        print(f"hasup: only {max(1, room)} connections at once: the limit of open files is {hard}", file=sys.stderr)
    return max(1, min(settings.max_connections, room))


if __name__ == "__main__":
    sys.exit(main())
