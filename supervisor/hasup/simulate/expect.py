"""The two answers side by side: formula and simulation."""

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hasup.model.spec import Config
from hasup.simulate import closed
from hasup.simulate.assumptions import Assumption
from hasup.simulate.world import World

YEAR_S = 365.25 * 86_400
BATCHES = 20
_T_95 = 1.7291  # Student's t, 19 degrees of freedom, for a two-sided interval of 90%
_WARM_UP_EVENTS = 100_000

Document = dict[str, Any]


class Interval(NamedTuple):
    """A mean of batch means with its 90% interval; None where too little failed to tell."""

    value: float
    low: float | None
    high: float | None


def interval(batches: list[float]) -> Interval:
    """Batch means (Law and Kelton, Simulation Modeling and Analysis, 9.5.3), within 0 and 1."""
    mean = statistics.fmean(batches)
    half = _T_95 * statistics.stdev(batches) / math.sqrt(len(batches)) if len(batches) == BATCHES else 0.0
    if half == 0:
        return Interval(mean, None, None)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def expect(
    config: Config,
    assumed: Mapping[str, Assumption],
    *,
    seconds: float,
    most_events: int,
    seed: int = 1,
    progress: Callable[[float], None] = lambda _share: None,
) -> Document:
    """Simulate so many seconds, or so many events if they come sooner, and put the formula beside it."""
    world = World(config, assumed, seed)
    while not world.settled() and world.run(world.now + 1.0, _WARM_UP_EVENTS) and world.now < YEAR_S:
        pass
    world.tally.begin(world.now)
    start = world.now
    names = list(world.tally.phases)
    batches: dict[str, list[float]] = {name: [] for name in ("", *names)}
    before = dict.fromkeys(batches, 0.0)
    for number in range(1, BATCHES + 1):
        begun = world.now
        whole = world.run(start + seconds * number / BATCHES, most_events // BATCHES)
        length = world.now - begun
        for name in batches:
            down = world.tally.down[name] if name else world.tally.system_down
            if length > 0:
                batches[name].append(1 - (down - before[name]) / length)
            before[name] = down
        progress(number / BATCHES)
        if not whole:
            start = world.now - seconds * number / BATCHES  # shorter batches of as many events
    return {
        "simulated_s": world.tally.seconds,
        "events": world.events,
        "system": _figures(closed.system(config, assumed), interval(batches[""])),
        "programs": [_program(config, name, assumed[name], world, interval(batches[name])) for name in names],
    }


def _figures(formula: float, simulated: Interval) -> Document:
    return {
        "formula": formula,
        "simulated": simulated._asdict(),
        "down_s_per_year": (1 - simulated.value) * YEAR_S,
    }


def _program(config: Config, name: str, assumed: Assumption, world: World, simulated: Interval) -> Document:
    program, phases = config.programs[name], world.tally.phases[name]
    total = sum(phases.values())
    return {
        "name": name,
        "replicas": program.replicas,
        "need": program.need,
        **_figures(closed.program_availability(program, assumed), simulated),
        "failures": world.tally.failures[name],
        "assumed": {
            "mtbf_s": assumed.mtbf_s,
            "measured": assumed.measured,
            "guessed": assumed.guessed,
            "start_s": assumed.start_s,
            "hangs": assumed.hangs,
            "detect_s": assumed.detect_s if math.isfinite(assumed.detect_s) else None,
        },
        "repair_s": {
            part: seconds if math.isfinite(seconds) else None
            for part, seconds in closed.mean_repair(program, assumed).items()
        },
        "costs": [
            {"setting": _setting(phase, assumed), "share": spent / total}
            for phase, spent in sorted(phases.items(), key=lambda one: -one[1])
            if spent > 0
        ],
    }


def _setting(phase: str, assumed: Assumption) -> str:
    """The option, or what else, that a phase of repair follows from."""
    match phase:
        case "detect":
            return assumed.noticed_by or "hangs that nothing notices"
        case "delay":
            return "restart.delay"
        case "start":
            return "its start"
        case "end":
            return "abort and stop"
        case "waiting":
            return "waiting for its turn or a dependency"
    return phase
