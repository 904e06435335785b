"""Whatever a file says: a configuration, or faults with their places; never anything else, and never slowly."""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hasup.config import ConfigError, Fault, expand, load
from hasup.config.describe import described
from hasup.config.show import document, toml
from hasup.model.spec import Config, Group, Program, SupervisorOptions, Table

ENVIRON = {"PATH": "/bin", "HOME": "/home/op"}
SEED = """\
[supervisor]
name = "shop"
[defaults]
restart = { policy = "always", delay = "100ms" }
stop.timeout = 3
[programs.web]
command = "python -m shop --port ${PORT}"
replicas = 3
port = "auto"
env = { A = "1", B = "${A}" }
depends_on = { db = { condition = "ready" } }
heartbeat = {
  timeout = "10s", # a comment
  source = "output",
}
ready.http = "http://127.0.0.1:${PORT}/"
limits = { memory = "1GB", cpu = { above = "90%", action = "signal:USR1" } }
listen = "127.0.0.1:8000"
logs.stdout = '''web.{replica}.log'''
[programs.db]
command = ["db", "-d"]
kind = "task"
umask = "022"
[groups.all]
programs = ["db", "web"]
"""
FRAGMENTS = (
    "[", "]", "[[", "]]", "{", "}", "=", ".", ",", '"', "'", '"""', "'''", "#", "\n", "\\", "${", "${PORT}", "$$", "%",
    "-", "\0",
    "\\u0000", "\r\n", "é", "1", "1e999", "nan", "true", "0x" + "f" * 400, "1979-05-27", '"10s"', "[]", "{}",
    "command", "[programs]",
    "[programs.web]", "[defaults]", "[[programs]]", "9" * 30, "\ufeff", "depends_on", "a" * 300,
)  # fmt: skip

scalars = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(FRAGMENTS),
    st.sampled_from(["10s", "1GB", "80%", "022", "auto", "TERM", "127.0.0.1:80", "unix:x", "http://a/"]),
    st.sampled_from(["ready", "web", "db", "x ${PORT}"]),
)  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def tables_of(table: type[Table]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with the right keys, and values that are right now and then."""
    options = {
        name: values if one.table is None or one.table.__name__ == "Limit" else values | tables_of(one.table)
        for name, one in described(table).items()
    }
    names = st.lists(st.sampled_from([*options, "unknown"]), max_size=5, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: options.get(name, values) for name in chosen}))


names = st.sampled_from(["web", "db", "a b", "x"])
documents = st.fixed_dictionaries(
    {"programs": st.dictionaries(names, tables_of(Program), max_size=3)},
    optional={
        "supervisor": tables_of(SupervisorOptions),
        "defaults": tables_of(Program),
        "groups": st.dictionaries(names, tables_of(Group), max_size=2),
    },
)


def as_toml(value: Any) -> str:
    """Any value as TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return repr(value)


def outcome(data: bytes, name: str = "hasup.toml") -> Config | ConfigError:
    """What becomes of a file with these bytes; anything but a configuration or well-placed faults fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        try:
            return load(file, ENVIRON, Path(folder))
        except ConfigError as error:
            check_faults(error.faults, data.count(b"\n") + 1)
            return error


def check_faults(faults: list[Fault], lines: int) -> None:
    assert faults
    for fault in faults:
        whole = fault.what.startswith(("can't be read as TOML", "has no table"))
        assert 1 <= fault.line <= lines or whole, fault
        assert len(str(fault)) < 2000


def usable(config: Config) -> None:
    """What was taken can be started and shown."""
    for program in config.programs.values():
        env = expand.environment(config, program, 1, ENVIRON, "0" * 32, "8000")
        words = expand.replica_command(program, {**env, "NOTIFY_SOCKET": "@x"})
        assert words
        assert not any("\0" in word for word in (*words, *env, *env.values()))
        assert os.path.isabs(program.directory)
    toml(document(config, secrets=False))


@settings(max_examples=150)
@given(st.data())
def test_slips_in_a_valid_file(data: st.DataObject) -> None:
    text = SEED
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 0, 1, 5, 40])))
        text = text[:start] + data.draw(st.sampled_from(("", *FRAGMENTS))) + text[end:]
    found = outcome(text.encode())
    if isinstance(found, Config):
        usable(found)


@settings(max_examples=150)
@given(documents)
def test_any_values_in_the_right_places(tables: dict[str, Any]) -> None:
    text = "\n".join(f"{as_toml(key)} = {as_toml(value)}" for key, value in tables.items())
    found = outcome(text.encode())
    if isinstance(found, Config):
        usable(found)


@settings(max_examples=100)
@given(st.binary(max_size=200), st.sampled_from(["hasup.toml", "pyproject.toml", "Procfile"]))
def test_any_bytes(data: bytes, name: str) -> None:
    outcome(data, name)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join), st.sampled_from(["hasup.toml", "Procfile"]))
def test_any_row_of_fragments(text: str, name: str) -> None:
    outcome(text.encode(), name)


def test_the_seed_is_valid() -> None:
    found = outcome(SEED.encode())
    assert isinstance(found, Config), found
    usable(found)
