"""Who waits for whom: start conditions, and the order in which everything is stopped."""

from collections.abc import Callable, Iterable, Mapping

from hasup.core import schedule
from hasup.model.spec import Dependency, Program
from hasup.model.state import Replica, State


class Plan:
    """The dependencies between programs. ``replicas`` gives those of a program that are to be there."""

    def __init__(self, programs: Mapping[str, Program], replicas: Callable[[str], list[Replica]]) -> None:
        self._programs = programs
        self._replicas = replicas
        self._dependants: dict[str, list[str]] = {name: [] for name in programs}
        for program in programs.values():
            for other in program.depends_on:
                self._dependants.setdefault(other, []).append(program.name)

    def dependants(self, name: str) -> list[str]:
        """The programs that depend directly on this one, in the order of the configuration."""
        return self._dependants.get(name, [])

    def blocked(self, program: Program) -> str | None:
        """What ``program`` would have to wait for, in words; None when it may start."""
        for name, dependency in program.depends_on.items():
            missing = self._missing(name, dependency)
            if missing is not None:
                return missing
        return None

    def _missing(self, name: str, dependency: Dependency) -> str | None:
        replicas = self._replicas(name)
        if is_met(dependency.condition, replicas, self._programs[name].need):
            return None
        failed = next((r for r in replicas if r.state is State.FAILED), None)
        why = f", which failed ({failed.reason})" if failed is not None else ""
        verb = {"started": "be started", "ready": "be ready", "completed": "complete"}[dependency.condition]
        return f"waits for {name} to {verb}{why}"

    def is_settled(self, replica: Replica) -> bool:
        """Whether it is as it was wanted, or had its first start; what waits in vain is as far as it gets by itself."""
        if replica.state is State.WAITING and replica.wanted:
            return schedule.idles(replica) or (
                replica.deadline is None and self._in_vain(self._programs[replica.program])
            )
        return replica.settled or not replica.wanted

    def _in_vain(self, program: Program) -> bool:
        """Whether something that it waits for had its own first start, and is not there."""
        for name, dependency in program.depends_on.items():
            replicas = self._replicas(name)
            if not is_met(dependency.condition, replicas, self._programs[name].need) and all(
                self.is_settled(replica) for replica in replicas
            ):
                return True
        return False

    def may_stop(self, program: Program, at_rest: Callable[[str], bool]) -> bool:
        """Whether everything that needs ``program`` has been stopped, so that its turn has come."""
        if program.owner is not None:  # a dispatcher goes first: it drains what is open while its replicas live
            return True
        served_by = [p.name for p in self._programs.values() if p.owner == program.name]
        if program.internal:  # the console goes last: it shows all ends
            others = [name for name in self._programs if name != program.name]
        else:
            others = [*self.dependants(program.name), *served_by]
        return all(at_rest(name) for name in others)


def is_met(condition: str, replicas: Iterable[Replica], need: int) -> bool:
    """Whether a program with these replicas is there."""
    known = list(replicas)
    if condition == "completed":
        return bool(known) and all(r.state is State.COMPLETED for r in known)
    if condition == "started":
        return any(r.pid is not None or r.state is State.COMPLETED for r in known)
    return sum(r.ready or r.state is State.COMPLETED for r in known) >= min(need, max(1, len(known)))
