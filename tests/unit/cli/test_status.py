"""The page and the JSON of ``hasup status``, whole."""

import json
from datetime import datetime
from typing import Any

import pytest

from hasup.cli.statusview import page
from hasup.cli.terminal import Terminal
from tests.support.cli import Place, last, program, replica, status

NOW = datetime.fromisoformat("2026-01-31T12:00:00Z").timestamp()
WIDE = Terminal(colour=False, unicode=True, width=None, interactive=False)

SHOP = status(
    program(
        "web",
        replica("web.1", restarts=2, last=last("signal", "2026-01-31T11:55:00Z", signal="SIGKILL")),
        replica(
            "web.2", "backoff", False, restarts=7, next_start_s=3.21,
            reason="exit code 3; failed 4 times in a row; restart in 4.0 s",
            last=last("exit-code", "2026-01-31T11:59:58Z", 3),
        ),
        replica("web.3", "starting", False, uptime_s=0.42, reason="spawned, not ready yet", status_text="loading"),
        listen="127.0.0.1:8000", need=2, groups=["backend"],
    ),
    program("db", replica("db.1", ready=False, reason="health probe failed: connection refused"), groups=["backend"]),
    program(
        "migrate",
        replica("migrate.1", "completed", False, last=last("success", "2026-01-30T11:00:00Z", 0)),
        kind="task",
    ),
    program(
        "mail",
        replica("mail.1", "failed", False, reason="more than 10 restarts within 10m", stuck=[77]),
        replica("mail.2", "stopped", False, wanted=False, reason="stopped by operator"),
    ),
    core_restarts=1,
    degraded=["journal: database or disk is full, 12 events lost"],
)  # fmt: skip


def test_the_whole_page() -> None:
    assert (
        page(SHOP, WIDE, NOW)
        == """\
▲ shop  1 of 5 ready · up 1d 2h · pid 811 · core restarts 1
▲ journal: database or disk is full, 12 events lost
  NAME       STATE      READY   PID  UPTIME  RESTARTS   CPU  MEM  LAST
● web.1      running    yes    1234   1d 2h         2  0.1%  12M  SIGKILL, 5m ago
▲ web.2      backoff    no        -       -         7     -    -  exit code 3, 2.0s ago
  └ exit code 3; failed 4 times in a row; next try in 3.2 s
◐ web.3      starting   no     1234    0.4s         0  0.1%  12M  -
  └ spawned, not ready yet; it says "loading"
▲ db.1       running    no     1234   1d 2h         0  0.1%  12M  -
  └ health probe failed: connection refused
✔ migrate.1  completed  no        -       -         0     -    -  success, 1d 1h ago
✖ mail.1     failed     no        -       -         0     -    -  -
  └ more than 10 restarts within 10m; processes 77 can't be killed
○ mail.2     stopped    no        -       -         0     -    -  -
  └ stopped by operator

web listens on 127.0.0.1:8000: 1 ready, needs 2
"""
    )


def test_eighty_columns() -> None:
    text = page(SHOP, WIDE._replace(width=80), NOW)
    assert text.splitlines()[2:5] == [
        "  NAME       STATE       PID  UPTIME  RESTARTS   CPU  MEM  LAST",
        "● web.1      running    1234   1d 2h         2  0.1%  12M  SIGKILL, 5m ago",
        "▲ web.2      backoff       -       -         7     -    -  exit code 3, 2.0s ago",
    ]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 79, 80, 81, 120])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, unicode: bool) -> None:
    document = status(*SHOP["programs"], program("x" * 300, replica("x" * 300 + ".1"), listen="unix:" + "y" * 300))
    text = page(document, WIDE._replace(width=width, unicode=unicode), NOW)
    assert max(map(len, text.splitlines())) <= width


def test_a_narrow_terminal_without_unicode() -> None:
    assert (
        page(SHOP, Terminal(False, False, 44, True), NOW)
        == """\
! shop  1 of 5 ready - up 1d 2h - pid 811 -~
! journal: database or disk is full, 12 eve~
  NAME       STATE      UPTIME  RESTARTS
* web.1      running     1d 2h         2
! web.2      backoff         -         7
  ` exit code 3; failed 4 times in a row; n~
~ web.3      starting     0.4s         0
  ` spawned, not ready yet; it says "loadin~
! db.1       running     1d 2h         0
  ` health probe failed: connection refused
+ migrate.1  completed       -         0
x mail.1     failed          -         0
  ` more than 10 restarts within 10m; proce~
o mail.2     stopped         -         0
  ` stopped by operator

web listens on 127.0.0.1:8000: 1 ready, nee~
"""
    )


def test_long_names_are_told_apart_by_their_ends() -> None:
    document = status(program("n" * 50, *(replica(f"{'n' * 50}.{i}") for i in (1, 2))))
    lines = page(document, WIDE._replace(width=60), NOW).splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["nnnnnnnnnn…nnnnnnn.1", "nnnnnnnnnn…nnnnnnn.2"]


def test_colour() -> None:
    lines = page(SHOP, WIDE._replace(colour=True), NOW).splitlines()
    assert lines[0].startswith("\x1b[33m▲\x1b[0m \x1b[1mshop\x1b[0m  1 of 5 ready")
    assert lines[3].startswith("\x1b[32m●\x1b[0m web.1      \x1b[32mrunning  \x1b[0m")
    assert "\x1b[31mfailed   \x1b[0m" in lines[11]


def test_control_characters_do_not_reach_the_terminal() -> None:
    document = status(program("web", replica("web.1", status_text="\x1b]0;gotcha\x07")), name="a\x1b[31m")
    text = page(document, WIDE, NOW)
    assert "\x1b" not in text
    assert 'it says "\\x1b]0;gotcha\\x07"' in text


def test_all_is_well() -> None:
    assert (
        page(status(program("web", replica("web.1"))), WIDE, NOW)
        == """\
● shop  1 of 1 ready · up 1d 2h · pid 811
  NAME   STATE    READY   PID  UPTIME  RESTARTS   CPU  MEM  LAST
● web.1  running  yes    1234   1d 2h         0  0.1%  12M  -
"""
    )


def test_nothing_is_configured() -> None:
    assert (
        page(status(stopping=True), WIDE, NOW) == "● shop  0 of 0 ready · up 1d 2h · pid 811 · stopping\nno programs\n"
    )


def test_a_dispatcher_is_shown_when_it_is_not_well() -> None:
    well, sick = replica("web:dispatcher.1"), replica("web:dispatcher.1", "backoff", False, reason="signal SIGKILL")
    assert "dispatcher" not in page(status(program("web", replica("web.1"), dispatcher=well)), WIDE, NOW)
    assert "web:dispatcher.1" in page(status(program("web", replica("web.1"), dispatcher=sick)), WIDE, NOW)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (None, ""),
        ({}, ""),
        ({"open": 1, "queued": 0, "refused": 0, "full": False, "backends": {}}, "; 1 connection"),
        (
            {"open": 12, "queued": 3, "refused": 4, "full": True, "backends": {"web.1": {"ejected": True}}},
            "; 12 connections, 3 waiting, 4 refused, accepting no more, web.1 set aside for failing",
        ),
    ],
)
def test_the_load_of_a_dispatcher(load: dict[str, Any] | None, words: str) -> None:
    web = program("web", replica("web.1"), listen="127.0.0.1:8000", load=load)
    shown = page(status(web), WIDE, NOW)
    assert shown.endswith(f"web listens on 127.0.0.1:8000: 1 ready, needs 1{words}\n")


# --- the command ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("argv", [["status"], ["-c", "hasup.toml", "status"], ["status", "--config=hasup.toml"]])
def test_the_command_prints_the_page(place: Place, argv: list[str]) -> None:
    place.answers(status=status(program("web", replica("web.1"))))
    assert place.hasup(*argv) == (0, page(status(program("web", replica("web.1"))), WIDE, NOW), "")


@pytest.mark.parametrize("argv", [["status", "--json"], ["status", "--config=hasup.toml", "--json"]])
def test_json_is_what_hasup_says(place: Place, argv: list[str]) -> None:
    place.answers(status=SHOP)
    ended = place.hasup(*argv)
    assert (ended.code, json.loads(ended.out), ended.err) == (0, SHOP, "")


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["web.2"], ["web.2"]),
        (["backend"], ["web.1", "web.2", "web.3", "db.1"]),
        (["mail", "db.1"], ["db.1", "mail.1", "mail.2"]),
    ],
)
def test_names_select(place: Place, names: list[str], shown: list[str]) -> None:
    place.answers(status=SHOP)
    ended = place.hasup("status", "--json", *names)
    assert [one["name"] for each in json.loads(ended.out)["programs"] for one in each["replicas"]] == shown


def test_unknown_names(place: Place) -> None:
    place.answers(status=SHOP)
    assert place.hasup("status", "wbe", "web.1", "zzz") == (
        4,
        "",
        "hasup: no program, replica or group is named 'wbe' (did you mean web?)\n"
        "hasup: no program, replica or group is named 'zzz' (there are: web, db, migrate, mail)\n",
    )


def test_not_running(place: Place) -> None:
    for argv in (["status"], ["status", "--json"], ["status", "--config=hasup.toml"]):
        text = f"hasup is not running (no control socket in {place.state_dir}); start it with: hasup start"
        assert place.hasup(*argv) == (3, "", f"hasup: {text}\n")


def test_a_core_that_is_replaced_meanwhile_is_asked_again(place: Place) -> None:
    answers: list[Any] = []

    def answer(_params: Any, peer: Any) -> Any:
        answers.append(1)
        if len(answers) < 3:
            peer.close()
        return status(program("web", replica("web.1")))

    place.answers(status=answer)
    assert place.hasup("status").code == 0
    assert len(answers) == 3


def test_programs_that_are_scaled_by_their_load() -> None:
    scaled = {"replicas": 3, "min": 2, "max": 8, "held": False, "cpu_percent": 41.2, "connections": None}
    held = scaled | {"held": True, "cpu_percent": None, "connections": 12.4, "reason": ""}
    document = status(
        program("web", autoscale=scaled | {"reason": "cpu 82% of a core per replica, over the target of 60%: 2 to 3"}),
        program("api", autoscale=held),
        program("db", replica("db.1"), autoscale=None),
    )
    assert page(document, WIDE, NOW).splitlines()[-4:] == [
        "",
        "web: replicas 3 (2..8), cpu 41% each",
        "  └ cpu 82% of a core per replica, over the target of 60%: 2 to 3",
        "api: replicas 3 (2..8), held until: hasup scale api=auto, 12 connections each",
    ]
