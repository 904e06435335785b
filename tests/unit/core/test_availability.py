"""Estimators against published numbers, closed forms and simulation with known truth."""

import random

import pytest

from hasup.core import availability as av
from hasup.core.distributions import beta_i, chi_square_quantile, f_quantile, gamma_p


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    [(0.95, 1, 3.841), (0.95, 10, 18.307), (0.05, 8, 2.733), (0.99, 20, 37.566), (0.5, 100, 99.334), (0.05, 2, 0.103)],
)
def test_chi_square_tables(probability, degrees, value):
    assert chi_square_quantile(probability, degrees) == pytest.approx(value, abs=0.0006)


@pytest.mark.parametrize(
    ("probability", "numerator", "denominator", "value"),
    [(0.95, 8, 8, 3.438), (0.95, 2, 10, 4.103), (0.99, 5, 20, 4.103), (0.5, 8, 8, 1.0), (0.05, 8, 8, 0.2909)],
)
def test_f_tables(probability, numerator, denominator, value):
    assert f_quantile(probability, numerator, denominator) == pytest.approx(value, abs=0.0006)


def test_edges_of_the_distributions():
    assert gamma_p(2, 0) == 0
    assert beta_i(2, 3, 0) == 0
    assert beta_i(2, 3, 1) == 1
    assert beta_i(2, 3, 0.5) == pytest.approx(11 / 16)


def test_the_handbooks_example():
    estimate = av.mtbf(1000.0, 4)
    assert estimate.value == 250
    assert round(estimate.low) == 109
    assert round(estimate.high) == 732


def test_no_failure_bounds_from_below_only():
    estimate = av.mtbf(1000.0, 0)
    assert estimate.value is None
    assert estimate.high is None
    assert estimate.low == pytest.approx(1000 / 2.9957, rel=1e-3)


def test_nothing_to_estimate_from():
    assert av.mtbf(0, 0) == av.NOTHING
    assert av.mttr(0, 0) == av.NOTHING
    assert av.availability(0, 0, 0) == av.NOTHING


def test_two_redundant_parts():
    assert av.parallel([0.9, 0.9]) == pytest.approx(0.99)
    assert 1 / (1 - (1 - 0.9) * (1 - 0.9)) > 1, "the popular formula is no probability"
    assert av.k_of_n(1, [0.9, 0.9]) == pytest.approx(0.99)


def test_k_of_n_against_counting():
    parts = [0.9, 0.8, 0.7]
    assert av.k_of_n(3, parts) == pytest.approx(av.series(parts))
    assert av.k_of_n(2, parts) == pytest.approx(0.902)
    assert av.k_of_n(0, parts) == pytest.approx(1)
    assert av.k_of_n(4, parts) == 0


def test_burn_rate():
    assert av.burn_rate(0.001, 99.9) == pytest.approx(1)
    assert av.burn_rate(0.0144, 99.9) == pytest.approx(14.4)
    assert av.burn_rate(0.1, 100) is None


def covered(estimate, truth):
    return estimate.low <= truth <= (estimate.high or float("inf"))


def test_intervals_cover_as_often_as_they_say():
    """Known truth: life 100 s, repair 2 s. Each history is watched for a fixed time, as hasup does."""
    chance = random.Random(2)
    hits = {"mtbf": 0, "mttr": 0, "availability": 0}
    histories = 2000
    for _ in range(histories):
        up = down = 0.0
        failures = 0
        while True:
            life = chance.expovariate(1 / 100)
            if up + down + life > 1500:
                up = 1500 - down
                break
            up += life
            down += chance.expovariate(1 / 2)
            failures += 1
        hits["mtbf"] += covered(av.mtbf(up, failures), 100)
        hits["mttr"] += failures > 0 and covered(av.mttr(down, failures), 2)
        hits["availability"] += failures > 0 and covered(av.availability(up, down, failures), 100 / 102)
    for name, count in hits.items():
        assert 0.88 <= count / histories <= 0.93, (name, count / histories)
