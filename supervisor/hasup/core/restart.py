"""Whether a replica that ended is started again, and when. History and now in, verdict and reason out.

The window of ``limit`` slides and forgets nothing but by age, as OTP's ``add_restart`` does: a program that lives for a
moment between two crashes gains no new budget. Only the exponent of the delay begins anew, after ``reset_after`` of
readiness in one go.
"""

import math
import zlib

import msgspec

from hasup.model.spec import OnLimit, Program, Restart


class Verdict(msgspec.Struct, frozen=True):
    """What to do. ``delay`` is None when it is not started again."""

    delay: float | None
    reason: str
    failures: int = 0
    history: tuple[float, ...] = ()
    gave_up: OnLimit | None = None  # the limit was reached: what the operator wants then


def decide(
    program: Program,
    *,
    succeeded: bool,
    failures: int,
    history: tuple[float, ...],
    ready_for: float,
    now: float,
    chance: float,
) -> Verdict:
    """The verdict on an end at ``now``.

    ``failures`` in a row came before this one; ``history`` holds the times of earlier restarts; ``ready_for`` is how
    long it had been ready in one go (seconds); ``chance`` from 0 to below 1 draws the jitter.
    """
    rule = program.restart
    if program.policy == "never" or (succeeded and program.policy == "on-failure"):
        return Verdict(None, f"not restarted: restart policy {program.policy}")
    failures = 1 if ready_for >= rule.reset_after else failures + 1
    recent = tuple(at for at in history if at > now - rule.window)
    if rule.limit and len(recent) >= rule.limit:
        return _limit_reached(rule, failures, recent, now, chance)
    wait = delay(rule, failures, chance)
    return Verdict(wait, f"restart {_in(wait)}", failures, _kept(rule, recent, now))


def _kept(rule: Restart, recent: tuple[float, ...], now: float) -> tuple[float, ...]:
    """The restarts to remember, this one included: no more than it takes to tell whether the limit is reached."""
    return (*recent, now)[-rule.limit :] if rule.limit else ()


def delay(rule: Restart, failures: int, chance: float) -> float:
    """The delay before the restart after so many failures in a row (from 1), jitter included, in seconds."""
    if rule.delay == 0:
        return 0.0
    # Compared as logarithms: a power of the factor overflows for a program that has failed for years.
    growth = (failures - 1) * math.log(rule.factor)
    room = math.log(max(1.0, rule.max_delay / rule.delay))
    grown = rule.max_delay if growth >= room else rule.delay * math.exp(growth)
    return min(grown, rule.max_delay) * (1 + rule.jitter * chance)


def _limit_reached(rule: Restart, failures: int, recent: tuple[float, ...], now: float, chance: float) -> Verdict:
    what = f"{len(recent)} restarts within {rule.window:g} s, the limit is {rule.limit}"
    if rule.on_limit == "retry":
        wait = rule.max_delay * (1 + rule.jitter * chance)
        return Verdict(wait, f"{what}; next try {_in(wait)}", failures, _kept(rule, recent, now))
    return Verdict(None, f"gave up: {what}", failures, recent, gave_up=rule.on_limit)


def jitter(seed: int, slot: str, generation: int) -> float:
    """A number from 0 to below 1 that differs from replica to replica and from run to run, yet can be replayed."""
    return zlib.crc32(f"{seed}:{slot}:{generation}".encode()) / 2**32


def _in(seconds: float) -> str:
    return "at once" if seconds == 0 else f"in {seconds:.1f} s" if seconds < 100 else f"in {seconds:.0f} s"
