"""A program that crashes at random. ``python -m hasup.demo.flaky [--at-least SECONDS] [--mean SECONDS]``."""

import argparse
import random
import sys
import time


def main() -> None:
    """Live for a while, then crash."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-least", type=float, default=4.0, help="seconds it lives for sure")
    parser.add_argument("--mean", type=float, default=4.0, help="mean of the seconds it lives beyond that")
    options = parser.parse_args()
    life = options.at_least + random.expovariate(1 / options.mean)
    print(f"working; {life:.1f} s to live", flush=True)
    time.sleep(life)  # its life
    print("something went wrong", file=sys.stderr, flush=True)
    sys.exit(3)


if __name__ == "__main__":
    main()
