"""``[defaults]`` under programs."""


def test_tables_merge_and_everything_else_is_replaced(folder) -> None:
    text = """
    [defaults]
    restart = "never"
    env = { A = "1", B = "1" }
    limits.memory = "1GB"
    depends_on = ["db"]
    stop.timeout = 3
    heartbeat = "10s"
    [programs]
    db.command = "x"
    [programs.web]
    command = "x"
    restart.delay = "1s"
    env = { B = "2", C = "${A}" }
    limits.memory.action = "warn"
    limits.cpu = "90%"
    depends_on = []
    heartbeat.source = "output"
    """
    programs = folder.load(text).programs
    web = programs["web"]
    assert (web.restart.policy, web.restart.delay) == ("never", 1.0)
    assert web.env == {"A": "1", "B": "2", "C": "${A}"}
    assert (web.limits.memory.above, web.limits.memory.action) == (1e9, "warn")
    assert web.limits.cpu.above == 90
    assert web.depends_on == {}
    assert web.stop.timeout == 3
    assert (web.heartbeat.timeout, web.heartbeat.source) == (10, "output")
    assert programs["db"].depends_on == {}, "what all others depend on does not wait for itself"
    assert programs["db"].heartbeat.source == "notify"


def test_a_probe_replaces_the_probe_of_the_defaults(folder) -> None:
    text = """
    [defaults]
    ready = { tcp = "a:1", timeout = 9 }
    health = { tcp = "a:1", failures = 9 }
    [programs.web]
    command = "x"
    ready.exec = "check"
    health.exec = "check"
    [programs.db]
    command = "x"
    """
    programs = folder.load(text).programs
    assert (programs["web"].ready.tcp, programs["web"].ready.exec, programs["web"].ready.timeout) == (
        None,
        ("check",),
        9,
    )
    assert (programs["web"].health.tcp, programs["web"].health.failures) == (None, 9)
    assert programs["db"].ready.tcp == programs["db"].health.tcp == "a:1"


def test_a_fault_in_the_defaults_is_told_once_and_where_it_is(folder) -> None:
    text = '[defaults]\nrestart = "nevr"\nshel = true\n[programs]\na.command = "x"\nb.command = "x"\n'
    assert folder.faults(text) == [
        'hasup.toml:2: defaults.restart: expected one of "always", "on-failure", "never", got "nevr" '
        '(did you mean "never"?)',
        "hasup.toml:3: defaults.shel: there is no such option (did you mean shell?)",
    ]


def test_the_command_may_come_from_the_defaults(folder) -> None:
    programs = folder.load(
        '[defaults]\ncommand = "work $A"\nshell = true\n[programs.a]\n[programs.b]\nshell = false\n'
    ).programs
    assert programs["a"].command == ("work $A",)
    assert programs["b"].command == ("work", "$A")


def test_defaults_have_to_be_a_table(folder) -> None:
    faults = folder.faults('defaults = 3\n[programs.a]\ncommand = "x"\n')
    assert faults == ["hasup.toml:1: defaults: expected a table, got 3"]
