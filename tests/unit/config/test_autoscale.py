# ruff: noqa: E501 - whole messages, one a line
"""``replicas`` as a table."""

import msgspec
import pytest

from hasup.config.show import document, toml
from hasup.core.diff import difference
from hasup.model.spec import Autoscale, Config

WEB = '[programs.web]\ncommand = "x"\nlisten = "127.0.0.1:8000"\n'
WRITTEN = '{ min = 2, max = 8, target_cpu = "60%", target_connections = 50, cooldown = "30s" }'


def test_a_number_or_a_table(folder) -> None:
    web = folder.load(f"{WEB}replicas = {WRITTEN}").programs["web"]
    assert web.autoscale == Autoscale(min=2, max=8, target_cpu=60.0, target_connections=50, cooldown=30.0)
    assert (web.replicas, web.most) == (2, 8)
    web = folder.load(f"{WEB}replicas = 3").programs["web"]
    assert (web.autoscale, web.replicas, web.most) == (None, 3, 3)


def test_a_target_that_a_hard_limit_leaves_room_for(folder) -> None:
    folder.load(f'{WEB}limits.hard.cpu = "70%"\nreplicas = {{ max = 3, target_cpu = "60%" }}')


def test_tables_merge_with_the_defaults_and_a_number_replaces_them(folder) -> None:
    programs = folder.load(
        """
        [defaults]
        replicas = { max = 4, target_cpu = "60%" }
        [programs]
        a = { command = "x", replicas = 3 }
        b = { command = "x", replicas = { min = 2, max = 6 } }
        c = { command = "x" }
        """
    ).programs
    assert programs["a"].autoscale is None
    assert programs["b"].autoscale == Autoscale(min=2, max=6, target_cpu=60.0)
    assert programs["c"].autoscale == Autoscale(max=4, target_cpu=60.0)


def test_what_hasup_config_shows_loads_as_the_same(folder) -> None:
    config = folder.load(f"{WEB}replicas = {WRITTEN}")
    shown = document(config, secrets=True)
    assert shown["programs"]["web"]["replicas"] == {
        "min": 2, "max": 8, "target_cpu": "60%", "target_connections": 50, "tolerance": "10%", "smoothing": "5s",
        "cooldown": "30s",
    }  # fmt: skip
    again = folder.load(toml(shown)).programs["web"]
    assert (again.autoscale, again.replicas) == (config.programs["web"].autoscale, 2)
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config, "as the core is handed it"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("2", WRITTEN, [("replicas", 2, Autoscale(min=2, max=8, target_cpu=60.0, target_connections=50, cooldown=30.0))]),
        ('{ max = 4, target_cpu = "60%" }', "2", [("replicas", Autoscale(max=4, target_cpu=60.0), 2)]),
        ('{ max = 4, target_cpu = "60%" }', '{ min = 2, max = 4, target_cpu = "70%" }',
         [("replicas.min", 1, 2), ("replicas.target_cpu", 60.0, 70.0)]),
        ("2", "3", [("replicas", 2, 3)]),
    ],
)  # fmt: skip
def test_a_difference_is_told_by_the_names_that_are_written(folder, old, new, expected) -> None:
    before, after = (folder.load(f"{WEB}replicas = {text}") for text in (old, new))
    found = difference(before, after)
    assert [(change.option, change.old, change.new) for change in found.changed["web"]] == expected
    assert found.restarted() == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("replicas = { max = 4 }", 'replicas: needs target_cpu (such as "60%"), target_connections, or both'),
        ('replicas = { target_cpu = "60%" }', "replicas: max is missing"),
        ('replicas = { max = 4, mim = 2, target_cpu = "60%" }', "replicas.mim: there is no such option (did you mean min?)"),
        ('replicas = { min = 0, max = 4, target_cpu = "60%" }', "replicas.min: must be at least 1"),
        ('replicas = { min = 5, max = 4, target_cpu = "60%" }', "replicas.min: min is more than max (4)"),
        ("replicas = { max = 4, target_cpu = 60 }", 'replicas.target_cpu: expected a percentage such as "80%", got 60'),
        ('need = 2\nreplicas = { max = 4, target_cpu = "60%" }', "need: need is more than the fewest replicas: write min = 2 in replicas"),
        ("replicas = { max = 4, target_connections = 50 }", 'replicas.target_connections: needs a table listen with mode = "proxy": hasup counts the connections it forwards; use target_cpu'),
        ('listen = { address = "127.0.0.1:8000", mode = "share" }\nreplicas = { max = 4, target_connections = 50 }',
         'replicas.target_connections: needs a table listen with mode = "proxy": of a shared socket hasup sees no connections; use target_cpu'),
        ('kind = "task"\nreplicas = { max = 4, target_cpu = "60%" }', "replicas: a task has no load to follow: write a number"),
        ('listen = { address = "127.0.0.1:8000", weights = [1, 2] }\nreplicas = { max = 3, target_cpu = "60%" }',
         "listen.weights: needs a weight for each replica (3), has 2"),
        ('logs.stdout = "web.log"\nreplicas = { max = 3, target_cpu = "60%" }',
         "logs.stdout: web.log is also the file of stdout of web.1; put {replica} into the name"),
        ('port = 65534\nreplicas = { max = 3, target_cpu = "60%" }', "port: the last replica would have port 65536, above 65535"),
        ('limits.hard.cpu = "65%"\nreplicas = { max = 3, target_cpu = "60%" }', "replicas.target_cpu: limits.hard.cpu (65%) keeps it from 66%, where there would be more"),
        ("replicas = [1]", "replicas: expected a whole number, got an array"),
    ],
)  # fmt: skip
def test_faults(program_faults, written, expected) -> None:
    faults = program_faults(written)
    assert [fault.partition(" programs.web.")[2] for fault in faults] == [expected]
    assert all(fault.startswith("hasup.toml:") for fault in faults)
