"""Availability by formula: exponential lives, independent replicas and programs, no limits.

One replica is a renewal process: up for MTBF, then noticing, delay and start, so its availability is
MTBF / (MTBF + MTTR) (renewal reward theorem). Replicas make up a program k of n, programs the system in series.
"""

import math
from collections.abc import Mapping

from hasup.core.availability import k_of_n, series, steady_state
from hasup.core.restart import delay
from hasup.model.spec import Config, Program
from hasup.simulate.assumptions import Assumption

_NEGLIGIBLE = 1e-12


def begins_anew(reset_after: float, assumed: Assumption) -> float:
    """The probability that a replica is ready for so long in one go: for an exponential life, p = exp(-r / MTBF).

    One that hangs is taken to be ready until that is noticed, after d seconds: exp(-(r - d) / MTBF), and 1 for d > r;
    the mean of that over all d, which are evenly spread.
    """
    mtbf, low, high = assumed.mtbf_s, assumed.detect_low, assumed.detect_high
    at_once = math.exp(-reset_after / mtbf)
    if not assumed.hangs:
        return at_once
    if math.isinf(high):
        hung = 1.0
    elif high <= low:
        hung = math.exp(-max(0.0, reset_after - low) / mtbf)
    else:
        sure = min(max(reset_after, low), high)  # noticed so late, it was ready for long enough whatever its life
        shorter = mtbf * (math.exp(-(reset_after - sure) / mtbf) - math.exp(-(reset_after - low) / mtbf))
        hung = ((shorter if sure > low else 0.0) + high - sure) / (high - low)
    return (1 - assumed.hangs) * at_once + assumed.hangs * hung


def mean_delay(program: Program, assumed: Assumption) -> float:
    """The mean delay before a restart, in seconds.

    The exponent begins anew after ``reset_after`` of readiness, with probability p (see :func:`begins_anew`). So the
    n-th failure in a row has probability p (1-p)^(n-1).
    """
    rule = program.restart
    p = begins_anew(rule.reset_after, assumed)
    if p < _NEGLIGIBLE:  # it never lives so long
        return min(rule.max_delay, math.inf if rule.delay else 0.0) * (1 + rule.jitter / 2)
    total, left, failures = 0.0, 1.0, 1
    while left * rule.max_delay > _NEGLIGIBLE:
        wait = delay(rule, failures, 0.5)  # jitter is spread evenly
        if wait >= rule.max_delay or rule.delay == 0:  # it grows no more
            return total + left * wait
        total += left * p * wait
        left *= 1 - p
        failures += 1
    return total


def mean_repair(program: Program, assumed: Assumption) -> dict[str, float]:
    """The parts of the mean time to repair, in seconds: detect, delay, start."""
    detect = assumed.hangs * assumed.detect_s if assumed.hangs else 0.0
    return {"detect": detect, "delay": mean_delay(program, assumed), "start": assumed.start_s}


def replica(program: Program, assumed: Assumption) -> float:
    """The availability of one replica."""
    repair = sum(mean_repair(program, assumed).values())
    return 0.0 if math.isinf(repair) else steady_state(assumed.mtbf_s, repair)


def program_availability(program: Program, assumed: Assumption) -> float:
    """At least ``need`` of its replicas are up."""
    return k_of_n(program.need, [replica(program, assumed)] * program.replicas)


def system(config: Config, assumed: Mapping[str, Assumption]) -> float:
    """All services at the same time."""
    services = [config.programs[name] for name in assumed if config.programs[name].kind == "service"]
    return series([program_availability(program, assumed[program.name]) for program in services])
