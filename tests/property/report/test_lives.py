"""What holds for whatever events a journal may contain, in any order."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasup.core.transitions import MOVES
from hasup.model.state import State
from hasup.report import joint
from hasup.report.figures import failures, figures
from hasup.report.model import IS_UP, LOST, Happening, Mode
from hasup.report.timeline import read

LOADED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
END = 200.0
SLOTS = ("a.1", "a.2", "b.1")
OWN = ("hasup-started", "hasup-stopped", "core-restarted", LOST)
RESULTS = st.sampled_from([None, "exit-code", "operator", "heartbeat", "success", "memory"])
GAPS = st.floats(0.0, 20.0).map(lambda gap: round(gap, 3))


@st.composite
def histories(draw, legal: bool = True):
    """Moves as the decision core makes them, or anything at all."""
    at, states, found = 0.0, dict.fromkeys(SLOTS, State.STOPPED), []
    for _ in range(draw(st.integers(0, 40))):
        at += draw(GAPS)
        slot = draw(st.sampled_from([*SLOTS, None] if not found or draw(st.booleans()) else [*SLOTS]))
        if slot is None:
            found.append(Happening(at, draw(st.sampled_from(OWN))))
            continue
        old = states[slot] if legal else draw(st.sampled_from(list(State)))
        new = draw(st.sampled_from(list(MOVES[old]) if legal else list(State)))
        states[slot] = new
        ready = new is State.RUNNING if legal else draw(st.booleans())
        wanted = new is not State.STOPPED if legal else draw(st.booleans())
        event = "state" if legal else draw(st.sampled_from(["state", "ready", "not-ready", "degraded", "limit"]))
        found.append(Happening(at, event, slot, old.value, new.value, "why", ready, wanted, draw(RESULTS)))
    return found


ANY = st.one_of(histories(), histories(legal=False))


def of(found, since=0.0, until=END, silence=0.0):
    return read(found, since, until, silence_s=lambda _: silence).replicas


def check(timeline, since, until):
    """Segments cover the time without gap or overlap; each outage that counts lies in time that is down."""
    segments = timeline.segments
    assert segments[0].start == since
    assert segments[-1].end == until
    for one, after in pairwise(segments):
        assert one.end == after.start
        assert one.mode is not after.mode
    assert all(one.start < one.end for one in segments)
    for outage in failures(timeline):
        end = min(outage.end if outage.end is not None else until, until)
        inside = [one for one in segments if one.start < end and one.end > outage.start] if end > outage.start else []
        assert {one.mode for one in inside} <= {Mode.DOWN}
        assert abs(sum(seconds for _, seconds in outage.phases) - (end - outage.start)) < 1e-6 or not outage.phases


@LOADED
@given(ANY, st.floats(0.0, 100.0), st.floats(101.0, END), st.floats(0.0, 30.0))
def test_timelines_cover_the_time(found, since, until, silence):
    found = [one for one in found if one.at < until]
    for timeline in of(found, since, until, silence).values():
        check(timeline, since, until)


@LOADED
@given(ANY, st.integers(0, 4))
def test_so_do_programs_and_the_system(found, need):
    replicas = of(found)
    if not replicas:
        return
    program = joint.program(list(replicas.values()), need)
    check(program, 0.0, END)
    check(joint.series([program, *replicas.values()]), 0.0, END)


def mode_at(timeline, at):
    return next(one.mode for one in timeline.segments if one.start <= at < one.end)


@LOADED
@given(ANY, st.integers(1, 3), st.lists(st.floats(0.0, END - 0.001), max_size=8))
def test_k_of_n_moment_by_moment(found, need, moments):
    replicas = list(of(found).values())
    if not replicas:
        return
    program = joint.program(replicas, need)
    for at in moments:
        modes = [mode_at(one, at) for one in replicas]
        up = sum(mode in IS_UP for mode in modes)
        wanted = [mode for mode in modes if mode not in (Mode.STOPPED, Mode.UNOBSERVED)]
        shown = mode_at(program, at)
        assert (shown in IS_UP) == (bool(wanted) and up >= min(need, len(wanted)))
        assert shown is not Mode.DOWN or Mode.DOWN in modes


@LOADED
@given(ANY, st.floats(1.0, END - 1))
def test_two_halves_make_a_whole(found, middle):
    halves = [of(found, 0.0, middle), of(found, middle, END)]
    for name, whole in of(found).items():
        for mode in Mode:
            parts = sum(half[name].seconds(mode) for half in halves if name in half)
            assert abs(parts - whole.seconds(mode)) < 1e-6


@LOADED
@given(ANY)
def test_figures_of_anything(found):
    for timeline in of(found).values():
        shown = figures(timeline)
        share = shown["availability"]
        assert share is None or 0 <= share <= 1
        low, high = shown["availability_90"].values()
        assert low is None or low <= share <= high
        mtbf = shown["mtbf_s"]
        assert mtbf["value"] is None or mtbf["low"] <= mtbf["value"] <= mtbf["high"]
        assert shown["failures"] == 0 or mtbf["value"] is not None or timeline.seconds(*IS_UP) == 0
