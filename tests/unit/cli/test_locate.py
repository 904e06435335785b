"""The state directory, from every kind of file, and by hasup.config's own word where it matters."""

from pathlib import Path

import pytest

from hasup.cli.locate import state_dir
from hasup.config import ConfigError, load

PROGRAM = '\n[programs.web]\ncommand = "sleep 60"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROGRAM, ".hasup"),
        ('[supervisor]\nname = "shop"' + PROGRAM, ".hasup"),
        ('[supervisor]\nstate_dir = "run"' + PROGRAM, "run"),
        ('supervisor = { state_dir = "../run" }' + PROGRAM, "../run"),
        ("supervisor.state_dir = 'a\\b'" + PROGRAM, "a\\b"),
        ('[programs.web]\ncommand = "echo state_dir"', ".hasup"),
        ('[supervisor]\nstate_dir = "/nonexistent/run"' + PROGRAM, "/nonexistent/run"),
    ],
)
def test_the_quick_way_and_the_thorough_one_agree(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "etc" / "hasup.toml"
    file.parent.mkdir()
    file.write_text(text)
    found = state_dir("etc/hasup.toml", {}, str(tmp_path))
    assert Path(found) == Path(tmp_path, "etc", expected).resolve()
    assert found == load(file, {}, tmp_path).supervisor.state_dir


def test_files_are_looked_for_upward(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "hasup.toml").write_text(PROGRAM)
    assert state_dir(None, {}, str(deep)) == str(tmp_path / ".hasup")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n")
    assert state_dir(None, {}, str(deep)) == str(tmp_path / ".hasup")
    (tmp_path / "a" / "Procfile").write_text("web: sleep 60\n")
    assert state_dir(None, {}, str(deep)) == str(tmp_path / "a" / ".hasup")
    (tmp_path / "a" / "pyproject.toml").write_text(
        '[tool.hasup.supervisor]\nstate_dir = "s"\n[tool.hasup.programs.web]\ncommand = "x"\n'
    )
    assert state_dir(None, {}, str(deep)) == str(tmp_path / "a" / "s")


def test_the_environment_names_the_file_and_the_default_directory(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(PROGRAM)
    environ = {"HASUP_CONFIG": "other.toml"}
    assert state_dir(None, environ, str(tmp_path)) == str(tmp_path / ".hasup")
    given = environ | {"STATE_DIRECTORY": "/var/lib/shop"}
    assert state_dir(None, given, str(tmp_path)) == "/var/lib/shop"
    assert load(tmp_path / "other.toml", given, tmp_path).supervisor.state_dir == "/var/lib/shop"


def test_included_files_are_read_in_earnest(tmp_path: Path) -> None:
    (tmp_path / "hasup.toml").write_text('[supervisor]\ninclude = ["more.toml"]\nstate_dir = "run"\n')
    (tmp_path / "more.toml").write_text(PROGRAM)
    assert state_dir(None, {}, str(tmp_path)) == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "directory"), [('[supervisor]\nstate_dir = "run"\n[[', "run"), ("include [[", ".hasup")]
)
def test_a_file_broken_since_the_start_is_guessed_at_when_hasup_runs(tmp_path: Path, text: str, directory: str) -> None:
    (tmp_path / "hasup.toml").write_text(text)
    (tmp_path / directory).mkdir()
    with pytest.raises(ConfigError):
        state_dir("hasup.toml", {}, str(tmp_path))
    (tmp_path / directory / "control.sock").touch()
    assert state_dir("hasup.toml", {}, str(tmp_path)) == str(tmp_path / directory)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        state_dir("none.toml", {}, str(tmp_path))
