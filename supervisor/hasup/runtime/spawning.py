"""From a program's specification to the guardian's ``spawn`` order."""

import grp
import os
import pwd
import resource
import sys
from collections.abc import Callable, Iterable, Mapping

from hasup.config import expand
from hasup.model.spec import Config, Listen, Program
from hasup.runtime.endpoints import Endpoints, NoPlace
from hasup.runtime.hard import bounds
from hasup.runtime.link import Frame, Order
from hasup.runtime.ports import NoPort
from hasup.runtime.sockets import ListenError, bind, channel
from hasup.runtime.store import Store

_NULL = "null"


class CannotStart(Exception):
    """A replica can't even be asked for; the text is the cause, in words."""


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child inherits of hasup's own environment."""
    base = {name: value for name, value in environ.items() if name not in expand.OWN_NAMES}
    base["HASUP_PYTHON"] = sys.executable
    return base


class Spawner:
    """Prepares starts: environment, user, port, sockets, output."""

    def __init__(self, config: Config, instance: str, store: Store, endpoints: Endpoints) -> None:
        self.config = config
        self._instance = instance
        self._store = store
        self._endpoints = endpoints
        self._inherited = dict(os.environ)  # the guardian's too; as it is, every look at a variable encodes its name
        self._base = own_environment(self._inherited)
        self.on_listen: Callable[[str], None] = lambda _program: None
        self.kept: Callable[[str], Iterable[tuple[str, str]]] = lambda _slot: ()  # FDNAME and name in the store

    def environment(self, program: Program, index: int) -> dict[str, str]:
        """The whole environment of a replica, apart from what only its start adds."""
        text = self._endpoints.text(program, index)
        return expand.environment(self.config, program, index, self._base, self._instance, text)

    def order(
        self, frame: Frame, slot: str, generation: int, program: Program, index: int, notify: str | None
    ) -> Order:
        """The ``spawn`` order of a replica; opens what it needs in the same frame. Raises :class:`CannotStart`."""
        try:
            self._endpoints.prepare(program, index)
            self._open_socket(frame, slot, program)
        except (NoPort, NoPlace, ListenError) as error:
            raise CannotStart(str(error)) from error
        env = self._started_environment(program, index, notify)
        fds: list[list[object]] = [[0, _NULL], *self._output(slot, program), *self._sockets(slot, program, env)]
        order = self.command_order(slot, generation, program, expand.replica_command(program, env), env)
        order["fds"] = fds
        order["bounds"] = bounds(program.limits.hard)
        order["pid_env"] = [name for name in ("LISTEN_PID", "WATCHDOG_PID") if name in env]
        return order

    def command_order(
        self, slot: str, generation: int, program: Program, argv: tuple[str, ...], env: dict[str, str]
    ) -> Order:
        """A ``spawn`` order for a command that runs as a replica of ``program`` would. Raises :class:`CannotStart`."""
        delta: dict[str, str | None] = {n: v for n, v in env.items() if self._inherited.get(n) != v}
        delta.update(dict.fromkeys((n for n in (*self._inherited, *expand.OWN_NAMES) if n not in env), None))
        order: Order = {
            "op": "spawn", "slot": slot, "generation": generation, "argv": list(argv), "pid_env": [],
            "directory": program.directory, "umask": program.umask, "nice": program.nice,
            "rlimits": [_rlimit(name, value) for name, value in program.rlimits.items()], "cgroup": True,
        }  # fmt: skip
        order.update(_identity(program, delta))
        order["env"] = delta
        return order

    def hook_order(
        self, slot: str, name: str, generation: int, program: Program, argv: tuple[str, ...], facts: dict[str, str]
    ) -> Order:
        """The ``spawn`` order of a hook, as slot ``name``: its output goes where that of the replica in ``slot`` goes.

        Raises :class:`CannotStart`, :class:`hasup.config.expand.ExpandError`.
        """
        env = self.environment(program, int(slot.rpartition(".")[2])) | facts
        words = tuple(expand.expand(word, env) for word in argv)
        order = self.command_order(name, generation, program, words, env)
        order["fds"] = [[0, _NULL], *self._output(slot, program)]
        return order

    def _started_environment(self, program: Program, index: int, notify: str | None) -> dict[str, str]:
        env = self.environment(program, index)
        if notify is not None:
            env["NOTIFY_SOCKET"] = notify
        if program.heartbeat is not None and program.heartbeat.source == "notify":
            env["WATCHDOG_USEC"] = str(int(program.heartbeat.timeout * 1_000_000))
            env["WATCHDOG_PID"] = "0"  # the guardian puts the child's pid here
        return env

    def _output(self, slot: str, program: Program) -> list[list[object]]:
        stdout = self._stream(slot, "stdout", program.logs.stdout)
        merged = program.logs.stderr == "merge"
        return [[1, stdout], [2, stdout if merged else self._stream(slot, "stderr", program.logs.stderr)]]

    def _stream(self, slot: str, stream: str, where: str) -> str:
        pipe = f"log:{slot}:{stream}:w"
        if pipe in self._store:
            return pipe
        return stream if where == "inherit" else _NULL

    def _open_socket(self, frame: Frame, slot: str, program: Program) -> None:
        """See to it that the program's listening socket, and the dispatcher's channel, are there."""
        served = self.config.programs.get(program.owner or "", program)
        listen = served.listen
        if listen is None or (listen.mode == "proxy" and not program.internal):
            return
        name = f"listen:{served.name}"
        if name not in self._store:
            self._store.keep(frame, "", {name: self._listen(listen)})  # not one slot's: others start in this frame too
            self.on_listen(served.name)
        if program.internal and f"dispatch:{slot}:core" not in self._store:
            core, far = channel()
            pair = {f"dispatch:{slot}:core": core.detach(), f"dispatch:{slot}:far": far.detach()}
            self._store.keep(frame, slot, pair)

    def _listen(self, listen: Listen) -> int:
        """A listening socket: one that systemd passed, or one of our own."""
        if not listen.address.startswith("systemd:"):
            return bind(listen, os.path.dirname(self.config.file)).detach()
        if listen.address not in self._store:
            name = listen.address.removeprefix("systemd:")
            raise CannotStart(f"systemd passed no socket named {name!r} (FileDescriptorName= of a .socket unit)")
        return os.dup(self._store[listen.address])

    def _sockets(self, slot: str, program: Program, env: dict[str, str]) -> list[list[object]]:
        """Descriptors from 3 on, and what the environment says of them."""
        if program.owner:
            served = self.config.programs.get(program.owner, program)
            return [] if served.listen is None else [[3, f"listen:{served.name}"], [4, f"dispatch:{slot}:far"]]
        shared = program.listen is not None and program.listen.mode == "share"
        passed = [*([(program.name, f"listen:{program.name}")] if shared else []), *self.kept(slot)]
        if passed:
            env.update(LISTEN_FDS=str(len(passed)), LISTEN_FDNAMES=":".join(name for name, _ in passed), LISTEN_PID="0")
        return [[3 + index, stored] for index, (_, stored) in enumerate(passed)]


def _rlimit(name: str, value: int | tuple[int, int]) -> list[object]:
    soft, hard = (value, value) if isinstance(value, int) else value
    return [name, *(resource.RLIM_INFINITY if bound == -1 else bound for bound in (soft, hard))]


def _identity(program: Program, delta: dict[str, str | None]) -> Order:
    """uid, gid and groups of the order; HOME, USER and LOGNAME of the user unless the operator set them."""
    if program.user is None and program.group is None:
        return {"uid": None, "gid": None, "groups": None}
    try:
        user = None if program.user is None else _user(program.user)
        gid = None if program.group is None else _group(program.group)
    except KeyError as error:
        raise CannotStart(str(error.args[0])) from None
    if user is None:
        return {"uid": None, "gid": gid, "groups": None}
    for name, value in (("HOME", user.pw_dir), ("USER", user.pw_name), ("LOGNAME", user.pw_name)):
        if name not in program.env:
            delta[name] = value
    gid = user.pw_gid if gid is None else gid
    return {"uid": user.pw_uid, "gid": gid, "groups": os.getgrouplist(user.pw_name, gid)}


def _user(text: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except KeyError:
        raise KeyError(f"user {text!r} does not exist on this machine") from None


def _group(text: str) -> int:
    try:
        return grp.getgrgid(int(text)).gr_gid if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise KeyError(f"group {text!r} does not exist on this machine") from None
