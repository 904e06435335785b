"""What operators ask for, by control socket and by signal, and when it is answered."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from hasup.control.server import LATER, ControlServer, Later, Peer
from hasup.core import UnknownName, schedule
from hasup.core.diff import Difference
from hasup.core.words import signal_name
from hasup.model import events as ev
from hasup.model.actions import Note
from hasup.model.spec import Config
from hasup.model.state import Replica, State
from hasup.model.status import EventRecord, Status
from hasup.protocol.control import INVALID_PARAMS, ControlError, RequestId
from hasup.runtime.internal import without_internal
from hasup.version import __version__

if TYPE_CHECKING:
    from hasup.runtime.core import Core

Answer = dict[str, Any]
_NOT_ABOUT_TO_START = {State.STOPPED, State.COMPLETED, State.FAILED, State.WAITING}


class Operator:
    """The methods of the control socket. Those that wait are answered by :meth:`look`, after each change."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: list[tuple[Peer, RequestId, Callable[[], Answer | None]]] = []
        self._leaving: list[tuple[Peer, RequestId]] = []
        self._interrupts = 0
        methods = {
            "status": self._status, "version": self._version, "start": self._start, "stop": self._stop,
            "restart": self._restart, "shutdown": self._shutdown, "scale": self._scale, "signal": self._signal,
            "settled": self._settled, "follow": self._follow, "reload": self._reload, "config": self._config,
            "upgrade": self._upgrade,
        }  # fmt: skip
        listener = socket.socket(fileno=os.dup(core.store["control"]))
        self._server = ControlServer(
            core.loop, listener, methods, self._allowed, lambda text: core.recorder.trouble(text)
        )
        core.recorder.followers.append(self._broadcast)

    def signalled(self, number: int) -> None:
        """hasup was sent a signal."""
        name = signal.Signals(number).name
        if number in (signal.SIGINT, signal.SIGTERM):
            self._interrupts += 1
            self._shut_down(f"{name} to hasup", now=self._interrupts > 1)
        elif number == signal.SIGHUP:
            self._core.reread()
        else:
            self._core.recorder.note(Note("signal", f"hasup got {name} and has no use for it"))

    def look(self) -> None:
        """Answer those who wait for what is so now."""
        still = []
        for peer, request, answer in self._waiting:
            if peer.closed:
                continue
            result = answer()
            if result is None:
                still.append((peer, request, answer))
            else:
                self._core.engine.after_frame(_reply(peer, request, result))
        self._waiting = still

    def farewell(self) -> None:
        """Everything is stopped: answer all who wait, then close."""
        self.look()
        for peer, request, _ in self._waiting:
            peer.fail(request, "hasup was stopped meanwhile")
        for peer, request in self._leaving:
            peer.reply(request, {"ok": True})
        self._server.close(1.0)

    # --- methods ----------------------------------------------------------------------------------------------------
    def _status(self, _params: Answer, _peer: Peer) -> Status:
        return self._core.status()

    def _version(self, _params: Answer, _peer: Peer) -> Answer:
        return {
            "version": __version__,
            "core_pid": os.getpid(),
            "guardian_pid": self._core.hello.guardian_pid,
            "state_dir": self._core.config.supervisor.state_dir,
            "guardian_version": self._core.hello.version,
            "upgrade": self._core.hello.upgrade,
        }

    def _start(self, params: Answer, peer: Peer) -> Answer | Later:
        slots = self._named(params) if params.get("names") else self._by_themselves()
        self._core.engine.feed(ev.Start(slots, by=_who(peer), at_once=bool(params.get("names"))))
        return self._when(params, peer, slots, self._once(slots, self._is_settled))

    def _stop(self, params: Answer, peer: Peer) -> Answer | Later:
        slots = self._named(params)
        self._core.engine.feed(ev.Stop(slots, by=_who(peer)))
        return self._when(params, peer, slots, self._once(slots, lambda replica: replica.at_rest))

    def _restart(self, params: Answer, peer: Peer) -> Answer | Later:
        known = self._core.supervisor.replicas
        slots = tuple(  # a dispatcher goes on while the replicas behind it are restarted
            slot for slot in self._named(params) if not (known[slot].wanted and self._is_unnamed(slot, params))
        )
        before = {slot: self._core.supervisor.replicas[slot].generation for slot in slots}
        self._core.engine.feed(ev.Restart(slots, by=_who(peer)))

        def done(replica: Replica) -> bool:
            begun = replica.generation > before[replica.name] or replica.state in _NOT_ABOUT_TO_START
            return begun and self._is_settled(replica)

        return self._when(params, peer, slots, self._once(slots, done))

    def _scale(self, params: Answer, peer: Peer) -> Answer | Later:
        wanted = _typed(params, "replicas", dict)
        for name, count in wanted.items():
            program = self._core.config.programs.get(name)
            if program is None or program.internal:
                self._named({"names": [name]})  # says what there is instead
                raise ControlError(f"{name} is no program: only programs can be scaled", exit_code=4)
            if count == "auto" and program.autoscale is not None:
                continue
            if count == "auto":
                raise ControlError(f"{name} is not scaled by its load: write replicas as a table first", exit_code=2)
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= 10_000:
                raise ControlError(f"{name}: replicas are a number from 0 to 10000", code=INVALID_PARAMS, exit_code=2)
        for name, count in wanted.items():
            self._core.engine.feed(ev.Scale(name, None if count == "auto" else count, by=_who(peer)))

        def done() -> Answer | None:
            known = self._core.supervisor.replicas.values()
            replicas = [r for r in known if r.program in wanted and not self._core.supervisor.stands_in(r.name)]
            counts = {name: sum(replica.program == name for replica in replicas) for name in wanted}
            settled = all(map(self._is_settled, replicas))
            return (
                _outcome(replicas)
                if settled and counts == {name: self._number(name, wanted) for name in wanted}
                else None
            )

        return self._when(params, peer, (), done)

    def _reload(self, params: Answer, peer: Peer) -> Answer | Later:
        """With ``config`` (JSON text): go over to that configuration; with ``names``: replace those one by one."""
        if "config" in params:
            return self._apply(params, peer)
        slots = self._named(params)
        token = str(params.get("token", ""))
        if not self._core.supervisor.was_asked(token):
            self._core.engine.feed(ev.Roll(slots, by=_who(peer), token=token))
        programs = {self._core.supervisor.replicas[slot].program for slot in slots}
        settled = self._once([slot for slot in slots if not self._core.supervisor.stands_in(slot)], self._is_settled)
        return self._when(params, peer, slots, lambda: self._rolled(programs, settled()))

    def _rolled(self, programs: set[str], settled: Answer | None) -> Answer | None:
        """``settled``, and which of the programs were not reloaded, and why; None while that is not known yet."""
        supervisor = self._core.supervisor
        if settled is None or supervisor.is_rolling(programs):
            return None
        reasons = supervisor.not_reloaded(programs)
        failed = [{"name": name, "reason": reason} for name, reason in reasons.items()]
        return settled | {"ok": settled["ok"] and not failed, "not_reloaded": failed}

    def _apply(self, params: Answer, peer: Peer) -> Answer | Later:
        try:
            written = msgspec.json.decode(_typed(params, "config", str), type=Config)
        except msgspec.MsgspecError as error:
            raise ControlError(f"this is no configuration: {error}", code=INVALID_PARAMS, exit_code=2) from error
        if written.supervisor.state_dir != self._core.config.supervisor.state_dir:
            raise ControlError("state_dir can't change while hasup runs: stop it first", exit_code=1)
        token = str(params.get("token", ""))
        if self._core.supervisor.was_asked(token):
            what, touched = "applied", set(self._core.supervisor.reloading())
        else:
            found = self._core.reload(written, _who(peer), token)
            what, touched = summary(found), {*found.added, *found.restarted()}
            self._core.recorder.note(Note("reload", f"{what}, as {_who(peer)} asked"))

        def done() -> Answer | None:
            known = [r for r in self._core.supervisor.replicas.values() if r.program in touched]
            settled = _outcome(known) if all(map(self._is_settled, known)) else None
            answer = self._rolled(touched, settled)
            return None if answer is None else answer | {"summary": what}

        return self._when(params, peer, (), done)

    def _config(self, _params: Answer, _peer: Peer) -> Answer:
        """The configuration in force, as the operator wrote it and with every default."""
        return {"config": msgspec.json.encode(without_internal(self._core.config)).decode()}

    def _signal(self, params: Answer, peer: Peer) -> Answer:
        number = _signal_number(_typed(params, "signal", str))
        sent = []
        for slot in self._named(params):
            replica = self._core.supervisor.replicas[slot]
            if replica.pid is not None and not self._is_unnamed(slot, params):
                self._core.engine.order(
                    slot,
                    {"op": "signal", "slot": slot, "generation": replica.generation, "signal": number, "scope": "main"},
                )
                sent.append(slot)
        name = signal_name(number)
        self._core.recorder.note(Note("signal", f"{_who(peer)} sent {name} to {', '.join(sent) or 'nobody'}"))
        return {"signalled": sent, "signal": name}

    def _upgrade(self, params: Answer, peer: Peer) -> Answer:
        """Go over to another version of hasup; ``version`` tells how it ended, by ``id``."""
        if self._core.supervisor.stopping:
            raise ControlError("hasup is stopping", exit_code=1)
        commands = {name: _words(params, name) for name in ("argv", "core")}
        env = _typed(params, "env", dict)
        self._core.engine.order("", {"op": "upgrade", "id": _typed(params, "id", str), "env": env, **commands})
        self._core.recorder.note(Note("upgrade", f"{_who(peer)} asked for an upgrade with {commands['core'][0]}"))
        return {"ok": True}

    def _shutdown(self, params: Answer, peer: Peer) -> Later:
        self._shut_down(f"hasup stop by {_who(peer)}", now=bool(params.get("now", False)))
        self._leaving.append((peer, peer.request))
        return LATER

    def _shut_down(self, why: str, *, now: bool) -> None:
        self._core.engine.feed(ev.Shutdown(why, now=now))
        if now:
            self._core.effects.hooks.kill()

    def _settled(self, _params: Answer, peer: Peer) -> Later:
        def done() -> Answer | None:
            wanted = [r for r in self._core.supervisor.replicas.values() if r.wanted]
            return _outcome(wanted) if self._core.supervisor.settled() else None

        return self._wait(peer, done)

    def _follow(self, _params: Answer, peer: Peer) -> Answer:
        peer.follow()
        return {"seq": self._core.recorder.seq}

    def _number(self, name: str, wanted: Answer) -> int:
        """So many replicas there are when a scaling is done."""
        scaled = self._core.supervisor.autoscale(name) if wanted[name] == "auto" else None
        return int(wanted[name]) if scaled is None else scaled.replicas

    # --- helpers ----------------------------------------------------------------------------------------------------
    def _is_settled(self, replica: Replica) -> bool:
        return self._core.supervisor.is_settled(replica)

    def _is_unnamed(self, slot: str, params: Answer) -> bool:
        """Whether it is one of hasup's own programs, meant only as a part of what was named."""
        program = self._core.supervisor.spec(slot)
        return program.internal and not {slot, program.name} & set(params.get("names", []))

    def _by_themselves(self) -> tuple[str, ...]:
        """What a start without names starts."""
        spec = self._core.supervisor.spec
        return tuple(slot for slot in self._core.supervisor.resolve(()) if spec(slot).autostart)

    def _named(self, params: Answer) -> tuple[str, ...]:
        names = params.get("names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ControlError("names is a list of names", code=INVALID_PARAMS, exit_code=2)
        try:
            return self._core.supervisor.resolve(names)
        except UnknownName as error:
            raise ControlError(str(error), exit_code=4) from error

    def _once(self, slots: Iterable[str], done: Callable[[Replica], bool]) -> Callable[[], Answer | None]:
        def answer() -> Answer | None:
            known = self._core.supervisor.replicas
            replicas = [known[slot] for slot in slots if slot in known]
            return _outcome(replicas) if all(done(replica) for replica in replicas) else None

        return answer

    def _when(
        self, params: Answer, peer: Peer, slots: tuple[str, ...], answer: Callable[[], Answer | None]
    ) -> Answer | Later:
        """The answer when it is so; at once without ``wait``."""
        if params.get("wait", False):
            return self._wait(peer, answer)
        return {"ok": True, "replicas": [{"name": slot} for slot in slots]}

    def _wait(self, peer: Peer, answer: Callable[[], Answer | None]) -> Later:
        # What was just asked for is decided on at the end of this turn: look after that, even if nothing changes.
        self._waiting.append((peer, peer.request, answer))
        self._core.engine.after_frame(self.look)
        return LATER

    def _broadcast(self, record: EventRecord) -> None:
        self._server.broadcast("event", record)

    def _allowed(self, uid: int, gid: int, _pid: int) -> bool:
        """Root, the user hasup runs as, and the members of the configured group."""
        if uid in (0, os.geteuid()):
            return True
        group = self._core.config.supervisor.control_group
        return group is not None and _is_member(uid, gid, group)


def summary(found: Difference) -> str:
    """A difference in one line, hasup's own programs left out."""
    kinds = {"added": found.added, "removed": found.removed, "restarted": found.restarted(), "changed": found.changed}
    parts = []
    for word, names in kinds.items():
        shown = [name for name in names if ":" not in name and (word != "changed" or name not in found.restarted())]
        if shown:
            parts.append(f"{word} {', '.join(shown)}")
    return "; ".join(parts) or "nothing differs"


def _reply(peer: Peer, request: RequestId, result: Answer) -> Callable[[], None]:
    return lambda: peer.reply(request, result)


def _outcome(replicas: Iterable[Replica]) -> Answer:
    """How it went: ok when all that are wanted are ready, completed, or wait for their schedule after a good run."""
    known = list(replicas)
    failed = [r for r in known if r.wanted and not (r.ready or r.state is State.COMPLETED or schedule.rests_well(r))]
    return {
        "ok": not failed,
        "replicas": [{"name": r.name, "state": r.state.value, "reason": r.reason} for r in known],
        "failed": [{"name": r.name, "reason": r.reason} for r in failed],
    }


def _typed(params: Answer, name: str, kind: type) -> Any:
    value = params.get(name)
    if not isinstance(value, kind):
        raise ControlError(f"{name} is missing, or no {kind.__name__}", code=INVALID_PARAMS, exit_code=2)
    return value


def _words(params: Answer, name: str) -> list[str]:
    words = _typed(params, name, list)
    if not words or not all(isinstance(word, str) for word in words):
        raise ControlError(f"{name} is a command in words", code=INVALID_PARAMS, exit_code=2)
    return list(words)


def _signal_number(text: str) -> int:
    """``"TERM"``, ``"SIGTERM"`` or ``"15"`` as a number."""
    if text.isdigit() and int(text) in signal.valid_signals():
        return int(text)
    try:
        return signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"]
    except KeyError:
        raise ControlError(f"there is no signal {text!r}", code=INVALID_PARAMS, exit_code=2) from None


def _who(peer: Peer) -> str:
    """Whom the events name: the operator, with the user's name when it is not hasup's own user."""
    if peer.uid == os.geteuid():
        return "operator"
    try:
        return f"operator {pwd.getpwuid(peer.uid).pw_name}"
    except KeyError:
        return f"operator (uid {peer.uid})"


def _is_member(uid: int, gid: int, group: str) -> bool:
    import grp

    try:
        wanted = grp.getgrnam(group).gr_gid
        return wanted in (gid, *os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        return False
