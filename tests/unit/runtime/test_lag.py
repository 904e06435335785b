"""The histogram of how late the loop is."""

from hasup.runtime.lag import Lag


def test_turns_are_counted_by_how_late_they_were():
    lag = Lag()
    for late in (0.0, 0.0005, 0.001, 0.02, 7.0):
        lag.note(late)
    figures = lag.figures()
    assert figures.buckets["0.001"] == 3
    assert figures.buckets["0.01"] == 3
    assert figures.buckets["0.025"] == 4
    assert figures.buckets["1.0"] == 4
    assert figures.buckets["+Inf"] == 5
    assert figures.longest_s == 7.0
    assert figures.sum_s == 7.0215
