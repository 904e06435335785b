"""Quantiles of the chi-square and F distributions, for confidence intervals.

Incomplete gamma and beta functions by series and continued fraction (Press et al., *Numerical Recipes*, 3rd edition,
6.2 and 6.4), inverted by bisection: exact to about ten digits, which is more than any interval needs.
"""

import math
from collections.abc import Callable

_TINY = 1e-300
_EPSILON = 1e-14
_STEPS = 10_000


def chi_square_quantile(probability: float, degrees: float) -> float:
    """The x with P(X <= x) = ``probability`` for a chi-square X with so many degrees of freedom (positive)."""
    assert 0 < probability < 1
    assert degrees > 0
    return _invert(lambda x: gamma_p(degrees / 2, x / 2), probability, start=degrees)


def f_quantile(probability: float, numerator: float, denominator: float) -> float:
    """The x with P(X <= x) = ``probability`` for an F-distributed X (degrees of freedom positive)."""
    assert 0 < probability < 1

    def cumulative(x: float) -> float:
        return beta_i(numerator / 2, denominator / 2, numerator * x / (numerator * x + denominator))

    return _invert(cumulative, probability, start=1.0)


def gamma_p(a: float, x: float) -> float:
    """The regularized lower incomplete gamma function P(a, x), for a > 0 and x >= 0."""
    if x <= 0:
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _STEPS):
            term *= x / (a + n)
            total += term
            if term < total * _EPSILON:
                break
        return total * front
    return 1 - front * _fraction(lambda n: -n * (n - a), lambda n: x + 2 * n + 1 - a)


def beta_i(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for a, b > 0 and 0 <= x <= 1."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_i(b, a, 1 - x)

    def numerator(n: int) -> float:
        m = n // 2
        if n % 2 == 0:
            return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))

    return front * _fraction(numerator, lambda _n: 1.0) / a


def _fraction(numerator: Callable[[int], float], denominator: Callable[[int], float]) -> float:
    """1 / (b0 + a1 / (b1 + a2 / (b2 + …))) by Lentz's method, with a(n) and b(n) given."""
    c = 1 / _TINY
    d = 1 / (denominator(0) or _TINY)
    value = d
    for n in range(1, _STEPS):
        a, b = numerator(n), denominator(n)
        d = 1 / ((a * d + b) or _TINY)
        c = (b + a / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return value


def _invert(cumulative: Callable[[float], float], probability: float, start: float) -> float:
    low, high = 0.0, start
    while cumulative(high) < probability:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if cumulative(middle) < probability:
            low = middle
        else:
            high = middle
        if high - low <= high * 1e-12:
            break
    return (low + high) / 2
