# ruff: noqa: E501 - whole messages, one a line
"""One option at a time: what it takes, and what is said of what it does not take."""

from collections.abc import Callable

import pytest

ProgramFaults = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ('restart = "never"', {"restart.policy": "never", "restart.delay": 0.1}),
        ('restart = { delay = "250ms", success_exit_codes = [0, 3] }', {"restart.delay": 0.25, "restart.success_exit_codes": (0, 3)}),
        ('heartbeat = "10s"', {"heartbeat.timeout": 10.0, "heartbeat.source": "notify"}),
        ('heartbeat = { timeout = 2, source = "output" }', {"heartbeat.timeout": 2.0, "heartbeat.source": "output"}),
        ('listen = "127.0.0.1:8000"', {"listen.address": "127.0.0.1:8000", "listen.mode": "proxy", "port": "auto"}),
        ('listen = { address = "[::1]:80", mode = "share" }', {"listen.address": "[::1]:80", "port": None}),
        ('listen = "unix:web.sock"', {"listen.address": "unix:web.sock"}),
        ('listen = "systemd:http"', {"listen.address": "systemd:http"}),
        ('limits.memory = "512MiB"', {"limits.memory.above": 512 << 20, "limits.memory.action": "restart", "limits.memory.for_": 0.0}),
        ('limits.cpu = { above = "90%", for = "30s", action = "signal:SIGUSR1" }',
         {"limits.cpu.above": 90.0, "limits.cpu.for_": 30.0, "limits.cpu.action": "signal:USR1"}),
        ('limits.open_files = { above = 900, action = "warn" }', {"limits.open_files.above": 900, "limits.open_files.action": "warn"}),
        ('limits.hard = { memory = "512MiB", cpu = "150%", tasks = 100 }',
         {"limits.hard.memory": 512 << 20, "limits.hard.cpu": 150.0, "limits.hard.tasks": 100, "limits.memory": None}),
        ('limits.age = "1d"', {"limits.age.above": 86400.0}),
        ('stop = { signal = "sigint", timeout = 0, command = "kill -9 1" }',
         {"stop.signal": "INT", "stop.timeout": 0.0, "stop.command": ("kill", "-9", "1")}),
        ('stop.command = ""', {"stop.command": ()}),
        ('umask = "022"', {"umask": 0o22}),
        ('objective = "99.9%"', {"objective": 99.9}),
        ("port = 8000", {"port": 8000}),
        ('port = "auto"', {"port": "auto"}),
        ("rlimits = { nofile = 65536, core = [0, -1] }", {"rlimits": {"nofile": 65536, "core": (0, -1)}}),
        ('logs = { stdout = "web.{replica}.log", stderr = "null", max_size = "1MB" }',
         {"logs.stdout": "web.{replica}.log", "logs.stderr": "null", "logs.max_size": 1_000_000}),
        ('ready = { http = "http://127.0.0.1:${HOME}/x", headers = { Host = "a" }, status = [200] }',
         {"ready.headers": {"Host": "a"}, "ready.status": (200,)}),
        ('ready = { log = "^listening on \\\\d+$" }', {"ready.log": "^listening on \\d+$"}),
        ('user = "www-data"\nnice = -5', {"user": "www-data", "nice": -5}),
        ('user = "${HOME}"', {"user": "/home/op"}),
        ('env = { A = "1" }', {"env": {"A": "1"}}),
        ("restart.factor = 3", {"restart.factor": 3.0}),
        ("[programs.web.restart]\npolicy = 'always'", {"restart.policy": "always"}),
    ],
)  # fmt: skip
def test_values(folder, text: str, attributes: dict[str, object]) -> None:
    program = folder.load(f'[programs.web]\ncommand = "x"\n{text}\n').programs["web"]
    for path, expected in attributes.items():
        value = program
        for name in path.split("."):
            value = getattr(value, name)
        assert value == expected, path


@pytest.mark.parametrize(
    ("written", "words"),
    [("\"serve --on 'a b'\"", ("serve", "--on", "a b")), ('["serve", "a b", ""]', ("serve", "a b", ""))],
)
def test_commands(folder, written: str, words: tuple[str, ...]) -> None:
    assert folder.load(f"[programs.web]\ncommand = {written}").programs["web"].command == words


def test_a_command_for_the_shell_stays_one_word(folder) -> None:
    text = "[programs.web]\nshell = true\ncommand = \"a 'b  c' | d <<'\""
    assert folder.load(text).programs["web"].command == ("a 'b  c' | d <<'",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('restrat = "never"', "restrat: there is no such option (did you mean restart?)"),
        ('restart = "nevr"', 'restart: expected one of "always", "on-failure", "never", got "nevr" (did you mean "never"?)'),
        ("restart = 3", 'restart: expected "always" or "on-failure" or "never", got 3'),
        ('restart.delay = "ten"', 'restart.delay: expected a duration such as "10s", "250ms" or "5m", got "ten"'),
        ("restart.delay = true", 'restart.delay: expected a duration such as "10s", "250ms" or "5m", got true'),
        ("restart.delay = inf", 'restart.delay: expected a duration such as "10s", "250ms" or "5m", got inf'),
        ('restart.delay = "2m"', "restart.delay: delay is more than max_delay (1m)"),
        ("restart.factor = 0.5", "restart.factor: must be at least 1"),
        ("restart.factor = nan", "restart.factor: expected a number, got nan"),
        ("restart.jitter = 1.5", "restart.jitter: must be at most 1"),
        ('restart.window = "0s"', "restart.window: must be at least 1ms"),
        ("restart.success_exit_codes = 0", "restart.success_exit_codes: expected an array, got 0"),
        ("restart.success_exit_codes = [0, 256]", "restart.success_exit_codes[1]: must be at most 255"),
        ("replicas = 1.5", "replicas: expected a whole number, got 1.5"),
        ("replicas = true", "replicas: expected a whole number, got true"),
        ("replicas = -1", "replicas: must be at least 0"),
        ("replicas = 1000000000000000000000", "replicas: expected a whole number, got an enormous number"),
        ('autostart = "yes"', 'autostart: expected true or false, got "yes"'),
        ("port = 0", "port: must be at least 1"),
        ('port = "8000"', 'port: expected "auto" or a number, got "8000"'),
        ("umask = 18", 'umask: expected octal digits in quotes such as "022", got 18'),
        ('umask = "7777"', "umask: must be at most 777"),
        ("nice = 20", "nice: must be at most 19"),
        ('objective = "101%"', "objective: must be at most 100%"),
        ("objective = 99.9", 'objective: expected a percentage such as "80%", got 99.9'),
        ("env = { WORKERS = 1 }", "env.WORKERS: expected text in quotes, got 1"),
        ('env = { "A=B" = "1" }', 'env."A=B": this can\'t be the name of a variable'),
        ('env = { A = "a\\u0000" }', "env.A: must not contain a NUL character"),
        ('env = "A=1"', 'env: expected a table, got "A=1"'),
        ("rlimits = { nofiles = 1 }", "rlimits.nofiles: there is no such limit (did you mean nofile?)"),
        ("rlimits = { nofile = [1] }", "rlimits.nofile: expected a whole number or an array of two whole numbers, got an array"),
        ("rlimits = { nofile = [2, 1] }", "rlimits.nofile: expected a number, or [soft, hard] with soft below hard; -1: unlimited"),
        ('stop.signal = "TREM"', 'stop.signal: expected a signal such as "TERM", got "TREM" (did you mean "TERM"?)'),
        ("stop.signal = 15", 'stop.signal: expected a signal such as "TERM", got 15'),
        ('stop = "TERM"', 'stop: expected a table, got "TERM"'),
        ('listen = "8000"', 'listen: expected an address such as "127.0.0.1:8000", "[::1]:8000" or "unix:web.sock", got "8000"'),
        ('listen = "127.0.0.1:0"', 'listen: expected an address such as "127.0.0.1:8000", "[::1]:8000" or "unix:web.sock", got "127.0.0.1:0"'),
        ('listen = { mode = "share" }', "listen: address is missing"),
        ('listen = { address = "a:1", weights = [1, 2] }', "listen.weights: needs a weight for each replica (1), has 2"),
        ('listen = { address = "a:1", weights = [0] }', "listen.weights: needs a weight above 0"),
        ('heartbeat = { source = "notify" }', "heartbeat: timeout is missing"),
        ('heartbeat = { timeout = 1, source = "notfy" }',
         'heartbeat.source: expected "notify", "output" or "file:PATH", got "notfy" (did you mean "notify"?)'),
        ("limits = { memory = true }", 'limits.memory: expected a size such as "512MiB", "10MB" or a number of bytes, got true'),
        ("limits = { memory = { for = 1 } }", "limits.memory: above is missing"),
        ('limits = { memroy = "1MB" }', "limits.memroy: there is no such option (did you mean memory?)"),
        ('limits.cpu = { above = "9%", action = "restrat" }',
         'limits.cpu.action: expected "restart", "warn", "stop" or a signal such as "signal:USR1", got "restrat" (did you mean "restart"?)'),
        ('limits.cpu = { above = "9%", action = "signal:FOO" }', 'limits.cpu.action: expected a signal such as "TERM", got "FOO"'),
        ('logs.stdout = "a/b.log"', 'logs.stdout: expected a file name such as "web.{replica}.log" '
         '(no folder; {program} and {replica} are replaced), got "a/b.log"'),
        ('logs.stdout = "web.{slot}.log"', 'logs.stdout: expected a file name such as "web.{replica}.log" '
         '(no folder; {program} and {replica} are replaced), got "web.{slot}.log"'),
        ('logs.stdout = "hasup.log"', "logs.stdout: hasup.log is also the file of hasup's own log"),
        ('logs = { stdout = "a", stderr = "a" }',
         'logs.stderr: a is also the file of stdout of web.1; "merge" writes both streams into one file'),
        ('ready.log = "(["', 'ready.log: is not a regular expression: unterminated character set at position 1: "(["'),
        ('ready.http = "https://x"', 'ready.http: expected a URL such as "http://127.0.0.1:${PORT}/healthz" or "http://unix:${PORT}:/healthz", got "https://x"'),
        ('ready.http = "http://unix:web.sock"', 'ready.http: expected a URL such as "http://127.0.0.1:${PORT}/healthz" or "http://unix:${PORT}:/healthz", got "http://unix:web.sock"'),
        ('listen = "udp:127.0.0.1:53"', 'listen: UDP is not forwarded, only connections (TCP and Unix sockets): "udp:127.0.0.1:53"'),
        ('listen = "udp://0.0.0.0:53"', 'listen: UDP is not forwarded, only connections (TCP and Unix sockets): "udp://0.0.0.0:53"'),
        ('ready.tcp = "systemd:x"', 'ready.tcp: expected an address such as "127.0.0.1:8000" or "unix:web.sock"'),
        ('ready = { notify = true, log = "x" }', "ready.log: is there besides notify: only one of notify, http, tcp, exec, log is possible"),
        ('ready = { body = "x" }', "ready.body: belongs to http, which is not there"),
        ('ready = { http = "http://a", headers = { "A B" = "x" } }', 'ready.headers."A B": is no header\'s name'),
        ('ready = { http = "http://a", headers = { A = "x\\ny" } }', "ready.headers.A: must not contain control characters"),
        ('health = { interval = "5s" }', "health: needs one of http, tcp or exec"),
        ('health = { tcp = "a:1", exec = "true" }', "health.exec: is there besides tcp: only one of http, tcp, exec is possible"),
        ("need = 2", "need: is more than there are replicas (1)"),
        ('command2 = "x"', "command2: there is no such option (did you mean command?)"),
        ('env_files = ["none.env"]', "env_files[0]: DIR/none.env can't be read: No such file or directory"),
        ('directory = "${HOMEE}"', "directory: there is no variable HOMEE in hasup's own environment (did you mean HOME?)"),
        ('directory = "${HASUP_REPLICA}"', "directory: there is no variable HASUP_REPLICA in hasup's own environment"),
        ('stop.command = "kill ${PIDD}"', "stop.command: there is no variable PIDD"),
        ('ready.tcp = "127.0.0.1:${PORT}"', 'ready.tcp: there is no variable PORT: write port = "auto" or a number'),
        ('env = { A = "${B}", B = "1" }', "env.A: there is no variable B"),
        ('env = { A = "${HOME-x}" }',
         "env.A: ${ does not begin a reference such as ${NAME}; write $${ for the characters themselves"),
        ('depends_on = ["wbe"]', "depends_on[0]: there is no program wbe (did you mean web?)"),
        ('depends_on = ["web"]', "depends_on[0]: depends on itself: web -> web"),
        ("depends_on = 3", "depends_on: expected a table, got 3"),
        ("ready = 1979-05-27", "ready: expected a table, got 1979-05-27"),
    ],
)  # fmt: skip
def test_faults(folder, program_faults: ProgramFaults, text: str, fault: str) -> None:
    first = fault.replace("DIR", str(folder.path))
    assert [found.split(": ", 1)[1] for found in program_faults(text)] == [f"programs.web.{first}"]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ('""', "programs.web.command: is empty"),
        ("[]", "programs.web.command: is empty"),
        ('["", "x"]', "programs.web.command: its first word, the program to run, is empty"),
        ("3", "programs.web.command: expected a command: text, or an array of words, got 3"),
        ("[1]", "programs.web.command: expected a command: text, or an array of words, got an array"),
        ('["x", "\\u0000"]', "programs.web.command: must not contain a NUL character"),
        ('"a \'b"', "programs.web.command: can't be split into words: no closing quotation: \"a 'b\""),
        ('["a", "b"]\nshell = true', "programs.web.command: with shell = true the command is a text, not an array"),
        ('" "\nshell = true', "programs.web.command: is empty"),
    ],
)
def test_what_is_no_command(folder, written: str, fault: str) -> None:
    assert folder.faults(f"[programs.web]\ncommand = {written}") == [f"hasup.toml:2: {fault}"]


@pytest.mark.parametrize(
    "schedule", ["* * * * *", "*/5 0-6 1,15 jan-mar mon", "0 3 * * sun,7", "59 23 31 12 0", "1-5/2 * * * *"]
)
def test_schedules(schedule: str) -> None:
    from hasup.config import cron

    assert cron.checked(f"  {schedule} ") == schedule


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
                 "5-1 * * * *", "a * * * *", "* * * mon *", "1, * * * *", "-1 * * * *"]
)  # fmt: skip
def test_what_is_no_schedule(schedule: str) -> None:
    from hasup.config import cron

    with pytest.raises(ValueError):
        cron.checked(schedule)
