"""How the options of ``replicas`` as a table fit together, and with the rest of a program."""

from hasup.config import units
from hasup.config.node import Faults, Node
from hasup.model.spec import Autoscale, Program


def check(program: Program, scale: Autoscale, node: Node, faults: Faults) -> None:
    """Report whatever does not fit; ``node`` is the program's."""
    place = node.at("replicas")
    if scale.min > scale.max:
        faults.add(place.at("min"), f"min is more than max ({scale.max})")
    if program.need > scale.min:
        where = node.at("need") if node.has("need") else place
        faults.add(where, f"need is more than the fewest replicas: write min = {program.need} in replicas")
    if not (place.has("target_cpu") or place.has("target_connections")):
        faults.add(place, 'needs target_cpu (such as "60%"), target_connections, or both')
    if scale.target_connections is not None and (program.listen is None or program.listen.mode != "proxy"):
        shares = program.listen is not None
        why = "of a shared socket hasup sees no connections" if shares else "hasup counts the connections it forwards"
        faults.add(place.at("target_connections"), f'needs a table listen with mode = "proxy": {why}; use target_cpu')
    hard = program.limits.hard.cpu
    most = scale.target_cpu * (1 + scale.tolerance / 100) if scale.target_cpu is not None else 0.0
    if hard is not None and most >= hard:
        bound, more = units.percent_text(hard), units.percent_text(round(most, 3))
        faults.add(place.at("target_cpu"), f"limits.hard.cpu ({bound}) keeps it from {more}, where there would be more")
    if program.kind == "task":
        faults.add(place, "a task has no load to follow: write a number")
