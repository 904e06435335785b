"""What must hold while replicas are replaced one after the other, in terms of what is done to them alone."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from hasup.model import actions as act
from hasup.model.spec import Program
from hasup.model.state import Replica, State
from tests.simulation.guardian import check

if TYPE_CHECKING:
    from tests.simulation.world import World

_GONE = {State.STOPPED, State.COMPLETED, State.FAILED, State.WAITING}


class Rolls:
    """Looks at each decision; what a frame lost is forgotten with :meth:`restored`."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._taken: dict[str, int] = {}  # ended for a reload, and not ready since -> the generation that was ended
        self._began: dict[str, dict[str, int]] = {}  # program -> the generations when its reload began

    def after(self, before: Mapping[str, Replica], actions: Sequence[act.Action]) -> None:
        """The core has decided."""
        core = self.world.core
        rolling = set(core.reloading())
        for name in rolling - self._began.keys():
            self._began[name] = {slot: r.generation for slot, r in before.items() if r.program == name}
        unready = {a.slot for a in actions if isinstance(a, act.Changed) and a.event == "not-ready"}
        for action in actions:
            if isinstance(action, act.Changed) and action.new is State.STOPPING and action.event == "state":
                self._ended(action, before, unready)
        self._taken = {slot: generation for slot, generation in self._taken.items() if self._lacks(slot, generation)}
        for name in self._began.keys() - rolling:
            del self._began[name]
        for known in core.replicas.values():
            self._runs_what_it_should(known)

    def restored(self) -> None:
        """A new core: what the one before it had in mind is not known here."""
        self._began = {name: {} for name in self.world.core.reloading()}

    def _ended(self, action: act.Changed, before: Mapping[str, Replica], unready: Collection[str]) -> None:
        """A reload ends a replica that takes work only when enough others do."""
        core, known = self.world.core, before.get(action.slot)
        if known is None or not action.reason.startswith(("reloaded by", "rolled back")):
            return
        back = action.reason.startswith("rolled back")
        began = self._began.get(known.program, {}).get(action.slot)
        check(not back or began is None or known.generation > began, f"P7: going back ends the old {action.slot}")
        self._taken[action.slot] = known.generation
        if not known.ready or action.slot in unready or core.stopping:
            return
        own = [r for r in core.replicas.values() if r.program == known.program]
        missing = sum(self._lacks(r.name, self._taken.get(r.name, -1)) for r in own)
        stand_ins = sum(core.stands_in(r.name) and r.ready for r in own)
        count = max(core.configured(known.program).replicas, core.spec(action.slot).replicas)
        most = _most(core.configured(known.program), count, stand_ins > 0 or not back)
        check(
            missing - stand_ins <= most, f"P7: {missing} of {known.program} are down for a reload, {stand_ins} stand in"
        )

    def _lacks(self, slot: str, generation: int) -> bool:
        """Whether a replica that was ended for a reload is missed still."""
        known = self.world.core.replicas.get(slot)
        if known is None or generation < 0 or not known.wanted or known.state in _GONE:
            return False
        return not known.ready

    def _runs_what_it_should(self, known: Replica) -> None:
        started = self.world.programs.get((known.name, known.generation))
        if started is None or (known.name, known.generation) in self.world.untold:
            return
        if known.state in (State.STARTING, State.RUNNING) and known.pid is not None:
            spec = self.world.core.spec(known.name)
            same = spec.command == started.command and spec.heartbeat == started.heartbeat
            check(same or not known.wanted, f"P8: {known.name} does not run what hasup takes it for")


def _most(program: Program, count: int, able: bool) -> int:
    """So many may be down for a reload."""
    listen = program.listen
    beside = program.port == "auto" or (
        program.port is None and (count > 1 if listen is None else listen.mode == "share")
    )
    if program.reload.max_unavailable == 0 and beside and program.kind == "service" and able:
        return 0
    return max(1, program.reload.max_unavailable)
