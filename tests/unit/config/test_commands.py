"""``hasup check``, ``config``, ``init`` and ``schema``."""

import json
import os
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner

from hasup.cli.check import command as check
from hasup.cli.config import command as config
from hasup.cli.errors import Failure
from hasup.cli.init import command as init
from hasup.cli.schema import command as schema
from hasup.config import ConfigError

ONE = '[programs.web]\ncommand = "x"\nreplicas = 3\nenv = { TOKEN = "hunter2" }\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HASUP_CONFIG", raising=False)
    return tmp_path


def run(command, *args: str) -> tuple[object, str]:
    """What a command returned (its exit code) and printed."""
    result = CliRunner().invoke(command, args, standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.stdout


def test_check(here: Path) -> None:
    (here / "hasup.toml").write_text(ONE)
    assert run(check) == (0, f"{here}/hasup.toml: 1 program, 3 replicas: ok\n")
    (here / "fixed.toml").write_text(ONE + 'port = 9000\nlisten = "127.0.0.1:8000"\n')
    assert "note: web: a reload ends each replica before its successor starts" in run(check, "-c", "fixed.toml")[1]
    code, printed = run(check, "-c", "hasup.toml", "--json")
    found = {"file": f"{here}/hasup.toml", "ok": True, "programs": 1, "replicas": 3, "faults": [], "notes": []}
    assert (code, json.loads(printed)) == (0, found)


@pytest.mark.parametrize(("most", "noted"), [(109, True), (111, False)])
def test_check_notes_that_max_replicas_can_not_be_reached(here: Path, most: int, noted: bool) -> None:
    (here / "hasup.toml").write_text(
        f'[programs.web]\ncommand = "x"\nlisten = {{ address = "127.0.0.1:8000", max_connections = {most} }}\n'
        "replicas = { max = 3, target_connections = 50 }\n"
    )
    note = (
        f"note: web: no more than listen.max_connections = {most} are taken: too few for 3 replicas at"
        " target_connections = 50\n"
    )
    assert (note in run(check)[1]) == noted


def test_check_of_what_is_wrong(here: Path) -> None:
    (here / "other.toml").write_text(ONE + "need = 4\n")
    with pytest.raises(ConfigError, match="is more than there are replicas"):
        run(check, "-c", "other.toml")
    code, printed = run(check, "-c", "other.toml", "--json")
    fault = {
        "file": "other.toml", "line": 5, "where": "programs.web.need", "what": "is more than there are replicas (3)",
        "hint": "",
    }  # fmt: skip
    assert (code, json.loads(printed)) == (2, {"file": "other.toml", "ok": False, "faults": [fault]})


def test_config(here: Path) -> None:
    (here / "hasup.toml").write_text(ONE)
    code, printed = run(config)
    assert code == 0
    assert tomli.loads(printed)["programs"]["web"]["restart"]["delay"] == "100ms"
    assert "hunter2" not in printed
    assert "hunter2" in run(config, "--show-secrets")[1]
    shown = json.loads(run(config, "--json")[1])
    assert shown["file"] == f"{here}/hasup.toml"
    assert shown["programs"]["web"]["env"] == {"TOKEN": "***"}


def test_init_writes_what_runs(here: Path) -> None:
    code, printed = run(init)
    assert (code, printed) == (0, "hasup.toml written; next: edit it, then: hasup start\n")
    assert run(check)[1] == f"{here}/hasup.toml: 1 program, 1 replica: ok\n"


def test_the_lines_that_init_leaves_to_be_chosen_are_valid(here: Path) -> None:
    run(init)
    text = (here / "hasup.toml").read_text()
    head, more = text.split("# Any of these, for each program:\n")
    options, _, tables = more.partition("# [programs.web.health]")
    uncomment = "\n".join(line.removeprefix("# ") for line in options.splitlines() if line != "#")
    probes = "\n".join(
        line.removeprefix("# ") for line in ("# [programs.web.health]" + tables).splitlines() if line != "#"
    )
    before, ready = head.split("[programs.web.ready]")
    db = '\n[programs.db]\ncommand = "x"\n'
    (here / "hasup.toml").write_text(f"{before}{uncomment}\n[programs.web.ready]{ready}{probes}{db}")
    assert run(check)[0] == 0


def test_init_never_overwrites(here: Path) -> None:
    (here / "hasup.toml").write_text(ONE)
    with pytest.raises(Failure, match="is there already"):
        run(init)
    assert (here / "hasup.toml").read_text() == ONE


def test_init_takes_over_a_procfile(here: Path) -> None:
    (here / "Procfile").write_text("web: serve -p $PORT \"a\" '\\'\nworker: work\n")
    (here / ".env").write_text("A=1\n")
    os.environ["HASUP_CONFIG"] = "Procfile"
    before = tomli.loads(run(config)[1])
    del os.environ["HASUP_CONFIG"]
    assert run(init)[1].startswith("hasup.toml written from Procfile;")
    assert tomli.loads(run(config)[1]) == before


def test_schema() -> None:
    assert json.loads(run(schema)[1])["title"] == "hasup.toml"
