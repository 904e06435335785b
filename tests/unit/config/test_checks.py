# ruff: noqa: E501 - whole messages, one a line
"""How options and programs fit together; whole lists of faults with their places."""

from textwrap import dedent


def test_every_fault_is_told_at_once_with_its_line(folder) -> None:
    faults = folder.faults(
        dedent("""\
        [supervisor]
        nam = "x"

        [programs.web]
        command = "serve"
        heartbeat = {
          timeout = "10x",
          source = "fil:e",
        }
        depends_on = ["db"]

        [programs.db1]
        command = "x"
        replicas = "two"
        [[programs.list]]
        [group.x]
        """)
    )
    assert [fault.split(": ")[0] + ": " + fault.split(": ")[1] for fault in faults] == [
        "hasup.toml:2: supervisor.nam",
        "hasup.toml:7: programs.web.heartbeat.timeout",
        "hasup.toml:8: programs.web.heartbeat.source",
        "hasup.toml:10: programs.web.depends_on[0]",
        "hasup.toml:14: programs.db1.replicas",
        "hasup.toml:15: programs.list",
        "hasup.toml:16: group",
    ]
    assert faults[3].endswith("there is no program db (did you mean db1?)")
    assert faults[6].endswith("there is no such table (did you mean groups?)")


def test_a_program_needs_a_command(folder) -> None:
    assert folder.faults("\n[programs.web]\nreplicas = 2") == ["hasup.toml:2: programs.web: command is missing"]


def test_programs_are_needed(folder) -> None:
    expected = ["hasup.toml:1: there are no programs: write a table such as [programs.web] with a command"]
    assert folder.faults("") == expected
    assert folder.faults("[programs]") == expected


def test_names(folder) -> None:
    rule = "a name is made of letters, digits, - and _, at most 64, and does not begin with -"
    text = (
        '[programs]\n"a.b".command = "x"\n"a:b".command = "x"\n-a.command = "x"\n"".command = "x"\n"é".command = "x"\n'
    )
    assert folder.faults(text) == [
        f'hasup.toml:2: programs."a.b": {rule}',
        f'hasup.toml:3: programs."a:b": {rule}',
        f"hasup.toml:4: programs.-a: {rule}",
        f'hasup.toml:5: programs."": {rule}',
        f'hasup.toml:6: programs."\\xe9": {rule}',
    ]
    assert len(folder.faults(f'[programs.{"a" * 65}]\ncommand = "x"')) == 1
    assert folder.load(f'[programs.{"a" * 64}]\ncommand = "x"')


def test_rings_of_dependencies_are_shown(folder) -> None:
    text = "".join(
        f'[programs.{name}]\ncommand = "x"\ndepends_on = {list(depends)}\n'.replace("'", '"')
        for name, depends in {"a": "b", "b": "cd", "c": "a", "d": "e", "e": "d", "f": "af"}.items()
    )
    assert folder.faults(text) == [
        "hasup.toml:9: programs.c.depends_on[0]: depends on itself: a -> b -> c -> a",
        "hasup.toml:15: programs.e.depends_on[0]: depends on itself: d -> e -> d",
        "hasup.toml:18: programs.f.depends_on[1]: depends on itself: f -> f",
    ]


def test_long_chains_of_dependencies_are_no_ring_and_no_problem(folder) -> None:
    text = '[programs.p0]\ncommand = "x"\n'
    text += "".join(f'[programs.p{n}]\ncommand = "x"\ndepends_on = ["p{n - 1}"]\n' for n in range(1, 2000))
    assert len(folder.load(text).programs) == 2000


def test_forms_of_dependencies(folder) -> None:
    text = """
    [programs]
    db.command = "x"
    cache.command = "x"
    init = { command = "x", kind = "task" }
    [programs.web]
    command = "x"
    depends_on = { db = "started", cache = { restart = true }, init = { condition = "completed" } }
    [programs.list]
    command = "x"
    depends_on = ["db"]
    """
    programs = folder.load(text).programs
    found = {name: (d.condition, d.restart) for name, d in programs["web"].depends_on.items()}
    assert found == {"db": ("started", False), "cache": ("ready", True), "init": ("completed", False)}
    assert programs["list"].depends_on["db"].condition == "ready"


def test_what_never_completes_is_not_waited_for(folder) -> None:
    text = '[programs.db]\ncommand = "x"\n[programs.web]\ncommand = "x"\ndepends_on = { db = "completed" }\n'
    assert folder.faults(text) == [
        'hasup.toml:5: programs.web.depends_on.db: would wait for ever: db is always restarted, so it is never "completed"'
    ]
    assert folder.load(text.replace('"x"\n[', '"x"\nrestart = "never"\n['))


def test_ports_of_replicas_do_not_meet(folder) -> None:
    text = """\
[programs.a]
command = "x"
port = 8000
replicas = 3
[programs.b]
command = "x"
port = 8002
[programs.c]
command = "x"
port = 65535
replicas = 2
[programs.d]
command = "x"
port = 8003
"""
    assert folder.faults(text) == [
        "hasup.toml:7: programs.b.port: port 8002 is also a port of a",
        "hasup.toml:10: programs.c.port: the last replica would have port 65536, above 65535",
    ]


def test_addresses_do_not_meet(folder) -> None:
    addresses = ["127.0.0.1:80", "127.0.0.1:080", "0.0.0.0:80", "unix:a", "unix:./a", "[::1]:81", "localhost:81"]
    text = "".join(f'[programs.p{n}]\ncommand = "x"\nlisten = "{a}"\n' for n, a in enumerate(addresses))
    text += '[programs.own]\ncommand = "x"\nlisten = "a:90"\nport = 90\n'
    text += '[programs.shared]\ncommand = "x"\nlisten = { address = "a:91", mode = "share" }\nport = 91\n'
    assert folder.faults(text) == [
        "hasup.toml:6: programs.p1.listen: is also the address of p0",
        "hasup.toml:9: programs.p2.listen: is also the address of p0",
        "hasup.toml:15: programs.p4.listen: is also the address of p3",
        "hasup.toml:24: programs.own.listen: port 90 is also a port of own's replicas",
    ]


def test_log_files_do_not_meet(folder) -> None:
    text = """\
[programs.a]
command = "x"
replicas = 2
logs.stdout = "a.log"
[programs.b]
command = "x"
logs.stdout = "c.1.log"
[programs.c]
command = "x"
[programs.d]
command = "x"
logs = { stdout = "inherit", stderr = "null" }
[programs.e]
command = "x"
logs = { stdout = "inherit", stderr = "null" }
"""
    assert folder.faults(text) == [
        "hasup.toml:4: programs.a.logs.stdout: a.log is also the file of stdout of a.1; put {replica} into the name",
        "hasup.toml:8: programs.c: c.1.log is also the file of stdout of b.1",
    ]


def test_groups(folder) -> None:
    text = """\
[programs]
a.command = "x"
b.command = "x"
[groups]
a.programs = ["b"]
g.programs = ["a", "bb", "a"]
h.programs = []
i.window = 3
j.programs = [1]
"""
    assert folder.faults(text) == [
        "hasup.toml:5: groups.a: is the name of a program, too",
        "hasup.toml:6: groups.g.programs[1]: there is no program bb (did you mean b?)",
        "hasup.toml:6: groups.g.programs[2]: a is there twice",
        "hasup.toml:7: groups.h.programs: is empty",
        "hasup.toml:8: groups.i: programs is missing",
        "hasup.toml:9: groups.j.programs[0]: expected text in quotes, got 1",
    ]
    assert folder.load('[programs.a]\ncommand = "x"\n[groups.g]\nprograms = ["a"]').groups["g"].programs == ("a",)


def test_no_replicas_for_now_is_no_fault(folder) -> None:
    assert folder.load('[programs.a]\ncommand = "x"\nreplicas = 0\n').programs["a"].need == 1


def test_variables_come_from_every_source_of_the_environment(folder) -> None:
    folder.write("S=1\n", "s.env")
    folder.write("P=1\n", "p.env")
    text = """\
[supervisor]
env_files = ["s.env"]
[programs.web]
command = "x ${S} ${P} ${E} ${HOME} ${HASUP_REPLICA} ${PORT} ${NOPE} $${NO}"
env_files = ["p.env"]
env.E = "${P}"
port = "auto"
"""
    assert folder.faults(text) == ["hasup.toml:4: programs.web.command: there is no variable NOPE"]
    assert len(folder.faults(text, environ={"HOME": "/", "INVOCATION_ID": "1"})) == 1


def test_what_is_kept_from_children_is_no_variable(folder) -> None:
    text = '[programs.web]\ncommand = "x ${STATE_DIRECTORY}"\n'
    assert folder.faults(text, environ={"STATE_DIRECTORY": "/s"}) == [
        "hasup.toml:2: programs.web.command: there is no variable STATE_DIRECTORY"
    ]
