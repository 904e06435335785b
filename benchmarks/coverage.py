"""How often the 90% intervals of hasup report hold the truth, where what they assume is not quite so.

    python benchmarks/coverage.py [--runs N]

Three replicas with exponential lives, and repairs as hasup's own delays make them: growing with each failure in a row,
and the same start each time. Two of the three are needed. A run is watched for about 170 failures.
"""

import argparse
import random

from hasup.core.availability import Estimate, availability, k_of_n, mtbf, mttr, steady_state
from hasup.core.restart import delay
from hasup.model.spec import Program, Restart
from hasup.simulate.assumptions import Assumption
from hasup.simulate.closed import mean_delay

RULE = Restart(delay=0.5, factor=2.0, max_delay=4.0, jitter=0.2, reset_after=8.0)
START_S = 0.5
Outage = tuple[float, float]


def outages(chance: random.Random, mean: float, seconds: float) -> list[Outage]:
    """From when to when one replica was down."""
    found, at, failures = [], 0.0, 0
    while True:
        life = chance.expovariate(1 / mean)
        failures = 1 if life >= RULE.reset_after else failures + 1
        begin = at + life
        if begin >= seconds:
            return found
        at = begin + delay(RULE, failures, chance.random()) + START_S
        found.append((begin, min(at, seconds)))


def together(replicas: list[list[Outage]], need: int) -> list[Outage]:
    """When fewer than so many of them were up."""
    changes = sorted((at, step) for one in replicas for outage in one for at, step in zip(outage, (-1, 1), strict=True))
    up, begun, found = len(replicas), 0.0, []
    for at, step in changes:
        if step < 0 and up == need:
            begun = at
        up += step
        if step > 0 and up == need:
            found.append((begun, at))
    return found


def down(found: list[Outage]) -> float:
    return sum(end - begin for begin, end in found)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1500)
    options = parser.parse_args()
    print(f"{'life':>6}{'MTBF':>8}{'delay':>8}{'one':>8}{'2 of 3':>8}")
    for mean in (8.0, 20.0, 100.0):
        chance, held, seconds = random.Random(1), [0, 0, 0, 0], 75 * mean
        waits = mean_delay(Program(name="web", command=("true",), restart=RULE), Assumption(mtbf_s=mean))
        one = steady_state(mean, waits + START_S)
        for _ in range(options.runs):
            replicas = [outages(chance, mean, seconds) for _ in range(3)]
            failures, lost = sum(map(len, replicas)), sum(map(down, replicas))
            all_lost = together(replicas, 2)
            estimates = (
                (mtbf(3 * seconds - lost, failures), mean),
                (mttr(lost - START_S * failures, failures), waits),
                (availability(3 * seconds - lost, lost, failures), one),
                (availability(seconds - down(all_lost), down(all_lost), len(all_lost)), k_of_n(2, [one] * 3)),
            )
            held = [known + holds(*estimate) for known, estimate in zip(held, estimates, strict=True)]
        shares = "".join(f"{known / options.runs:8.1%}" for known in held)
        print(f"{mean:5.0f}s{shares}")


if __name__ == "__main__":
    main()
