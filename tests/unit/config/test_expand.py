import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.config import expand
from hasup.model.spec import Config, Program, SupervisorOptions

WEB = Program(name="web", command=("serve", "--port", "${PORT}"), replicas=3)


def config(**changes: object) -> Config:
    return Config(file="/f", supervisor=SupervisorOptions(name="s", state_dir="/s"), programs={"web": WEB}, **changes)


def changed(**changes: object) -> Program:
    return msgspec.structs.replace(WEB, **changes)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("", ""), ("plain", "plain"), ("${A}", "1"), ("x${A}${B}y", "x12y"), ("$$", "$"), ("$${A}", "${A}"), ("$A", "$A"),
     ("100$", "100$"), ("$$$${A}", "$${A}"), ("$$${A}", "$1"), ("$(x)", "$(x)")],
)  # fmt: skip
def test_expansion(text: str, expanded: str) -> None:
    assert expand.expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${A-x}", "${1A}", "${A B}", "a ${ A}"])
def test_a_reference_that_is_not_well_formed_says_how_to_write_it(text: str) -> None:
    with pytest.raises(expand.ExpandError, match=r"\$\$\{"):
        expand.expand(text, {"A": "1"})


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(expand.ExpandError, match="no variable NOPE") as caught:
        expand.expand("${NOPE}", {})
    assert caught.value.name == "NOPE"


@given(st.text())
def test_escaped_text_expands_to_itself(text: str) -> None:
    assert expand.expand(expand.escape(text), {}) == text
    assert list(expand.references(expand.escape(text))) == []


def test_what_replaces_a_reference_is_not_expanded_again() -> None:
    assert expand.expand("${A}", {"A": "${B}$$"}) == "${B}$$"


def test_the_environment_of_a_replica() -> None:
    program = changed(
        environment={"X": "program file", "Y": "program file"},
        env={"Y": "env", "Z": "${Y}/${BASE}/${HASUP_REPLICA}/${PORT}", "DOLLAR": "$$", "HASUP_REPLICA": "mine"},
    )
    whole = config(environment={"W": "supervisor file", "X": "supervisor file"})
    found = expand.environment(whole, program, 2, {"BASE": "base", "W": "base", "PORT": "1"}, "abc", "8001")
    assert found == {
        "BASE": "base", "W": "supervisor file", "X": "program file", "Y": "env", "Z": "env/base/2/8001", "DOLLAR": "$",
        "HASUP_PROGRAM": "web", "HASUP_REPLICA": "2", "HASUP_REPLICAS": "3", "HASUP_INSTANCE": "abc", "PORT": "8001",
    }  # fmt: skip


def test_a_value_may_add_to_one_of_its_own_name() -> None:
    found = expand.environment(config(), changed(env={"PATH": "/x:${PATH}"}), 1, {"PATH": "/bin"}, "abc", None)
    assert found["PATH"] == "/x:/bin"
    assert "PORT" not in found


def test_files_are_taken_as_they_are() -> None:
    found = expand.environment(config(), changed(environment={"A": "${B}$$"}), 1, {}, "abc", None)
    assert found["A"] == "${B}$$"


def test_the_command() -> None:
    assert expand.replica_command(WEB, {"PORT": "80"}) == ("serve", "--port", "80")
    shell = changed(command=("echo $HOME ${PORT} $$",), shell=True)
    assert expand.replica_command(shell, {"PORT": "80"}) == ("/bin/sh", "-c", "echo $HOME 80 $")


def test_a_running_hasup_loads_no_parser() -> None:
    parsers = "('tomli', 'dotenv', 'difflib', 'shlex')"
    code = f"import sys, hasup.config.expand; print([name for name in {parsers} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
