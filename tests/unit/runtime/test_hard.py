"""Hard limits as texts for the kernel, and the words for those that do not hold."""

import pytest

from hasup.cli import check
from hasup.core.diff import difference
from hasup.guardian import cgroups
from hasup.model.spec import Config, Hard, Limits, Program, SupervisorOptions
from hasup.runtime import hard

ALL = Hard(memory=512 << 20, cpu=150.0, tasks=100)


@pytest.mark.parametrize(
    ("asked", "files"),
    [
        (ALL, {"memory.max": "536870912", "cpu.max": "150000 100000", "pids.max": "100"}),
        (Hard(cpu=1.0), {"cpu.max": "1000 100000"}),
        (Hard(), {}),
    ],
)
def test_what_the_kernel_is_told(asked, files):
    assert hard.bounds(asked) == files


@pytest.mark.parametrize(
    ("cgroup", "unbound", "said"),
    [
        ("/cg", [], None),
        ("/cg", ["cpu.max"], "web: limits.hard.cpu not in force: it was not handed these cgroup controllers"),
        (
            None,
            [],
            "web: limits.hard.memory, limits.hard.cpu, limits.hard.tasks not in force: it has no cgroup of its own",
        ),
    ],
)
def test_what_is_said_of_those_that_do_not_hold(cgroup, unbound, said):
    words = hard.lacking("web", ALL, cgroup, unbound)
    assert words == said or (said and words and words.startswith(said))
    assert hard.lacking("web", Hard(), cgroup, unbound) is None


def config(limits: Limits) -> Config:
    options = SupervisorOptions(name="shop", state_dir="/s")
    return Config(file="/f", supervisor=options, programs={"web": Program(name="web", command=("x",), limits=limits)})


@pytest.mark.parametrize(("there", "missing"), [("cpu memory pids", []), ("cpu", ["memory", "pids"]), (None, ["cpu"])])
def test_hasup_check_notes_what_the_machine_can_not_do(tmp_path, monkeypatch, there, missing):
    monkeypatch.setattr(cgroups, "mounts", lambda: [] if there is None else [str(tmp_path)])
    (tmp_path / "cgroup.controllers").write_text(there or "")
    notes = check._notes(config(Limits(hard=Hard(cpu=5.0) if there is None else ALL)))
    assert notes == [
        f"web: limits.hard needs the {name} controller of cgroup v2, which this machine does not have"
        for name in missing
    ]


def test_they_are_not_sampled_for_and_change_with_a_restart():
    bound, sampled = Limits(hard=Hard(tasks=5)), Limits(hard=Hard(), age=None)
    assert not bound.sampled
    assert difference(config(sampled), config(bound)).restarted() == ("web",)
    assert difference(config(bound), config(bound)).empty


def folder(path, procs: str, handed_down: str = "") -> str:
    path.mkdir()
    for name, text in {
        "cgroup.controllers": "cpuset cpu io memory pids",
        "cgroup.procs": procs,
        "cgroup.subtree_control": handed_down,
    }.items():
        (path / name).write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("procs", "handed_down", "moves"),
    [
        ("{own}\n", "", True),
        ("{own}\n1\n", "", False),  # somebody else's process is there too
        ("", "", False),  # it is not there itself: in its leaf already
        ("{own}\n", "cpu memory pids", False),  # there is nothing to gain: the root
    ],
)
def test_it_moves_aside_only_when_it_is_alone_and_gains_by_it(tmp_path, monkeypatch, procs, handed_down, moves):
    monkeypatch.setattr("os.getpid", lambda: 4711)
    cgroups._step_aside(folder(tmp_path / "unit", procs.format(own=4711), handed_down))
    assert (tmp_path / "unit" / "hasup-own" / "cgroup.procs").exists() is moves


def test_what_can_not_be_written_is_named(tmp_path):
    bounds = {"memory.max": "1", "gone/pids.max": "2"}
    assert cgroups.bound(str(tmp_path), bounds) == ["gone/pids.max"]
    assert (tmp_path / "memory.max").read_text() == "1"
    assert cgroups.bound(None, bounds) == ["memory.max", "gone/pids.max"]
