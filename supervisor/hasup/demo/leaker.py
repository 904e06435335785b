"""A program that leaks memory. ``python -m hasup.demo.leaker [--rate MIB_PER_SECOND]``."""

import argparse
import time


def main() -> None:
    """Grow, without end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=8.0, help="MiB a second")
    options = parser.parse_args()
    hoard: list[bytearray] = []
    print("leaking", flush=True)
    while True:
        hoard.append(bytearray(int(options.rate * 2**20 / 4)))
        time.sleep(0.25)  # the rate


if __name__ == "__main__":
    main()
