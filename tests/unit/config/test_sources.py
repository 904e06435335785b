"""Where a configuration comes from: which file, what kind, what it includes."""

import os
from pathlib import Path

import pytest

from hasup.config import ConfigError, find, load

ONE = '[programs.web]\ncommand = "x"\n'


def refused(path: Path, cwd: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {}, cwd)
    return [str(fault) for fault in caught.value.faults]


def test_the_nearest_folder_wins_and_in_it_hasup_toml(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    steps = [
        (tmp_path / "Procfile", "web: x\n"),
        (tmp_path / "pyproject.toml", '[tool.hasup.programs.web]\ncommand = "x"\n'),
        (tmp_path / "hasup.toml", ONE),
        (below.parent / "Procfile", "web: x\n"),
        (below / "hasup.toml", ONE),
    ]
    for file, text in steps:
        file.write_text(text)
        assert find(below, {}) == file
    assert load(None, {}, below).file == str(below / "hasup.toml")


def test_a_pyproject_without_our_table_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "hasup.toml").write_text(ONE)
    below = tmp_path / "a"
    below.mkdir()
    (below / "hasup.toml").mkdir()
    for text in ('[project]\nname = "hasup"\n', "tool = 3 # hasup\n", "hasup = [", "[tool]\nhasup.x = 1 \n[", "\0"):
        (below / "pyproject.toml").write_text(text)
        assert find(below, {}) == tmp_path / "hasup.toml"


def test_the_environment_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "hasup.toml").write_text("")
    (tmp_path / "other.toml").write_text(ONE)
    assert load(None, {"HASUP_CONFIG": "other.toml"}, tmp_path).file == str(tmp_path / "other.toml")
    with pytest.raises(ConfigError, match=r"none\.toml: can't be read: No such file"):
        load(None, {"HASUP_CONFIG": "none.toml"}, tmp_path)


def test_nothing_found_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr("hasup.config.sources.text_of", lambda file: "")
    with pytest.raises(ConfigError, match=r"no hasup\.toml.*`hasup init` writes one"):
        find(tmp_path, {})


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe9'\n")
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    (tmp_path / "huge.toml").write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "link.toml").symlink_to("link.toml")
    assert refused(Path("folder.toml"), tmp_path) == ["folder.toml: is a folder, not a file"]
    assert refused(Path("fifo.toml"), tmp_path) == ["fifo.toml: is not a regular file"]
    assert refused(Path("/dev/zero"), tmp_path) == ["/dev/zero: is not a regular file"]
    assert refused(Path("latin.toml"), tmp_path) == ["latin.toml:2: is not UTF-8 text"]
    assert refused(Path("binary.toml"), tmp_path) == ["binary.toml:2: is not UTF-8 text"]
    assert refused(Path("huge.toml"), tmp_path) == ["huge.toml: is larger than 1 MiB"]
    assert refused(Path("none.toml"), tmp_path) == ["none.toml: can't be read: No such file or directory"]
    assert refused(Path("link.toml"), tmp_path) == ["link.toml: can't be read: Too many levels of symbolic links"]
    assert refused(Path("\0.toml"), tmp_path) == ["\0.toml: can't be read: embedded null byte"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = 1\na = 2\n", "2: is not valid TOML: cannot overwrite a value (column 6)"),
        ("\n\nx = [\n", "4: is not valid TOML: invalid value (column 1)"),
        ("[programs.web]\ncommand = nope\n", "2: is not valid TOML: invalid value (column 11)"),
        ("a = " + "9" * 5000, "can't be read as TOML: "),
        ("\n" + "a." * 500_000 + "b = 1", "2: is nested more deeply than 32 levels"),
        ("a = " + "[" * 100_000, "1: is nested more deeply than 32 levels"),
    ],
)
def test_what_is_not_toml(folder, text: str, fault: str) -> None:
    [found] = folder.faults(text)
    assert found.startswith(("hasup.toml:" + fault, "hasup.toml: " + fault))


def test_a_byte_order_mark_is_no_fault(folder) -> None:
    assert folder.load("\ufeff" + ONE)


def test_pyproject(folder) -> None:
    text = '[project]\nname = "shop"\n\n[tool.hasup.programs.web]\ncommand = "x"\n'
    assert folder.load(text, "pyproject.toml").programs["web"].command == ("x",)
    text += 'ready = {\n  tpc = "a:1",\n}\n'
    assert folder.faults(text, "pyproject.toml") == [
        "pyproject.toml:7: programs.web.ready.tpc: there is no such option (did you mean tcp?)"
    ]
    assert folder.faults("[project]\n", "pyproject.toml") == ["pyproject.toml: has no table [tool.hasup]"]
    assert folder.faults("[tool]\nhasup = 3\n", "pyproject.toml")


def test_procfile(folder) -> None:
    folder.write("A=1\nB='x y'\n", ".env")
    config = folder.load('# all\nweb: serve -p $PORT "a b" ${X} $$\n\nworker:work\n', "Procfile")
    web, worker = config.programs["web"], config.programs["worker"]
    assert (web.command, web.shell, web.port) == (('serve -p $$PORT "a b" $${X} $$$$',), True, 5000)
    assert (worker.command, worker.port, worker.directory) == (("work",), 5100, str(folder.path))
    assert config.environment == {"A": "1", "B": "x y"}
    assert folder.faults("web: x\nwhat\nweb: y\n", "Procfile.dev") == [
        'Procfile.dev:2: is not a line of a Procfile, such as "web: python -m shop"',
        "Procfile.dev:3: web is there twice, first on line 1",
    ]


def test_places_follow_from_the_file(folder) -> None:
    config = folder.load(ONE)
    assert config.supervisor.name == folder.path.name
    assert config.supervisor.state_dir == str(folder.path / ".hasup")
    assert config.programs["web"].directory == str(folder.path)
    systemd = folder.load(ONE, environ={"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})
    assert systemd.supervisor.state_dir == "/var/lib/a"
    text = '[supervisor]\nname = "shop"\nstate_dir = "${HOME}/st"\n[programs.web]\ncommand = "x"\ndirectory = "../w"\n'
    named = folder.load(text, environ={"HOME": "/home/op", "STATE_DIRECTORY": "/var/lib/a"})
    assert (named.supervisor.name, named.supervisor.state_dir) == ("shop", "/home/op/st")
    assert named.programs["web"].directory == str(folder.path.parent / "w")


def test_a_folder_with_a_dollar_is_a_folder(tmp_path: Path) -> None:
    odd = tmp_path / "a${b}"
    odd.mkdir()
    (odd / "hasup.toml").write_text(ONE + 'directory = "w"\nheartbeat = { timeout = 1, source = "file:beat" }\n')
    program = load(odd / "hasup.toml", {}, tmp_path).programs["web"]
    assert program.directory == str(odd / "w")
    assert program.heartbeat is not None
    assert program.heartbeat.source == f"file:{tmp_path}/a$${{b}}/w/beat"


def test_heartbeat_files(folder) -> None:
    for written, expected in (("/run/beat", "/run/beat"), ("${HOME}/b", "${HOME}/b")):
        text = f'{ONE}heartbeat = {{ timeout = 1, source = "file:{written}" }}\n'
        assert folder.load(text).programs["web"].heartbeat.source == f"file:{expected}"


def test_includes(folder) -> None:
    folder.write('[programs.b]\ncommand = "b"\ndirectory = "w"\n[groups.g]\nprograms = ["a", "b"]\n', "conf.d/b.toml")
    folder.write('[programs.a]\ncommand = "a"\nenv_files = ["a.env"]\n', "conf.d/a.toml")
    folder.write("A=1\n", "conf.d/a.env")
    config = folder.load(
        '[supervisor]\ninclude = ["conf.d/*.toml", "none.d/*.toml", "*.toml"]\n'
        '[defaults]\nrestart = "never"\n[programs.web]\ncommand = "x"\n'
    )
    assert list(config.programs) == ["web", "a", "b"]
    assert config.programs["b"].directory == str(folder.path / "conf.d" / "w")
    assert config.programs["a"].environment == {"A": "1"}
    assert config.programs["a"].policy == "never"
    assert config.groups["g"].programs == ("a", "b")


def test_faults_of_included_files_come_with_those_of_the_main_file(folder) -> None:
    folder.write("[programs.web]\ncommand = 'y'\n[supervisor]\n[programs.b]\ncommand = 3\n", "b.toml")
    folder.write("[", "c.toml")
    (folder.path / "d.toml").mkdir()
    text = '[supervisor]\ninclude = ["[b-d].toml", "none.toml", 3]\n[programs.web]\ncommand = "x"\nx = 1\n'
    assert folder.faults(text) == [
        f"hasup.toml:2: supervisor.include[0]: {folder.path}/d.toml is a folder, not a file",
        "hasup.toml:2: supervisor.include[1]: there is no file none.toml",
        "hasup.toml:2: supervisor.include[2]: expected text in quotes, got 3",
        "hasup.toml:5: programs.web.x: there is no such option",
        "b.toml:1: programs.web: is there twice, first in hasup.toml, line 3",
        "b.toml:3: supervisor: belongs into the main file, not into an included one",
        "b.toml:5: programs.b.command: expected a command: text, or an array of words, got 3",
        "c.toml:1: is not valid TOML: " + folder.faults("[", "e.toml")[0].split(": ", 2)[2],
    ]


def test_environment_files(folder) -> None:
    folder.write("# c\nexport A=1\nB=\"x\\ny\"\nC='${A}'\nD=${A}2\nE\nF=\n", "one.env")
    folder.write("A=2 # c\n", "two.env")
    text = f'[supervisor]\nenv_files = ["one.env"]\n{ONE}env_files = ["one.env", "two.env"]\n'
    config = folder.load(text)
    assert config.environment == {"A": "1", "B": "x\ny", "C": "1", "D": "12", "F": ""}
    assert config.programs["web"].environment["A"] == "2"
    folder.write('A=1\nnot a line\n"x\nB=2\n', "one.env")
    faults = folder.faults(text)
    assert all(fault.startswith("one.env:") and fault.endswith("is not a line such as NAME=value") for fault in faults)


def test_environment_files_that_can_not_be_used(folder) -> None:
    os.mkfifo(folder.path / "fifo.env")
    text = f'[supervisor]\nenv_files = ["none.env",\n "fifo.env", 3]\n{ONE}'
    assert folder.faults(text) == [
        f"hasup.toml:2: supervisor.env_files[0]: {folder.path}/none.env can't be read: No such file or directory",
        f"hasup.toml:3: supervisor.env_files[1]: {folder.path}/fifo.env is not a regular file",
        "hasup.toml:3: supervisor.env_files[2]: expected text in quotes, got 3",
    ]
