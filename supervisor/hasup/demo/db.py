"""A stand-in for a database: takes a moment to be ready, and says so. ``python -m hasup.demo.db [--start SECONDS]``."""

import argparse
import signal
import time

import hasup


def main() -> None:
    """Be there until TERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--start", type=float, default=1.0, help="seconds until it is ready")
    options = parser.parse_args()
    print("recovering", flush=True)
    time.sleep(options.start)  # stands for recovery
    hasup.ready()
    print("ready for connections", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
