"""What a name on the command line stands for."""

import pytest

from hasup.core import UnknownName
from hasup.core.names import resolve
from hasup.model.spec import Group
from tests.unit.core.driver import Driver, program

PROGRAMS = {
    known.name: known
    for known in (
        program("web"),
        program("db"),
        program("web:dispatcher", internal=True, owner="web"),
        program(":console", internal=True),
    )
}
SLOTS = ["web.1", "web.2", "db.1", "web:dispatcher.1", ":console.1"]
GROUPS = {"backend": Group(name="backend", programs=("db", "web"))}


@pytest.mark.parametrize(
    ("names", "slots"),
    [
        ([], ["web.1", "web.2", "web:dispatcher.1", "db.1"]),
        (["web"], ["web.1", "web.2", "web:dispatcher.1"]),
        (["web.2"], ["web.2"]),
        (["db", "db.1"], ["db.1"]),
        (["backend"], ["db.1", "web.1", "web.2", "web:dispatcher.1"]),
        (["web:dispatcher"], ["web:dispatcher.1"]),
        ([":console.1"], [":console.1"]),
    ],
)
def test_names(names, slots):
    assert resolve(names, SLOTS, PROGRAMS, GROUPS) == tuple(slots)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wep", "no program, replica or group is named 'wep' (did you mean web?)"),
        ("backand", "no program, replica or group is named 'backand' (did you mean backend?)"),
        ("web.3", "web has no replica 3 (it has: web.1, web.2)"),
        ("qqqq", "no program, replica or group is named 'qqqq' (there are: web, db)"),
        ("web.x", "no program, replica or group is named 'web.x' (did you mean web.2?)"),
        ("", "no program, replica or group is named '' (there are: web, db)"),
    ],
)
def test_a_name_that_is_none_gets_a_hint(name, words):
    with pytest.raises(UnknownName) as caught:
        resolve([name], SLOTS, PROGRAMS, GROUPS)
    assert str(caught.value) == words


def test_a_program_without_replicas_is_a_name_still():
    driver = Driver(program(replicas=0))
    assert driver.core.resolve(["web"]) == ()
    with pytest.raises(UnknownName, match=r"web has no replica 1 \(it has: none\)"):
        driver.core.resolve(["web.1"])
