"""What a name on the command line stands for."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from hasup.model.spec import Group, Program


class UnknownName(LookupError):
    """There is no such program, replica or group; the text says what there is instead."""


def resolve(
    names: Sequence[str], slots: Iterable[str], programs: Mapping[str, Program], groups: Mapping[str, Group]
) -> tuple[str, ...]:
    """The slots that programs, replicas or groups by these names have; no name at all: every slot but the console's.

    A program brings along what serves it (its dispatcher).
    """
    by_program: dict[str, list[str]] = {name: [] for name in programs}
    for slot in slots:
        by_program[slot.rpartition(".")[0]].append(slot)
    served: dict[str, list[str]] = {}
    for program in programs.values():
        if program.owner is not None:
            served.setdefault(program.owner, []).append(program.name)

    def of_program(name: str) -> list[str]:
        return [*by_program[name], *(slot for other in served.get(name, ()) for slot in by_program[other])]

    found: dict[str, None] = {}
    for name in names or [program.name for program in programs.values() if not program.internal]:
        if name in programs:
            found.update(dict.fromkeys(of_program(name)))
        elif name in groups:
            found.update(dict.fromkeys(slot for member in groups[name].programs for slot in of_program(member)))
        elif name in by_program.get(name.rpartition(".")[0], ()):
            found[name] = None
        else:
            raise UnknownName(no_such(name, by_program, groups))
    return tuple(found)


def no_such(name: str, by_program: Mapping[str, Sequence[str]], groups: Iterable[str]) -> str:
    """What to say of an unknown name. ``by_program``: the slots of each program."""
    shown = [program for program in by_program if ":" not in program]
    program, _, number = name.rpartition(".")
    if program in by_program and number.isdigit():
        have = ", ".join(by_program[program]) or "none"
        return f"{program} has no replica {number} (it has: {have})"
    known = [*shown, *groups, *(slot for name in shown for slot in by_program[name])]
    close = get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(shown[:12])})"
    return f"no program, replica or group is named {name!r}{hint}"
