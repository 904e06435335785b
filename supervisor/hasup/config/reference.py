"""Writes what is generated from the definition of the options: ``docs/hasup.schema.json`` and the reference page.

``python -m hasup.config.reference --write`` renews them in ``docs/``, ``--check`` fails when they are not current.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from hasup.config import readers
from hasup.config.describe import REQUIRED, Described, alternatives, choices, described
from hasup.config.schema import schema
from hasup.config.show import written
from hasup.model.spec import Group, Hard, Limit, Limits, Program, SupervisorOptions, Table

_KINDS: Final = {
    "duration": "duration", "size": "size", "percent": "percentage", "command": "command", "path": "path",
    "file": "file name", "pattern": "regular expression", "signal": "signal", "address": "address", "url": "URL",
    "octal": "octal digits", "schedule": "cron fields", "action": "action", "source": "text",
}  # fmt: skip
_PLAIN: Final[dict[Any, str]] = {str: "text", int: "number", float: "number", bool: "true or false"}

_HEAD: Final = """\
# Configuration

This page is generated from the definition of the options (`python -m hasup.config.reference --write`).

hasup reads TOML 1.1. The file is, in this order: `-c FILE`, `$HASUP_CONFIG`, then in the current folder and each one
above it `hasup.toml`, a `pyproject.toml` with `[tool.hasup]`, or a `Procfile`.

- **duration**: `"250ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"`, or a number of seconds.
- **size**: `"512MB"` (powers of 1000), `"512MiB"` or `"512M"` (powers of 1024), or a number of bytes.
- **percentage**: `"80%"`. **octal digits**: `"022"`.
- **command**: text, split into words as a shell does it, or an array of words.
- **path**: relative to the folder of the file that says it, also in an included file.
- **address**: `HOST:PORT`, `[V6]:PORT`, `unix:PATH`; for `listen` also `systemd:NAME`.
- **action**: `restart`, `warn`, `stop`, or `signal:NAME`.

`${NAME}` is replaced and `$$` is a dollar; any other `$` stays. In commands, `env`, probes, headers, hooks and
`heartbeat.source` the names are those of the replica's environment; in paths, `listen.address`, `user` and `group` they
are those of hasup's own environment and of `[supervisor] env_files`, since these are the same for all replicas. Regular
expressions and log file names are taken as they are.

A fault anywhere refuses the whole configuration: all faults are reported at once, each with its file and line.

`[defaults]` takes any option of a program. Tables merge with the program's own table, everything else is replaced; a
probe of the program replaces the probe of the defaults. Included files have `[programs]` and `[groups]` only.

A `Procfile` is read as foreman does: each command runs in a shell, `PORT` is 5000 for the first program, 5100 for the
second, and so on, one more for each further replica; `.env` beside it gives the environment.
"""


def reference() -> str:
    """The reference page."""
    parts = [_HEAD]
    parts += _section("[supervisor]", SupervisorOptions)
    parts += _section("[programs.NAME]", Program)
    for one in described(Program).values():
        if one.table is not None:
            parts += _section(f"[programs.NAME.{one.name}]", one.table, one)
        if one.table is Limits:
            parts += _section("[programs.NAME.limits.hard]", Hard)
        if one.long is not None:
            parts += _section(f"[programs.NAME.{one.name}]", one.long)
    parts += _section("[groups.NAME]", Group)
    return "\n".join(parts)


def generated() -> dict[str, str]:
    """What belongs into each file, by its path in ``docs/``."""
    return {
        "hasup.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        "reference/configuration.md": reference(),
    }


def stale(docs: Path) -> list[Path]:
    """The files in ``docs`` that are missing or not current."""
    paths = {docs / name: text for name, text in generated().items()}
    return [path for path, text in paths.items() if not path.exists() or path.read_text("utf-8") != text]


def _section(title: str, table: type[Table], one: Described | None = None) -> Iterator[str]:
    yield f"## `{title}`\n"
    yield (table.__doc__ or "").strip().replace("``", "`") + "\n"
    if one is not None and one.option.shorthand is not None:
        yield f"A bare value is short for `{one.option.shorthand}`.\n"
    if table is Limits:
        yield 'A bare value is short for `{ above = VALUE, for = "0s", action = "restart" }`.\n'
    yield "| option | type | default | |\n|---|---|---|---|"
    yield from map(_row, described(table).values())
    yield ""


def _row(one: Described) -> str:
    cells = (f"`{one.name}`", _type(one), _default(one), _bounds(one))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(one: Described) -> str:
    if one.table is Limit:
        return f"{_KINDS.get(one.option.kind, 'number')}, or table"
    if one.table is not None:
        return "table"
    if get_origin(one.type) is dict:
        return "table or array" if one.name == "depends_on" else "table"
    if get_origin(one.type) is tuple and one.option.kind != "command":
        return f"array of {_type_of(get_args(one.type)[0], one)}"
    return _type_of(one.type, one) + (", or table" if one.long is not None else "")


def _type_of(kind: Any, one: Described) -> str:
    if one.option.kind != "plain":
        return _KINDS[one.option.kind]
    words = [f"`{word}`" for member in alternatives(kind) for word in choices(member)]
    return ", ".join([*words, *(_PLAIN[member] for member in alternatives(kind) if not choices(member))])


def _default(one: Described) -> str:
    if one.table is not None:
        return ""
    if one.default is REQUIRED:
        return "" if "default:" in one.option.doc else "required"
    value = written(one, one.default)
    return "" if value is None else f"`{json.dumps(value)}`"


def _bounds(one: Described) -> str:
    low, high = one.option.minimum, one.option.maximum
    if (low is None or low == 0) and high is None:
        return one.option.doc
    words = [f"at least {readers.in_unit(one.option, low)}"] if low is not None else []
    words += [f"at most {readers.in_unit(one.option, high)}"] if high is not None else []
    return f"{one.option.doc} ({', '.join(words)})"


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hasup.config.reference")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="renew the files")
    what.add_argument("--check", action="store_true", help="fail when a file is not current")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder (docs)")
    options = parser.parse_args()
    if options.check:
        for path in stale(options.docs):
            sys.stderr.write(f"{path} is not current: python -m hasup.config.reference --write\n")
        return 1 if stale(options.docs) else 0
    for name, text in generated().items():
        path = options.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
