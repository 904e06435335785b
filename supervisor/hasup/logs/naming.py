"""Which file holds whose output."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hasup.model.spec import Program

SPECIAL = ("inherit", "null", "merge")


class Source(NamedTuple):
    """A family of files: ``pattern`` matches their names, its group is the replica's number."""

    program: str
    stream: str
    pattern: re.Pattern[str]


def sources(programs: Iterable[Program]) -> list[Source]:
    """Where programs write."""
    found = []
    for program in programs:
        for stream, name in (("stdout", program.logs.stdout), ("stderr", program.logs.stderr)):
            if name not in SPECIAL:
                found.append(Source(program.name, stream, pattern_of(name.replace("{program}", program.name))))
    return found


def pattern_of(template: str) -> re.Pattern[str]:
    """A file name with {replica} in it, as a regular expression whose group is the number."""
    before, number, after = template.partition("{replica}")
    group = r"(\d+)" if number else "()"
    return re.compile(f"{re.escape(before)}{group}{re.escape(after).replace(re.escape('{replica}'), r'[0-9]+')}")


def owner(file_name: str, known: Iterable[Source]) -> tuple[str, str] | None:
    """``(replica or program, stream)`` of a file; None for one that nobody writes to."""
    for source in known:
        match = source.pattern.fullmatch(file_name)
        if match is not None:
            number = match.group(1)
            return (f"{source.program}.{number}" if number else source.program), source.stream
    return None


def chosen(replica: str, names: Iterable[str], groups: Mapping[str, Iterable[str]]) -> bool:
    """Whether a replica is meant by these names of programs, replicas or groups; none means all."""
    wanted = list(names)
    program = replica.rpartition(".")[0] or replica
    return not wanted or any(
        name in (replica, program) or program in groups.get(name, ()) or name.rpartition(".")[0] == replica
        for name in wanted
    )
