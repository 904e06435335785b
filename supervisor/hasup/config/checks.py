"""What no option can be judged by alone: how the options of a program, and the programs, fit together."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hasup.config import autoscaling, listening, readers, support, templates, units
from hasup.config.faults import nearest
from hasup.config.merge import PROBES
from hasup.config.node import Faults, Node
from hasup.model.spec import Config, Health, Program, Ready

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
_OWN_LOG: Final = "hasup.log"
_HTTP_ONLY: Final = ("status", "body", "headers")


@dataclass(frozen=True)
class Written:
    """Where things were written: the main file, programs (over their defaults) and groups."""

    root: Node
    programs: Mapping[str, Node]
    groups: Mapping[str, Node]


def check(config: Config, written: Written, environ: Mapping[str, str], faults: Faults) -> None:
    """Report whatever does not fit."""
    if not written.programs:
        faults.add(written.root, "there are no programs: write a table such as [programs.web] with a command")
    _names(config, written, faults)
    _metrics(config.supervisor.metrics, written.root.at("supervisor", "metrics"), faults)
    for name, program in config.programs.items():
        node = written.programs[name]
        _program(program, node, faults)
        _dependencies(program, node, written.programs, config.programs, faults)
        templates.check(config, program, node, environ, faults)
        support.check(program, node, support.PROGRAM, faults)
    for name, group in config.groups.items():
        _group(written.groups[name], written.programs, faults)
        support.check(group, written.groups[name], support.GROUP, faults)
    _cycles(config.programs, written.programs, faults)
    _ports(config.programs, written.programs, faults)
    _log_files(config.programs, written.programs, faults)


def _metrics(address: str | None, node: Node, faults: Faults) -> None:
    """Whoever reaches it may read it, so it is for this machine only."""
    if address is None:
        return
    from importlib.util import find_spec

    host, port = readers.address_parts(address)
    if host != "unix" and (not _is_loopback(host) or not port.isdigit()):
        faults.add(node, 'expected a port of the loopback, such as "127.0.0.1:9464", or "unix:PATH"')
    if find_spec("prometheus_client") is None:
        faults.add(node, "needs the package prometheus-client: pip install 'hasup[metrics]'")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _names(config: Config, written: Written, faults: Faults) -> None:
    name = config.supervisor.name
    if not name or len(name) > 64 or not name.isprintable():
        faults.add(written.root.at("supervisor", "name"), "expected from 1 to 64 printable characters")
    for table in (written.programs, written.groups):
        for name, node in table.items():
            if not NAME.fullmatch(name):
                faults.add(node, "a name is made of letters, digits, - and _, at most 64, and does not begin with -")
    for name in written.groups.keys() & written.programs.keys():
        faults.add(written.groups[name], "is the name of a program, too")


def _program(program: Program, node: Node, faults: Faults) -> None:
    if not node.has("command"):
        faults.add(node, "command is missing")
    elif node.at("command").value in ("", []):
        faults.add(node.at("command"), "is empty")
    if program.shell and len(program.command) > 1:
        faults.add(node.at("command"), "with shell = true the command is a text, not an array")
    scaled = node.has("replicas") and isinstance(node.at("replicas").value, dict)
    if program.need > max(1, program.replicas) and not scaled:
        faults.add(node.at("need"), f"is more than there are replicas ({program.replicas})")
    if program.autoscale is not None:
        autoscaling.check(program, program.autoscale, node, faults)
    if program.schedule is not None and program.kind != "task":
        faults.add(node.at("schedule"), 'only a task has a schedule: write kind = "task"')
    if program.schedule is not None and program.policy == "always":
        place = node.at("restart", "policy") if node.has("restart", "policy") else node.at("restart")
        faults.add(place, "restarts at once what has a schedule: write on-failure or never")
    if program.schedule is not None and program.essential:
        faults.add(
            node.at("essential"), 'a task with a schedule never ends for good: use restart.on_limit = "shutdown"'
        )
    if program.restart.max_delay < program.restart.delay:
        place = node.at("restart", "delay" if node.has("restart", "delay") else "max_delay")
        longest = units.duration_text(program.restart.max_delay)
        faults.add(place, f"delay is more than max_delay ({longest})")
    for name, limit in program.rlimits.items():
        soft, hard = (limit, limit) if isinstance(limit, int) else limit
        if min(soft, hard) < -1 or (hard != -1 and (soft == -1 or soft > hard)):
            faults.add(
                node.at("rlimits", name), "expected a number, or [soft, hard] with soft below hard; -1: unlimited"
            )
    listening.check(program, node, faults)
    _probe("ready", program.ready, node, faults)
    if program.health is not None:
        _probe("health", program.health, node, faults)
        if not any(node.has("health", probe) for probe in PROBES["health"]):
            faults.add(node.at("health"), "needs one of http, tcp or exec")


def _probe(table: str, probe: Ready | Health, node: Node, faults: Faults) -> None:
    if not node.has(table):
        return
    inner = node.at(table)
    given = [name for name in PROBES[table] if _is_given(inner, name)]
    if len(given) > 1:
        faults.add(
            inner.at(given[1]), f"is there besides {given[0]}: only one of {', '.join(PROBES[table])} is possible"
        )
    if probe.tcp is not None and probe.tcp.startswith("systemd:"):
        faults.add(inner.at("tcp"), 'expected an address such as "127.0.0.1:8000" or "unix:web.sock"')
    for option in _HTTP_ONLY:
        if _is_given(inner, option) and not inner.has("http"):
            faults.add(inner.at(option), "belongs to http, which is not there")
    for name, value in probe.headers.items():
        if not value.isprintable():
            faults.add(inner.at("headers", name), "must not contain control characters")


def _is_given(node: Node, option: str) -> bool:
    return node.has(option) and node.at(option).value not in (False, "", [], {})


def _dependencies(
    program: Program, node: Node, written: Mapping[str, Node], programs: Mapping[str, Program], faults: Faults
) -> None:
    for name, dependency in program.depends_on.items():
        place = node.at("depends_on", name)
        if name not in written:
            faults.add(place, f"there is no program {name}", nearest(name, written))
        elif name in programs and programs[name].schedule is not None:
            faults.add(place, f"would wait for ever: {name} runs on a schedule, and is never done")
        elif name in programs and dependency.condition == "completed" and programs[name].policy == "always":
            faults.add(place, f'would wait for ever: {name} is always restarted, so it is never "completed"')


def _group(node: Node, programs: Mapping[str, Node], faults: Faults) -> None:
    if not node.has("programs"):
        faults.add(node, "programs is missing")
    elif node.at("programs").value == []:
        faults.add(node.at("programs"), "is empty")
    seen = set()
    for item in node.at("programs").items:
        name = item.value
        if not isinstance(name, str):
            continue
        if name not in programs:
            faults.add(item, f"there is no program {name}", nearest(name, programs))
        if name in seen:
            faults.add(item, f"{name} is there twice")
        seen.add(name)


def _cycles(programs: Mapping[str, Program], written: Mapping[str, Node], faults: Faults) -> None:
    """Report each ring of dependencies once."""
    done: set[str] = set()
    for start in programs:
        path: dict[str, Iterator[str]] = {}
        following: str | None = start
        while following is not None or path:
            if following is None:
                name = next(reversed(path))
                following = next(path[name], None)
                if following is None:
                    done.add(name)
                    del path[name]
            elif following in path:
                ring = [*itertools.dropwhile(lambda name, first=following: name != first, path), following]  # type: ignore[misc]
                faults.add(written[ring[-2]].at("depends_on", following), f"depends on itself: {' -> '.join(ring)}")
                following = None
            elif following in done or following not in programs:
                following = None
            else:
                path[following] = iter(programs[following].depends_on)
                following = None


def _ports(programs: Mapping[str, Program], written: Mapping[str, Node], faults: Faults) -> None:
    """Fixed ports of replicas, and addresses that hasup listens on, must not meet."""
    rows: list[tuple[int, int, str]] = []
    for name, program in programs.items():
        if isinstance(program.port, int):
            last = program.port + max(1, program.most) - 1
            if last > 65535:
                faults.add(written[name].at("port"), f"the last replica would have port {last}, above 65535")
            rows.append((program.port, last, name))
    highest, owner = 0, ""
    for first, last, name in sorted(rows):
        if owner and first <= highest:
            faults.add(written[name].at("port"), f"port {first} is also a port of {owner}")
        if last > highest:
            highest, owner = last, name
    _addresses(programs, written, rows, faults)


def _addresses(
    programs: Mapping[str, Program], written: Mapping[str, Node], rows: list[tuple[int, int, str]], faults: Faults
) -> None:
    taken: dict[tuple[str, str], str] = {}
    for name, program in programs.items():
        if program.listen is None or "${" in program.listen.address:
            continue
        place = written[name].at("listen", "address")
        host, port = address_key(program.listen.address)
        wild = [(h, p) for h, p in taken if p == port and host not in _NOT_HOSTS and (h in _WILD or host in _WILD)]
        for key in ((host, port), *wild):
            if key in taken:
                faults.add(place, f"is also the address of {taken[key]}")
                break
        taken.setdefault((host, port), name)
        for first, last, owner in rows if host not in _NOT_HOSTS else ():
            if first <= int(port) <= last and (owner != name or program.listen.mode == "proxy"):
                faults.add(place, f"port {port} is also a port of {owner}'s replicas")


_WILD: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_NOT_HOSTS: Final = ("unix", "systemd")


def address_key(address: str) -> tuple[str, str]:
    """Host and port in a form in which equal addresses are equal."""
    host, port = readers.address_parts(address)
    if host == "unix":
        return host, os.path.normpath(port)
    return (host, port) if host == "systemd" else (host.lower(), str(int(port)))


def _log_files(programs: Mapping[str, Program], written: Mapping[str, Node], faults: Faults) -> None:
    """No two streams may write one file."""
    taken = {_OWN_LOG: "hasup's own log"}
    for name, program in programs.items():
        for stream in ("stdout", "stderr"):
            template: str = getattr(program.logs, stream)
            if template in readers.STREAMS or (stream == "stderr" and template == "merge"):
                continue
            for replica, file in _files(template, program):
                whose = f"{stream} of {name}.{replica}"
                if file in taken:
                    hint = _log_hint(template, stream, program)
                    faults.add(written[name].at("logs", stream), f"{file} is also the file of {taken[file]}{hint}")
                    break
                taken[file] = whose


def _files(template: str, program: Program) -> Iterable[tuple[int, str]]:
    named = template.replace("{program}", program.name)
    return ((n, named.replace("{replica}", str(n))) for n in range(1, max(1, program.most) + 1))


def _log_hint(template: str, stream: str, program: Program) -> str:
    if program.most > 1 and "{replica}" not in template:
        return "; put {replica} into the name"
    return '; "merge" writes both streams into one file' if stream == "stderr" else ""
