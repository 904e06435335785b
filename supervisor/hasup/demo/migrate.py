"""A task that runs to completion. ``python -m hasup.demo.migrate [--steps N]``."""

import argparse
import time


def main() -> None:
    """Do the steps, then end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    for step in range(1, options.steps + 1):
        print(f"migration {step} of {options.steps}", flush=True)
        time.sleep(0.1)  # stands for work
    print("the database is up to date", flush=True)


if __name__ == "__main__":
    main()
