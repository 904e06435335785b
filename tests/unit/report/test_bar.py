"""Bars."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hasup.report.bar import WORST, cells, shares
from hasup.report.model import Mode, Segment, Timeline
from tests.unit.report.test_figures import parts


def test_each_part_shows_the_worst_of_its_time():
    line = parts((25, "up"), (1, "down"), (24, "up"), (50, "stopped"))
    assert [mode.value for mode in cells(line, 4)] == ["up", "down", "stopped", "stopped"]
    assert [mode.value for mode in cells(line, 2)] == ["down", "stopped"]
    assert cells(line, 1) == [Mode.DOWN]
    assert shares(line) == {Mode.UP: 0.49, Mode.DOWN: 0.01, Mode.STOPPED: 0.5}


def test_an_outage_is_seen_however_short_it_is():
    assert Mode.DOWN in cells(parts((86_399, "up"), (0.001, "down"), (1, "up")), 60)


def test_nothing_known():
    assert cells(Timeline(), 3) == [Mode.UNOBSERVED] * 3
    assert shares(Timeline()) == {}


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1000.0), st.sampled_from(list(Mode))), min_size=1), st.integers(1, 50))
def test_as_many_parts_as_asked_for_and_the_worst_is_in_them(stretches, count):
    at, segments = 0.0, []
    for length, mode in stretches:
        segments.append(Segment(at, at + length, mode))
        at += length
    found = cells(Timeline(tuple(segments)), count)
    assert len(found) == count
    assert min(map(WORST.index, found)) == min(WORST.index(mode) for _, mode in stretches)
