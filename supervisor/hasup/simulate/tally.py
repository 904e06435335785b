"""How long programs and the whole were down, and in which phase of their repair the replicas were."""

from collections import Counter, defaultdict
from collections.abc import Mapping


class Tally:
    """Follows the replicas; one that was not spoken of yet is starting. ``need`` maps programs to replicas needed."""

    def __init__(self, need: Mapping[str, int]) -> None:
        self._need = need
        self._phases: dict[str, tuple[str, str]] = {}  # slot -> program and phase; "" is up
        self._up: Counter[str] = Counter()
        self._short = set(need)
        self._now = 0.0
        self._since = 0.0
        self._entered: dict[str, float] = {}
        self.down: defaultdict[str, float] = defaultdict(float)  # seconds, by program
        self.system_down = 0.0
        self.phases: dict[str, defaultdict[str, float]] = {name: defaultdict(float) for name in need}  # replica-seconds
        self.failures: Counter[str] = Counter()  # replicas that went down, by program

    def begin(self, now: float) -> None:
        """Count from here on."""
        self.pass_time(now)
        self._since = now
        self.down.clear()
        self.failures.clear()
        self.system_down = 0.0
        for phases in self.phases.values():
            phases.clear()

    @property
    def seconds(self) -> float:
        """How long it has counted."""
        return self._now - self._since

    def pass_time(self, now: float) -> None:
        """Nothing has changed until now."""
        self._programs_to(now)
        for slot in self._phases:
            self._replica_to(slot, now)

    def change(self, now: float, slot: str, program: str, phase: str) -> None:
        """From now on the replica is in this phase; ``""`` is up."""
        if program not in self._need:
            return
        before = self._phases.get(slot, (program, "start"))[1]
        if before == phase and slot in self._phases:
            return
        self._programs_to(now)
        self._replica_to(slot, now)
        self._phases[slot] = (program, phase)
        self._entered[slot] = now
        self.failures[program] += before == ""
        self._up[program] += (phase == "") - (before == "")
        (self._short.discard if self._up[program] >= self._need[program] else self._short.add)(program)

    def _programs_to(self, now: float) -> None:
        passed = now - self._now
        self._now = now
        if self._short and passed:
            self.system_down += passed
            for program in self._short:
                self.down[program] += passed

    def _replica_to(self, slot: str, now: float) -> None:
        known = self._phases.get(slot)
        if known is not None and known[1]:
            self.phases[known[0]][known[1]] += now - max(self._entered[slot], self._since)
        self._entered[slot] = now
