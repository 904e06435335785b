"""How many replicas a program needs for its load. Pure: what was measured goes in, a number and its reason come out.

The load of all replicas together, smoothed, over the target of one says how many are needed. As with Kubernetes'
HorizontalPodAutoscaler, replicas that can't be judged (they start, or were not measured) count as idle when it comes to
more and as fully loaded when it comes to fewer, and the highest number called for within a while is the one to go down
to. Between the load at which there are more and the one at which there are fewer lies twice the tolerance.
"""

import math
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from hasup.model.spec import Autoscale

GAP_S = 10.0  # not measured for so long: what was known is out of date
_ROUNDING = 1e-9
_LOOKS = 3


class Load(msgspec.Struct, frozen=True):
    """What the replicas that were ``judged`` carry together: percent of a core, or connections."""

    total: float
    judged: int


class Places(msgspec.Struct, frozen=True):
    """So many replicas there are to be; ``lost`` of them are stopped or gave up, and carry nothing."""

    count: int
    lost: int = 0


class Average(msgspec.Struct, frozen=True):
    """A moving average of the total load, since when it has been known without a gap, and the last looks themselves."""

    value: float
    since: float
    last: tuple[float, ...] = ()

    @property
    def sustained(self) -> float:
        """What there is at least: the average, or what all of the last looks saw, which it may still lag behind."""
        return max(self.value, min(self.last, default=0.0))


class Memory(msgspec.Struct, frozen=True):
    """What earlier looks left behind. ``recent`` has what they called for, but for what later ones exceeded."""

    at: float = -math.inf
    since: float = 0.0
    averages: dict[str, Average] = {}
    recent: tuple[tuple[float, int], ...] = ()
    changed: float = -math.inf
    raised: float = -math.inf
    short: bool = False  # it was said that max is too few


class Decision(msgspec.Struct, frozen=True):
    """So many there are to be from now on, and why. As many as before: max is too few."""

    count: int
    reason: str


class Need(msgspec.Struct, frozen=True):
    """What one target calls for, and how that is said. ``sure``: known for long enough to act on."""

    count: int
    what: str
    sure: bool


def decide(
    bounds: Autoscale, memory: Memory, places: Places, loads: Mapping[str, Load], now: float
) -> tuple[Memory, Decision | None]:
    """Look at the load (``cpu``, ``connections``) at ``now``. Nothing known of any target: no change.

    A number outside of the bounds is never decided on.
    """
    known = {name: load for name, load in loads.items() if load.judged and _target(bounds, name) is not None}
    if not known:
        return memory, None
    memory = _averaged(bounds, memory, known, now)
    needs = [_need(bounds, memory, places, name, known.get(name), now) for name in _names(bounds)]
    most = max(needs, key=lambda need: need.count)
    wanted = bounds.bounded(most.count + places.lost)
    memory = replace(memory, recent=_recent(memory.recent, now - bounds.cooldown, now, wanted))
    sure = [need for need in needs if need.sure and need.count == most.count]
    if wanted > places.count:
        return _more(bounds, memory, places.count, wanted, sure, now)
    if places.count == bounds.max and most.count + places.lost > bounds.max:
        return _too_few(bounds, memory, sure)
    return _fewer(bounds, memory, places.count, most, now)


def _names(bounds: Autoscale) -> list[str]:
    return [name for name in ("cpu", "connections") if _target(bounds, name) is not None]


def _target(bounds: Autoscale, name: str) -> float | None:
    return bounds.target_cpu if name == "cpu" else bounds.target_connections


def _averaged(bounds: Autoscale, memory: Memory, loads: Mapping[str, Load], now: float) -> Memory:
    passed = now - memory.at
    if passed > GAP_S:
        memory = replace(memory, since=now, averages={}, recent=())
    weight = 1.0 if not bounds.smoothing else 1 - math.exp(-passed / bounds.smoothing)
    averages = {}
    for name, load in loads.items():
        before = memory.averages.get(name, Average(load.total, now))
        value, last = before.value + weight * (load.total - before.value), (*before.last, load.total)[-_LOOKS:]
        averages[name] = replace(before, value=value, last=last)
    return replace(memory, at=now, averages=averages)


def _need(bounds: Autoscale, memory: Memory, places: Places, name: str, load: Load | None, now: float) -> Need:
    """What one target calls for; of what is not known nothing follows but that there be no fewer."""
    alive, target, average = places.count - places.lost, _target(bounds, name), memory.averages.get(name)
    if load is None or average is None or target is None:
        return Need(alive, f"{name} is not known", sure=False)
    tolerance = bounds.tolerance / 100
    total = average.sustained
    worth = total / target  # the load of so many replicas
    if worth > alive * (1 + tolerance):
        count = math.ceil(worth - _ROUNDING)
    else:
        unknown = max(0, alive - load.judged)
        count = min(alive, math.ceil(worth / (1 - tolerance) - _ROUNDING) + unknown)
    each = total / load.judged
    return Need(count, _in_words(name, each, target), sure=now - average.since >= bounds.smoothing)


def _in_words(name: str, each: float, target: float) -> str:
    over = "over" if each > target else "under"
    if name == "cpu":
        return f"cpu {each:.0f}% of a core per replica, {over} the target of {target:g}%"
    return f"{each:.{0 if each >= 10 or each < 0.1 else 1}f} connections per replica, {over} the target of {target:g}"


def _recent(
    recent: tuple[tuple[float, int], ...], oldest: float, now: float, wanted: int
) -> tuple[tuple[float, int], ...]:
    """The highest first, each with the time at which it was called for last."""
    return (*((at, count) for at, count in recent if at >= oldest and count > wanted), (now, wanted))


def _more(
    bounds: Autoscale, memory: Memory, count: int, wanted: int, sure: list[Need], now: float
) -> tuple[Memory, Decision | None]:
    """At once, but no more than double at a time; then the average has to follow before there is a next step."""
    if now - memory.raised < bounds.smoothing or not (sure or count < bounds.min):
        return memory, None
    step = max(bounds.min, min(wanted, 2 * max(1, count)))
    why = sure[0].what if sure else f"min is {bounds.min}"
    held = ", no more than double at a time" if step < wanted else ", its max" if step == bounds.max else ""
    return replace(memory, changed=now, raised=now), Decision(step, f"{why}: {count} to {step}{held}")


def _too_few(bounds: Autoscale, memory: Memory, sure: list[Need]) -> tuple[Memory, Decision | None]:
    if memory.short or not sure:
        return memory, None
    why = f"{sure[0].what}: {sure[0].count} would be needed, and max is {bounds.max}"
    return replace(memory, short=True), Decision(bounds.max, why)


def _fewer(bounds: Autoscale, memory: Memory, count: int, most: Need, now: float) -> tuple[Memory, Decision | None]:
    """Slowly: to the highest number that was called for within the cooldown, all of which must have been seen."""
    lowest = max(wanted for _, wanted in memory.recent)
    if lowest >= count or now - max(memory.since, memory.changed) < bounds.cooldown:
        return memory, None
    lasting = f" for {bounds.cooldown:g} s" if bounds.cooldown else ""
    if lowest > memory.recent[-1][1]:  # it has wanted fewer since
        lasting = f"; {lowest} were needed within the last {bounds.cooldown:g} s"
    return replace(memory, changed=now, short=False), Decision(lowest, f"{most.what}{lasting}: {count} to {lowest}")
