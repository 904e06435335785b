"""How the options of ``listen`` fit together, and with the rest of a program."""

from typing import Final

from hasup.config.node import Faults, Node
from hasup.config.readers import address_parts
from hasup.model.spec import Program

_PROXY_ONLY: Final = (
    "replica_address", "replica_host", "proxy_protocol", "max_connections_per_client", "queue_limit", "idle_timeout",
    "dispatchers",
)  # fmt: skip


def check(program: Program, node: Node, faults: Faults) -> None:
    """Report whatever does not fit; ``node`` is the program's."""
    listen = program.listen
    if listen is None or not node.has("listen"):
        return
    inner = node.at("listen")
    if listen.weights:
        _weights(program, listen.weights, inner.at("weights"), faults)
    if listen.mode == "share":
        for option in _PROXY_ONLY:
            if inner.has(option):
                faults.add(inner.at(option), 'belongs to mode = "proxy"')
    elif listen.replica_address == "unix":
        _on_unix(program, node, faults)
    if inner.has("replica_host") and not _is_host(listen.replica_host):
        faults.add(inner.at("replica_host"), 'expected an address of this machine as a number, such as "::1"')


def _on_unix(program: Program, node: Node, faults: Faults) -> None:
    why = 'with listen.replica_address = "unix" PORT is the path of a socket'
    if isinstance(program.port, int):
        faults.add(node.at("port"), f'{why}: write port = "auto", or leave it out')
    if node.has("listen", "replica_host"):
        faults.add(node.at("listen", "replica_host"), f"{why}, at no host")
    for table in ("ready", "health"):
        for option, form in (("tcp", "unix:${PORT}"), ("http", "http://unix:${PORT}:/")):
            if node.has(table, option):
                text = node.at(table, option).value
                if isinstance(text, str) and _is_port_of_host(option, text):
                    faults.add(node.at(table, option), f'{why}: write "{form}"')


def _is_port_of_host(option: str, text: str) -> bool:
    if option == "http":
        return not text.startswith("http://unix:") and ":${PORT}" in text
    try:
        host, port = address_parts(text)
    except ValueError:
        return False  # a fault of its own
    return host != "unix" and port == "${PORT}"


def _is_host(text: str) -> bool:
    from ipaddress import ip_address

    try:
        found = ip_address(text)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_multicast or "%" in text)


def _weights(program: Program, weights: tuple[int, ...], node: Node, faults: Faults) -> None:
    if len(weights) != program.most:
        faults.add(node, f"needs a weight for each replica ({program.most}), has {len(weights)}")
    elif not any(weights):
        faults.add(node, "needs a weight above 0")
