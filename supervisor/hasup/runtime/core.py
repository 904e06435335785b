"""The core process put together: the guardian's news to decisions, decisions to orders, changes to the onlookers."""

import os
import sys
from collections.abc import Iterator

import msgspec

from hasup.config import cron, expand
from hasup.core import Supervisor
from hasup.core.diff import Difference
from hasup.journal import Journal
from hasup.logs import journald
from hasup.logs.journald import Journald
from hasup.logs.own import OwnLog
from hasup.logs.sinks import Sinks
from hasup.loop import Loop
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Config, Program
from hasup.model.state import Replica
from hasup.model.status import Status
from hasup.protocol.guardian import Message
from hasup.runtime import hard, proc
from hasup.runtime.autoscaling import Autoscaling
from hasup.runtime.dispatching import Dispatching
from hasup.runtime.effects import Effects
from hasup.runtime.endpoints import Endpoints
from hasup.runtime.engine import Engine
from hasup.runtime.evidence import Evidence
from hasup.runtime.fdstore import FdStore
from hasup.runtime.hooks import is_hook
from hasup.runtime.internal import CONSOLE, prepare, renewed
from hasup.runtime.jobs import Done, Jobs, is_job
from hasup.runtime.link import GuardianLink
from hasup.runtime.minutes import Minutes
from hasup.runtime.notify import NotifySockets
from hasup.runtime.operator import Operator
from hasup.runtime.ports import Ports
from hasup.runtime.probes import FileBeats, Prober
from hasup.runtime.record import Recorder
from hasup.runtime.sampler import Sampler
from hasup.runtime.snapshot import Slot, Snapshot, exited
from hasup.runtime.spawning import Spawner
from hasup.runtime.statusdoc import StatusPage
from hasup.runtime.systemd import Systemd
from hasup.runtime.trail import Trail
from hasup.runtime.wallclock import WallClockWatch
from hasup.runtime.watching import Watching

_REREAD_S = 3600.0  # it waits for what is replaced one by one


class Core:
    """Everything one core holds; made from the guardian's snapshot."""

    def __init__(self, loop: Loop, link: GuardianLink, snapshot: Snapshot, config: Config) -> None:
        assert snapshot.hello is not None
        self.loop = loop
        self.config = config = renewed(config, self._python())
        self.hello = snapshot.hello
        self.store = snapshot.store
        self.ended = False
        self.troubles: dict[str, str] = {}
        self.cgroups: dict[str, str | None] = {}
        self.supervisor = Supervisor(config, seed=int(self.hello.instance[:8], 16), calendar=cron)
        self.engine = Engine(loop, link, self.supervisor)
        self.ports = Ports()
        self.endpoints = Endpoints(self.ports, config.supervisor.state_dir)
        self.log, self.journal, self.recorder = self._records()
        self.sinks = self._sinks()
        self.notify = NotifySockets(loop, self.hello.instance, self.engine.feed, self._belongs, self._refused)
        self.fdstore = FdStore(loop, self.engine, self.store, self._refused)
        self.notify.on_fd_store = self.fdstore.take
        self.jobs = Jobs(loop, self.engine, self.store)
        self.trail = Trail(loop)
        self.trail.on_minute = Minutes(loop, self.trail.samples, self.journal.sampled).over
        self.evidence = Evidence(loop, config.supervisor.state_dir, self.sinks, self.trail, self.trouble)
        self.effects = self._effects()
        self.sampler = Sampler(loop, self._sampled)
        prober = Prober(loop, self.engine.feed, self._run_probe)
        self.watching = Watching(prober, self.sampler, self.sinks, FileBeats(loop, self.engine.feed), self.trail)
        self.dispatching = Dispatching(loop, self.store, self.endpoints, lambda text: self.trouble("dispatch", text))
        self.dispatching.on_drained = lambda slot: self.engine.feed(ev.Drained(slot))
        sampler = Sampler(loop, lambda _sample: None)
        self.autoscaling = Autoscaling(
            loop, self.supervisor, self.engine.feed, sampler, self.dispatching.stats, self.cgroups
        )
        self.autoscaling.follow(config)
        self.page = StatusPage(self.hello, self.supervisor, self.endpoints, self.engine.lag, self.dispatching.stats)
        self.operator = Operator(self)
        self.systemd = Systemd(loop, self.engine, os.environ, restarted="" in snapshot.slots)
        self.wallclock = WallClockWatch(self.engine)
        self.spawner.on_listen = self.systemd.keep_socket
        self.spawner.kept = self.fdstore.given
        self._restore(snapshot)

    # --- making -----------------------------------------------------------------------------------------------------
    def _records(self) -> tuple[OwnLog, Journal, Recorder]:
        state_dir = self.config.supervisor.state_dir
        log = OwnLog(os.path.join(state_dir, "logs", "hasup.log"), 10_000_000, 3)
        journal = Journal(os.path.join(state_dir, "journal.db"), lambda text: self.trouble("journal", text))
        return log, journal, Recorder(journal, [log, Journald()] if journald.listens(os.environ) else [log])

    def _sinks(self) -> Sinks:
        return Sinks(
            self.loop,
            os.path.join(self.config.supervisor.state_dir, "logs"),
            on_match=lambda slot, line: self.engine.feed(
                ev.LogMatched(slot, self.supervisor.replicas[slot].generation, line)
            ),
            on_output=lambda slot: self.engine.feed(ev.Beat(slot)),
            on_trouble=self.trouble,
        )

    def _effects(self) -> Effects:
        spawner = Spawner(self.config, self.hello.instance, self.store, self.endpoints)
        effects = Effects(
            self.engine, self.store, spawner, self.endpoints, self.sinks, self.notify, self.jobs, self.recorder,
            self.evidence,
        )  # fmt: skip
        self.engine.perform = effects.perform
        self.engine.changed = self._changed
        self.engine.extra_blobs = lambda: {Ports.BLOB: self.ports.blob()} if self.ports.changed else {}
        effects.on_forget = self._forgotten
        effects.on_revert = self.revert
        effects.on_exit = lambda code: effects.hooks.when_idle(lambda: self._exit(code))
        self.spawner = spawner
        return effects

    def _restore(self, snapshot: Snapshot) -> None:
        """Take over from the core before, if there was one; else start what starts by itself."""
        blobs = {name: slot.blob for name, slot in snapshot.slots.items() if slot.blob is not None}
        self.ports.restore(blobs.pop(Ports.BLOB, None))
        restarted = "" in blobs
        self.wallclock.look()
        if restarted:
            self.supervisor.restore(blobs, self.loop.now())
        for slot in snapshot.slots.values():
            self._adopt(slot)
            for event in [] if is_job(slot.slot) else slot.news():
                self.engine.feed(event)
        self._adopt_hooks(snapshot)
        self._changed(list(self.supervisor.replicas))
        unsaid = tuple(slot for slot in self._autostart() if slot not in blobs)  # all, or whom a core died over
        if unsaid:
            self.engine.feed(ev.Start(unsaid, by="hasup", at_once="HASUP_ONLY" in os.environ))
        if restarted:
            cause = "an upgrade" if self.hello.upgrading else self.hello.core_died or "it ended"
            self.recorder.note(act.Note("core-restarted", f"a new core took over ({cause}); no program was touched"))
        else:
            self.recorder.note(act.Note("hasup-started", f"hasup started with {self.config.file}"))
            self.systemd.begun = True
        self.engine.order("", {"op": "ready"})

    def _adopt(self, found: Slot) -> None:
        """A slot of the guardian's: one of ours, a job nobody waits for, or one that is not configured any more."""
        slot = found.slot
        if is_job(slot):
            if not is_hook(slot):
                self.jobs.abandon(slot)
        elif slot in self.supervisor.replicas:
            self._in_cgroup(slot, found.cgroup, found.unbound)
            self.effects.open_streams(slot, make=False)  # a slot without may be one for which there was no descriptor
            if f"notify:{slot}" in self.store:
                self.notify.adopt(slot, os.dup(self.store[f"notify:{slot}"]))
        elif slot not in ("", Ports.BLOB):
            self._end_unknown(slot, found.generation)

    def _adopt_hooks(self, snapshot: Snapshot) -> None:
        """Hooks come last: their output goes where the replicas' goes."""
        for slot in snapshot.slots.values():
            if is_hook(slot.slot):
                self.effects.hooks.adopt(slot)
        self.effects.hooks.adopted()

    def _end_unknown(self, slot: str, generation: int) -> None:
        """A program that was taken out of the configuration just before the core before this one died."""
        self.engine.order(slot, {"op": "clear", "slot": slot, "generation": generation, "grace_s": 0.0})

    def _autostart(self) -> Iterator[str]:
        """What starts with hasup: what is configured so, or only what ``hasup start NAME…`` named."""
        only = os.environ.get("HASUP_ONLY")
        chosen = set(self.supervisor.resolve(only.split())) if only else None
        for name in self.supervisor.replicas:
            program = self.supervisor.spec(name)
            hasups_own = program.internal and program.owner not in self.config.programs
            if hasups_own or (program.autostart if chosen is None else name in chosen):
                yield name

    # --- the guardian's news ----------------------------------------------------------------------------------------
    def hear(self, message: Message, fds: list[int]) -> None:
        """One event of the guardian after its snapshot."""
        for fd in fds:  # none is expected here
            os.close(fd)
        kind, slot = message["event"], message.get("slot", "")
        if kind == "ping":
            self.engine.order("", {"op": "pong"})
        elif kind == "signal":
            self.operator.signalled(message["signal"])
        elif kind in ("upgraded", "upgrade-failed"):
            self._upgrade_ended(message)
        elif is_hook(slot):
            self.effects.hooks.take(message)
        elif is_job(slot):
            self.jobs.take(message)
        elif slot in self.supervisor.replicas:
            self._hear_of(slot, kind, message)
        elif kind == "emptied":
            self.engine.order(slot, {"op": "forget", "slot": slot})

    def _hear_of(self, slot: str, kind: str, message: Message) -> None:
        generation = message["generation"]
        match kind:
            case "spawned":
                self._in_cgroup(slot, message.get("cgroup"), message.get("unbound") or [])
                self.engine.feed(ev.Spawned(slot, generation, message["pid"]))
            case "spawn-failed":
                self.engine.feed(ev.SpawnFailed(slot, generation, message["cause"]))
            case "exited":
                self.sinks.drain(slot)  # its last words belong to its end
                self.sinks.flush(slot)
                self.engine.feed(exited(message))
            case "emptied":
                self.engine.feed(ev.Emptied(slot, generation, message.get("killed", 0)))
            case "stuck":
                self.engine.feed(ev.Stuck(slot, generation, tuple(message["pids"])))

    def _in_cgroup(self, slot: str, cgroup: str | None, unbound: list[str]) -> None:
        self.cgroups[slot] = cgroup
        program = self.supervisor.spec(slot)
        self.trouble(f"hard:{program.name}", hard.lacking(program.name, program.limits.hard, cgroup, unbound))

    def _upgrade_ended(self, message: Message) -> None:
        before, cause = self.hello.version, message.get("cause")
        self.hello.upgrade = message.get("upgrade") or {"id": message.get("id"), "cause": cause}
        if cause is None:
            self.hello.version = message["version"]
            self.recorder.note(act.Note("upgraded", f"hasup {before} is hasup {message['version']} now"))
        else:
            self.recorder.trouble(f"hasup was not upgraded: {cause}")

    # --- after a decision -------------------------------------------------------------------------------------------
    def _changed(self, slots: list[str]) -> None:
        """Bring readers and dispatchers in line with the new states."""
        programs = set()
        for slot in slots:
            replica = self.supervisor.replicas.get(slot)
            if replica is not None:
                self._watch(replica)
                if replica.at_rest:
                    self.fdstore.release(slot)
                    self.endpoints.release(self.supervisor.spec(slot), replica.index)
                programs.add(replica.program)
        for name in programs:
            self._tell_dispatcher(name)
        self.operator.look()
        self.systemd.look()

    def _watch(self, replica: Replica) -> None:
        program = self.supervisor.spec(replica.name)
        self.watching.update(
            replica,
            program,
            self.cgroups.get(replica.name),
            lambda: self.spawner.environment(program, replica.index),
        )
        # What it says before the guardian has told its pid waits where it is: nobody could say yet whose word it is.
        for heard in (self.sinks, self.notify):
            (heard.hold if replica.spawning else heard.release)(replica.name)

    def _tell_dispatcher(self, name: str) -> None:
        program = self.config.programs.get(name)
        served = self.config.programs.get(program.owner) if program and program.owner else program
        if served is not None and served.listen is not None and served.listen.mode == "proxy":
            for number in range(1, served.listen.dispatchers + 1):
                slot = f"{served.name}:dispatcher.{number}"
                self.dispatching.update(served, slot, lambda: self._served_by(served))

    def _served_by(self, program: Program) -> list[tuple[Replica, Program]]:
        """The replicas of a program, each with what it runs: that may differ while the program is reloaded."""
        return [(replica, self.supervisor.spec(replica.name)) for replica in self._replicas_of(program)]

    def _replicas_of(self, program: Program) -> list[Replica]:
        return [replica for replica in self.supervisor.replicas.values() if replica.program == program.name]

    def _forgotten(self, slot: str) -> None:
        self.fdstore.release(slot)
        self.dispatching.forget(slot)
        self.watching.forget(slot)
        self.cgroups.pop(slot, None)
        if (program := slot.rpartition(".")[0]) not in self.config.programs:
            self.trouble(f"hard:{program}", None)

    def _exit(self, code: int) -> None:
        """Everything is stopped: tell those who wait, close what is open, let the guardian end."""
        self.recorder.note(act.Note("hasup-stopped", f"everything is stopped; hasup ends with exit code {code}"))
        self.ended = True
        self.operator.farewell()
        self.endpoints.close()
        self.engine.after_frame(self.evidence.flush)
        self.journal.close(2.0)
        self.engine.order("", {"op": "exit", "code": code})

    def park(self) -> None:
        """Stand by while another core is tried: write what waits, do nothing more. Descriptors stay open."""
        self.engine.flush()
        self.sinks.flush()
        self.journal.close(2.0)

    # --- another configuration ---------------------------------------------------------------------------------------
    def reload(self, written: Config, by: str, token: str) -> Difference:
        """Go over to ``written`` (without hasup's own programs): only what differs is touched."""
        console = CONSOLE in self.config.programs
        config = prepare(written, python=self._python(), console=console)
        if console:  # it keeps what it was started with
            config = msgspec.structs.replace(
                config, programs=config.programs | {CONSOLE: self.config.programs[CONSOLE]}
            )
        self.systemd.reloading()
        before, self.config, self.spawner.config = self.config, config, config
        found, actions = self.supervisor.apply(config, self.loop.now(), by=by, token=token)
        self._keep_config(config)
        self._close_sockets(before)
        for action in actions:
            self.effects.perform(action)
        self._changed(list(self.supervisor.replicas))  # probes and limits hold from now on, also for what runs
        self.systemd.reloaded()
        return found

    def revert(self, name: str) -> None:
        """A program goes back to the configuration before, which is in force again."""
        programs = self.config.programs | {name: self.supervisor.configured(name)}
        self.config = self.spawner.config = msgspec.structs.replace(self.config, programs=programs)
        self._keep_config(self.config)

    def reread(self) -> None:
        """Read the file again (SIGHUP), in a process of its own, which then asks for :meth:`reload` like anybody."""
        argv = [*self._python(), "-m", "hasup", "reload", "-c", self.config.file]
        env: dict[str, str | None] = dict.fromkeys(expand.OWN_NAMES)
        order: Message = {"op": "spawn", "argv": argv, "env": env, "directory": os.path.dirname(self.config.file)}

        def done(code: int | None, output: str) -> None:
            if code != 0:
                self.recorder.trouble(f"reload failed, the old configuration goes on: {output or 'no reason given'}")

        self.jobs.run("hasup/reload", order, _REREAD_S, done)

    def _python(self) -> tuple[str, ...]:
        """The interpreter and flags that this process runs on."""
        return (sys.executable, *(("-E",) if sys.flags.ignore_environment else ()), "-P")

    def _keep_config(self, config: Config) -> None:
        """It is in force now."""
        self.autoscaling.follow(config)
        fd = os.memfd_create("hasup-config", os.MFD_CLOEXEC)
        with open(os.dup(fd), "wb") as file:
            file.write(msgspec.json.encode(config))
        old = self.store["config"]
        self.store.keep(self.engine.frame, "", {"config": fd})
        self.engine.after_frame(lambda: os.close(old))  # which may be in this frame itself

    def _close_sockets(self, before: Config) -> None:
        """Listening sockets whose address is not wanted any more; logs whose place changed."""
        for name, program in before.programs.items():
            now = self.config.programs.get(name)
            if program.listen is not None and (now is None or now.listen is None or _elsewhere(program, now)):
                self.store.drop(self.engine.frame, "", [f"listen:{name}"])
                self.systemd.drop_socket(name)
            if now is not None and program.logs != now.logs:
                for replica in self._replicas_of(now):
                    self.sinks.close(replica.name)
                    self.effects.open_streams(replica.name)

    # --- what the readers ask ---------------------------------------------------------------------------------------
    def trouble(self, key: str, text: str | None) -> None:
        """Something of hasup's own does not work (or works again: ``text`` is None); supervision goes on."""
        if text is None:
            gone = self.troubles.pop(key, None)
            if gone is not None:
                self.engine.after_frame(lambda: self.recorder.trouble(f"over: {gone}"))
        elif self.troubles.get(key) != text:
            self.troubles[key] = text
            self.engine.after_frame(lambda: self.recorder.trouble(text))

    def _belongs(self, slot: str, pid: int, uid: int, _gid: int) -> bool:
        """Whether a process may send to the NOTIFY_SOCKET of ``slot``."""
        replica = self.supervisor.replicas.get(slot)
        if replica is None or replica.pid is None:
            return False
        access = self.supervisor.spec(slot).notify_access
        return proc.belongs(replica.pid, pid, access, cgroup=self.cgroups.get(slot), uid=uid)

    def _refused(self, slot: str, text: str) -> None:
        self.engine.after_frame(lambda: self.recorder.trouble(f"{slot}: {text}"))

    def _sampled(self, sample: ev.Sampled) -> None:
        self.trail.note(sample)
        self.engine.feed(sample)

    def _run_probe(self, argv: tuple[str, ...], slot: str, timeout: float, done: Done) -> None:
        self.effects.run(slot, "probe", argv, timeout, done)

    def status(self) -> Status:
        """The status document, freshly measured."""
        alive = {
            replica.name: (replica.pid, self.cgroups.get(replica.name))
            for replica in self.supervisor.replicas.values()
            if replica.pid is not None
        }
        usage = self.sampler.measure(alive)
        self.journal.poll()
        troubles = tuple(self.troubles.values())
        return self.page.build(self.config, self.loop.now(), usage, troubles, self.supervisor.stopping)


def _elsewhere(before: Program, now: Program) -> bool:
    return before.listen is not None and now.listen is not None and before.listen.address != now.listen.address
