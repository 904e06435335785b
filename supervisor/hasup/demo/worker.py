"""A worker that says it is alive, and hangs after a while. ``python -m hasup.demo.worker [--hang-after SECONDS]``."""

import argparse
import time

import hasup


def main() -> None:
    """Work, with a heartbeat; then hang."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hang-after", type=float, default=8.0, help="seconds of honest work")
    options = parser.parse_args()
    pause = min(0.5, hasup.watchdog_interval() or 0.5)
    began = time.monotonic()
    jobs = 0
    hasup.ready()
    while time.monotonic() - began < options.hang_after:
        jobs += 1
        hasup.heartbeat()
        hasup.status(f"{jobs} jobs done")
        time.sleep(pause)  # stands for work
    print("hanging now: no heartbeat from here on", flush=True)
    while True:
        time.sleep(3600)  # stands for a deadlock


if __name__ == "__main__":
    main()
