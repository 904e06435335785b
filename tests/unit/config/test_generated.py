"""What is generated from the definition of the options, and the example of the documentation against both."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from hasup.config import ConfigError, load, reference
from hasup.config.describe import described
from hasup.config.schema import schema
from hasup.config.show import HIDDEN, document, toml
from hasup.model.spec import Config, Program, Restart

DOCS = Path(__file__).parents[3] / "docs"

# Alternatives of one option are variants here; everything else is in one file.
EXAMPLE = """
[supervisor]
name = "shop"
state_dir = ".hasup"
include = ["conf.d/*.toml"]
env_files = [".env"]
restart_rate = 1000

[defaults]

[programs.db]
command = "db"
[programs.cache]
command = "cache"

[programs.web]
command = "python -m shop.web --port ${PORT}"
shell = false
directory = "."
env = { WORKERS = "1" }
env_files = []
user = "www-data"
group = "www-data"
umask = "022"
nice = 5
rlimits = { nofile = 65536 }
replicas = 3
port = "auto"
autostart = true
kind = "service"
essential = false
depends_on = { db = "ready", cache = { condition = "ready", restart = true } }
notify_access = "tree"
need = 2
objective = "99.9%"

[programs.web.restart]
policy = "always"
success_exit_codes = [0]
delay = "100ms"
factor = 2.0
max_delay = "60s"
jitter = 0.2
reset_after = "60s"
limit = 0
window = "10m"
on_limit = "retry"

[programs.web.ready]
after = "1s"
PROBE
interval = "250ms"
timeout = "60s"

[programs.web.heartbeat]
timeout = "10s"
source = "notify"

[programs.web.health]
http = "http://127.0.0.1:${PORT}/healthz"
interval = "5s"
timeout = "2s"
failures = 3
slow = "500ms"

[programs.web.limits]
memory = "512MiB"
cpu = { above = "90%", for = "30s", action = "restart" }
open_files = { above = 900, action = "warn" }

[programs.web.abort]
signal = "ABRT"
timeout = "5s"

[programs.web.stop]
signal = "TERM"
timeout = "10s"
command = ""

[programs.web.listen]
address = "127.0.0.1:8000"
mode = "proxy"
balance = "round-robin"
drain_timeout = "30s"
max_connections = 1024

[programs.web.logs]
stdout = "web.{replica}.log"
stderr = "merge"
format = "raw"
max_size = "10MB"
keep = 5
compress = true

[programs.web.reload]
max_unavailable = 0
rollback = true

[programs.web.hooks]
before_start = []
before_restart = []
on_ready = []
on_failed = []
timeout = "30s"

[groups.backend]
programs = ["db", "cache", "web"]
strategy = "one-for-one"
limit = 10
window = "5m"
on_limit = "retry"
"""
PROBES = [
    "notify = true", 'http = "http://127.0.0.1:${PORT}/healthz"', 'tcp = "127.0.0.1:${PORT}"', 'exec = ["./check.sh"]',
    'log = "listening on"',
]  # fmt: skip
SHORT = """
[programs.web]
command = ["serve", "${HOME}", "a $$ b"]
restart = "on-failure"
depends_on = ["db"]
heartbeat = 10
listen = "unix:web.sock"
port = 8000
limits = { memory = 1000, age = "1d", threads = 5 }
env = { API_KEY = "hunter2", URL = "db://me:hunter2@host", PLAIN = "p\\u007f" }
health = { http = "http://a/", headers = { Authorization = "hunter2", Accept = "x" } }
[programs.db]
command = "x"
shell = true
kind = "task"
umask = "7"
rlimits = { core = [0, -1] }
"""


def valid(text: str) -> dict[str, Any]:
    """The decoded text, which the schema has to take."""
    decoded = tomli.loads(text)
    jsonschema.validate(decoded, schema(), cls=jsonschema.Draft202012Validator)
    return decoded


def test_what_is_generated_is_current() -> None:
    assert reference.stale(DOCS) == [], "run: python -m hasup.config.reference --write"


def test_what_is_not_current_is_noticed(tmp_path: Path) -> None:
    assert len(reference.stale(tmp_path)) == len(reference.generated())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("probe", PROBES)
def test_the_example_is_valid_but_for_what_is_not_supported_yet(folder, probe: str) -> None:
    folder.write("A=1\n", ".env")
    text = EXAMPLE.replace("PROBE", probe)
    valid(text)
    assert all(fault.endswith(": is not supported yet") for fault in outcome(folder, text))


@pytest.mark.parametrize(
    "line",
    ['restart = "nevr"', 'restart.delay = "ten"', "replicas = -1", 'stop.signal = "TREM"', "shel = true", "env.A = 1",
     'limits.memory = "1XB"',
     "limits.memory = { above = 1, fro = 1 }", 'umask = "9"', 'port = "aut"', "rlimits.nofiles = 1",
     'depends_on = { a = "redy" }', 'objective = "lots"', 'heartbeat = { timeout = "10s", source = "x" }'],
)  # fmt: skip
def test_the_schema_refuses_what_hasup_refuses(folder, line: str) -> None:
    text = f'[programs.a]\ncommand = "x"\n[programs.web]\ncommand = "x"\n{line}\n'
    assert len(folder.faults(text)) == 1
    with pytest.raises(jsonschema.ValidationError):
        valid(text)


def test_the_schema_takes_the_short_forms(folder) -> None:
    valid(SHORT)


def outcome(folder, text: str) -> list[str]:
    try:
        folder.load(text)
        return []
    except ConfigError as error:
        return [str(fault) for fault in error.faults]


def explicit(config: Config) -> Config:
    """The configuration with each policy written out, as it is shown."""
    import msgspec

    def written(program: Program) -> Program:
        restart: Restart = msgspec.structs.replace(program.restart, policy=program.policy)
        return msgspec.structs.replace(program, restart=restart)

    return msgspec.structs.replace(config, programs={n: written(p) for n, p in config.programs.items()})


def test_what_is_shown_is_the_same_configuration(folder) -> None:
    config = folder.load(SHORT)
    shown = toml(document(config, secrets=True))
    assert folder.load(shown) == explicit(config)
    valid(shown)


def test_a_path_with_a_dollar_is_shown_as_it_has_to_be_written(tmp_path: Path) -> None:
    odd = tmp_path / "a${b}"
    odd.mkdir()
    (odd / "hasup.toml").write_text('[programs.web]\ncommand = "x"\n')
    config = load(odd / "hasup.toml", {}, tmp_path)
    (odd / "hasup.toml").write_text(toml(document(config, secrets=True)))
    assert load(odd / "hasup.toml", {}, tmp_path) == explicit(config)


def test_secrets_are_hidden(folder) -> None:
    shown = document(folder.load(SHORT), secrets=False)
    assert "hunter2" not in json.dumps(shown)
    web = shown["programs"]["web"]
    assert web["env"] == {"API_KEY": HIDDEN, "URL": HIDDEN, "PLAIN": "p\x7f"}
    assert web["health"]["headers"] == {"Authorization": HIDDEN, "Accept": "x"}


def test_every_option_says_what_it_is() -> None:
    seen = []
    tables = [Program]
    while tables:
        table = tables.pop()
        for one in described(table).values():
            assert one.option.doc, one.name
            seen.append(one.name)
            if one.table is not None and one.table.__name__ != "Limit":
                tables.append(one.table)
    assert len(seen) > 80
