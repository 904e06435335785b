"""Availability as a number, and how sure one can be of it.

Sources: NIST/SEMATECH e-Handbook of Statistical Methods, 8.4.5.1 (constant repair rate, exact chi-square interval for
MTBF with time-censored observation); Barlow and Proschan, *Mathematical Theory of Reliability* (series, parallel and
k-of-n systems of independent parts).

A formula that is often copied for two redundant parts, R = 1/(1-(1-Ri)(1-Rj)), exceeds 1 (1.0101 at 0.9 and 0.9).
Both fail together with probability (1-Ri)(1-Rj), so the right one is R = 1-(1-Ri)(1-Rj): 0.99.
"""

import math
from collections.abc import Sequence

import msgspec

from hasup.core.distributions import chi_square_quantile, f_quantile

CONFIDENCE = 0.90


class Estimate(msgspec.Struct, frozen=True):
    """A value with its two-sided interval; None where there is nothing to estimate from."""

    value: float | None
    low: float | None
    high: float | None


NOTHING = Estimate(None, None, None)


def mtbf(up_s: float, failures: int, confidence: float = CONFIDENCE) -> Estimate:
    """Mean time between failures, from ``up_s`` seconds of operation in all that were watched to their end.

    Value T/r; interval 2T/chi2(1-a/2; 2r+2) to 2T/chi2(a/2; 2r). With no failure only the lower end is known.
    """
    assert failures >= 0
    if up_s <= 0:
        return NOTHING
    tail = (1 - confidence) / 2
    low = 2 * up_s / chi_square_quantile(1 - tail, 2 * failures + 2)
    if failures == 0:
        return Estimate(None, low, None)
    return Estimate(up_s / failures, low, 2 * up_s / chi_square_quantile(tail, 2 * failures))


def mttr(down_s: float, repairs: int, confidence: float = CONFIDENCE) -> Estimate:
    """Mean time to repair, from ``repairs`` whole outages of ``down_s`` seconds in all (exponential repair times).

    Value D/r; interval 2D/chi2(1-a/2; 2r) to 2D/chi2(a/2; 2r).
    """
    assert repairs >= 0
    if repairs == 0:
        return NOTHING
    tail = (1 - confidence) / 2
    low, high = (2 * down_s / chi_square_quantile(p, 2 * repairs) for p in (1 - tail, tail))
    return Estimate(down_s / repairs, low, high)


def availability(up_s: float, down_s: float, failures: int, confidence: float = CONFIDENCE) -> Estimate:
    """The share of time up. Its interval: the ratio of mean repair to mean life is F(2r, 2r) around its estimate."""
    if up_s + down_s <= 0:
        return NOTHING
    value = up_s / (up_s + down_s)
    if failures == 0 or up_s <= 0:
        return Estimate(value, None, None)
    ratio = down_s / up_s
    tail = (1 - confidence) / 2
    low, high = (1 / (1 + ratio * f_quantile(p, 2 * failures, 2 * failures)) for p in (1 - tail, tail))
    return Estimate(value, low, high)


def steady_state(mean_up_s: float, mean_down_s: float) -> float:
    """MTBF / (MTBF + MTTR)."""
    return mean_up_s / (mean_up_s + mean_down_s)


def series(parts: Sequence[float]) -> float:
    """All independent parts are needed: the product."""
    return math.prod(parts)


def parallel(parts: Sequence[float]) -> float:
    """One of the independent parts is enough: 1 - (1-R1)(1-R2)…; 0 for no parts."""
    return 1 - math.prod(1 - part for part in parts)


def k_of_n(need: int, parts: Sequence[float]) -> float:
    """At least ``need`` of the independent parts, which may differ, are up (by dynamic programming over the count)."""
    up = [1.0] + [0.0] * len(parts)  # up[k]: exactly k of those seen so far
    for part in parts:
        for k in range(len(parts), 0, -1):
            up[k] = up[k] * (1 - part) + up[k - 1] * part
        up[0] *= 1 - part
    return sum(up[need:]) if need <= len(parts) else 0.0


def burn_rate(down_share: float, objective_percent: float) -> float | None:
    """How many times faster than allowed the error budget is spent (SRE workbook, chapter 5); None without a budget."""
    budget = 1 - objective_percent / 100
    return down_share / budget if budget > 0 else None
