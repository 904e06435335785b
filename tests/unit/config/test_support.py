import pytest

from hasup.config import support
from hasup.config.describe import described
from hasup.config.node import Faults, Node, placed
from hasup.model.spec import Group, Health, Hooks, Program, Table

PROGRAM = Program(name="web", command=("x",))


def faults(table: Table, written: Node, unsupported: tuple[str, ...]) -> list[str]:
    found = Faults()
    support.check(table, written, unsupported, found)
    return [fault.where for fault in found.listed("f")]


@pytest.mark.parametrize(("kind", "paths"), [(Program, support.PROGRAM), (Group, support.GROUP)])
def test_the_list_names_options_that_exist(kind: type[Table], paths: tuple[str, ...]) -> None:
    for path in paths:
        table: type[Table] | None = kind
        for key in path.split("."):
            assert table is not None
            assert key in described(table), path
            table = described(table)[key].table


def test_a_default_that_is_written_out_is_no_fault() -> None:
    written = placed({"hooks": {"before_start": []}, "replicas": 1}, {}, "f")
    assert faults(PROGRAM, written, ("hooks", "replicas", "health.slow")) == []


def test_anything_else_is() -> None:
    program = Program(name="web", command=("x",), hooks=Hooks(on_ready=("y",)), health=Health(tcp="a:1", slow=0.5))
    written = placed({"hooks": {"on_ready": "y"}, "health": {"tcp": "a:1", "slow": 0.5}}, {}, "f")
    assert faults(program, written, ("hooks", "health.slow", "replicas")) == ["health.slow", "hooks"]


def test_a_table_that_was_wrong_is_not_reported_again() -> None:
    written = placed({"health": {"slow": 0.5}}, {}, "f")
    assert faults(PROGRAM, written, ("health.slow",)) == []
