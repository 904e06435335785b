"""Whether every ``${NAME}`` that is replaced for each replica will be there when a replica starts."""

from collections.abc import Iterator, Mapping

from hasup.config import expand
from hasup.config.faults import nearest
from hasup.config.node import Faults, Node
from hasup.model.spec import Config, Program


def check(config: Config, program: Program, node: Node, environ: Mapping[str, str], faults: Faults) -> None:
    """A fault for each reference in ``program`` that can't be replaced."""
    inherited = environ.keys() - set(expand.OWN_NAMES)
    names = {*inherited, *config.environment, *program.environment, *expand.REPLICA_NAMES, "HASUP_PYTHON"}
    if program.port is not None:
        names.add("PORT")
    for name in program.env:
        _check(node.at("env", name), names, faults)
        names.add(name)
    for text in _texts(node):
        _check(text, names, faults)


def _check(node: Node, names: set[str], faults: Faults) -> None:
    if isinstance(node.value, list):
        for item in node.items:
            _check(item, names, faults)
    if not isinstance(node.value, str):
        return
    try:
        unknown = dict.fromkeys(name for name in expand.references(node.value) if name not in names)
    except expand.ExpandError as error:
        faults.add(node, str(error))
        return
    for name in unknown:
        what = f"there is no variable {name}"
        if name == "PORT":
            what += ': write port = "auto" or a number'
        faults.add(node, what, nearest(name, names) if name != "PORT" else "")


def _texts(node: Node) -> Iterator[Node]:
    """What is expanded at a start, a stop or a probe."""
    yield node.at("command") if node.has("command") else node
    for table in ("ready", "health"):
        for option in ("http", "tcp", "exec"):
            if node.has(table, option):
                yield node.at(table, option)
        if node.has(table, "headers"):
            yield from node.at(table, "headers").table.values()
    for path in (("heartbeat", "source"), ("stop", "command")):
        if node.has(*path):
            yield node.at(*path)
    yield from node.at("hooks").table.values() if node.has("hooks") else ()
