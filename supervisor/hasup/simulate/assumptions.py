"""What is assumed of each program, beside its configuration."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from hasup.model.spec import Config, Program

DEFAULT_MTBF_S = 86_400.0
DEFAULT_START_S = 1.0
DEFAULT_HANGS = 0.1  # of its failures, where something would notice a hang


class Assumption(NamedTuple):
    """One program. ``hangs``: the share of failures that are hangs rather than ends of the process.

    A hang is noticed after a time between ``detect_low`` and ``detect_high`` seconds, evenly spread; infinity where
    nothing watches for it. ``noticed_by`` is the option that this time follows from.
    """

    mtbf_s: float = DEFAULT_MTBF_S
    start_s: float = DEFAULT_START_S
    hangs: float = 0.0
    detect_low: float = math.inf
    detect_high: float = math.inf
    noticed_by: str = ""
    measured: bool = False  # mtbf_s is from the journal
    guessed: bool = False  # mtbf_s is the default

    @property
    def detect_s(self) -> float:
        """The mean time until a hang is noticed."""
        return (self.detect_low + self.detect_high) / 2


class Given(NamedTuple):
    """What was measured or given, where it was: None is not known."""

    mtbf_s: float | None = None
    start_s: float | None = None
    hangs: float | None = None
    measured: bool = False


def assume(program: Program, given: Given) -> Assumption:
    """The assumption on a program: what is given, else what its configuration says, else the defaults."""
    low, high, noticed_by = detection(program)
    watched = DEFAULT_HANGS if noticed_by else 0.0
    return Assumption(
        mtbf_s=DEFAULT_MTBF_S if given.mtbf_s is None else given.mtbf_s,
        start_s=_start(program) if given.start_s is None else given.start_s,
        hangs=watched if given.hangs is None else given.hangs,
        detect_low=low,
        detect_high=high,
        noticed_by=noticed_by,
        measured=given.measured and given.mtbf_s is not None,
        guessed=given.mtbf_s is None,
    )


def assume_all(config: Config, given: Mapping[str, Given]) -> dict[str, Assumption]:
    """For every program that the operator configured."""
    programs = [program for program in config.programs.values() if not program.internal]
    return {program.name: assume(program, given.get(program.name, Given())) for program in programs}


def detection(program: Program) -> tuple[float, float, str]:
    """The earliest and latest notice of a hang, in seconds, and the option that decides on it.

    A heartbeat comes at half its timeout, as sd_watchdog_enabled(3) asks for, so that at a hang the last one is up to
    that old. A probe of a server that does not answer fails by its timeout.
    """
    ways = []
    if program.heartbeat is not None:
        ways.append((program.heartbeat.timeout / 2, program.heartbeat.timeout, "heartbeat.timeout"))
    health = program.health
    if health is not None and (health.http or health.tcp or health.exec):
        sure = (health.failures - 1) * max(health.interval, health.timeout) + health.timeout
        ways.append((sure, sure + health.interval, "health"))
    return min(ways, key=lambda way: way[1], default=(math.inf, math.inf, ""))


def _start(program: Program) -> float:
    """With no other sign of readiness it is the time that the operator gives it."""
    ready = program.ready
    by_sign = ready.notify or ready.http or ready.tcp or ready.exec or ready.log
    return DEFAULT_START_S if by_sign else ready.after
