"""Programs of other people, with what they call ready, reload and stop."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.harness import Asking, free_port, get, needs, until
from tests.support.apps import ASGI, WSGI

pytestmark = pytest.mark.e2e

PYTHON = "${HASUP_PYTHON}"
ON_ITS_PORT = 'port = "auto"\nready.http = "http://127.0.0.1:${PORT}/"\n'


# --- redis ----------------------------------------------------------------------------------------------------------
REDIS = 'command = "redis-server --port ${PORT} --save \'\' --bind 127.0.0.1"\nport = "auto"\nenv.LC_ALL = "C"\n'


def redis(port: int, *words: str) -> str:
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


@needs("redis-server", "redis-cli")
@pytest.mark.parametrize(
    "ready",
    ['tcp = "127.0.0.1:${PORT}"', 'exec = "redis-cli -e -p ${PORT} ping"', "log = 'Ready to accept connections'"],
)
def test_redis(hasup, ready):
    hasup.start(f"[programs.redis]\n{REDIS}ready.{ready}\n")
    replica = hasup.replica("redis.1")
    assert redis(replica["port"], "set", "a", "1") == "OK"
    hasup.run("restart", "redis")
    replica = hasup.replica("redis.1")
    assert replica["ready"]
    assert redis(replica["port"], "get", "a") == ""
    hasup.run("stop")
    assert "User requested shutdown" in (hasup.state_dir / "logs" / "redis.1.log").read_text()


@needs("redis-server", "redis-cli")
def test_a_redis_that_does_not_answer_is_replaced(hasup):
    hasup.start(
        f"[programs.redis]\n{REDIS}ready.tcp = '127.0.0.1:${{PORT}}'\nabort.timeout = '100ms'\n"
        "health = { exec = 'redis-cli -e -p ${PORT} ping', interval = '200ms', timeout = '2s', failures = 2 }\n"
    )
    before = hasup.replica("redis.1")["pid"]
    os.kill(before, signal.SIGSTOP)
    after = hasup.wait("redis.1", "replaced", lambda r: r["ready"] and r["pid"] != before)
    assert after["last"]["result"] == "health"
    assert redis(after["port"], "ping") == "PONG"


# --- nginx ----------------------------------------------------------------------------------------------------------
NGINX = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{answer}"; }} }}
}}
"""


@needs("nginx")
def test_nginx(hasup):
    port, conf = free_port(), hasup.folder / "nginx.conf"
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")

    def configure(answer: str) -> None:
        conf.write_text(NGINX.format(folder=hasup.folder, port=port, answer=answer))

    configure("first")
    hasup.start(
        f'[programs.nginx]\ncommand = "{nginx} -e stderr -c {conf}"\nstop.signal = "QUIT"\n'
        f'ready.http = "http://127.0.0.1:{port}/"\n'
    )
    before = hasup.replica("nginx.1")
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more(5)
        configure("second")
        assert hasup.run("signal", "nginx", "HUP").stdout == "sent SIGHUP to nginx.1\n"
        until(lambda: client.answers[-1] == "second", "it answers by the new configuration")
    assert client.failures == []
    after = hasup.replica("nginx.1")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)
    os.kill(before["pid"], signal.SIGKILL)  # its workers hold the port, until hasup has ended them too
    hasup.wait("nginx.1", "ready again", lambda r: r["ready"] and r["pid"] != before["pid"])
    assert get(f"http://127.0.0.1:{port}/") == "second"


# --- PostgreSQL -----------------------------------------------------------------------------------------------------
POSTGRES_BIN = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), "")


@pytest.fixture
def cluster():
    """A fresh cluster in a folder that the user postgres may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="hasup-postgres-"))
    shutil.chown(folder, "postgres", "postgres")
    subprocess.run(
        [f"{POSTGRES_BIN}/initdb", "-D", folder / "data", "-A", "trust", "--no-sync", "--locale=C"],
        user="postgres",
        group="postgres",
        extra_groups=[],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    yield folder
    shutil.rmtree(folder)


@needs("initdb", "postgres")
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes the user postgres")
@pytest.mark.parametrize("ready", ["exec", "log"])
def test_postgresql(cluster, hasup, ready):
    port = free_port()

    def ask(statement: str) -> str:
        done = subprocess.run(
            [f"{POSTGRES_BIN}/psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atqc", statement],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    conditions = {
        "exec": f'exec = "{POSTGRES_BIN}/pg_isready -h 127.0.0.1 -p {port}"',
        "log": "log = 'database system is ready to accept connections'",
    }
    hasup.start(
        f'[programs.db]\ncommand = "{POSTGRES_BIN}/postgres -D data -p {port} -k {cluster} '
        f'-c listen_addresses=127.0.0.1 -c fsync=off"\nuser = "postgres"\ndirectory = "{cluster}"\n'
        f'stop.signal = "INT"\nready.{conditions[ready]}\n'
    )
    before = hasup.replica("db.1")
    ask("create table kept (n int); insert into kept values (42)")
    os.kill(before["pid"], signal.SIGKILL)  # a new postmaster starts only when no process of the old one is left
    after = hasup.wait("db.1", "ready again", lambda r: r["ready"] and r["pid"] != before["pid"])
    assert after["restarts"] == 1
    assert ask("select n from kept") == "42"
    hasup.run("stop", "db")
    assert hasup.replica("db.1")["last"]["result"] in ("success", "operator")
    log = (hasup.state_dir / "logs" / "db.1.log").read_text()
    assert "received fast shutdown request" in log
    assert log.rstrip().endswith("database system is shut down")


# --- gunicorn and uvicorn -------------------------------------------------------------------------------------------
GUNICORN = f"{PYTHON} -m gunicorn --no-control-socket"
SERVERS = {  # behind the proxy; test_share_servers.py has them share the socket
    "gunicorn": (WSGI, f"{GUNICORN} --bind 127.0.0.1:${{PORT}} app:app"),
    "uvicorn": (ASGI, f"{PYTHON} -m uvicorn --lifespan off --port ${{PORT}} app:app"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_behind_the_proxy(hasup, server):
    pytest.importorskip(server)
    app, command = SERVERS[server]
    hasup.write(app, "app.py")
    port = free_port()
    hasup.start(f'[programs.app]\ncommand = "{command}"\nreplicas = 2\nlisten = "127.0.0.1:{port}"\n{ON_ITS_PORT}')
    assert [get(f"http://127.0.0.1:{port}/") for _ in range(4)] in (["1", "2"] * 2, ["2", "1"] * 2)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        os.kill(hasup.replica("app.1")["pid"], signal.SIGKILL)
        hasup.wait("app.1", "ready again", lambda r: r["ready"] and r["restarts"] == 1)
        client.more()
    assert [failure for failure in client.failures if "refused" in failure] == []
    assert len(client.failures) <= 1
    assert set(client.answers[-6:]) == {"1", "2"}


def test_gunicorn_says_itself_that_it_is_ready(hasup):
    pytest.importorskip("gunicorn")
    hasup.write(WSGI, "app.py")
    port = free_port()
    hasup.start(f'[programs.app]\ncommand = "{GUNICORN} --bind 127.0.0.1:{port} app:app"\nready.notify = true\n')
    assert hasup.replica("app.1")["status_text"] == "Gunicorn arbiter booted"
    assert get(f"http://127.0.0.1:{port}/") == "1"


# --- systemd-notify -------------------------------------------------------------------------------------------------
@needs("systemd-notify")
def test_systemd_notify(hasup):
    hasup.write("systemd-notify --ready --status='5 jobs done'\nexec sleep 1000\n", "app.sh")
    hasup.start('[programs.app]\ncommand = "sh app.sh"\nready.notify = true\n')
    replica = hasup.wait("app.1", "says what it does", lambda r: r["status_text"] == "5 jobs done")
    assert replica["ready"]
    assert any("READY=1" in event["reason"] for event in hasup.events(replica="app.1", to="running"))


# --- libraries for the notify protocol ------------------------------------------------------------------------------
SDNOTIFY = """
import sdnotify, time
n = sdnotify.SystemdNotifier(debug=True)
n.notify("STATUS=by sdnotify")
n.notify("READY=1")
while True:
    n.notify("WATCHDOG=1")
    time.sleep(0.1)  # ten heartbeats a second
"""
CYSYSTEMD = """
import time
from cysystemd.daemon import Notification, notify
notify(Notification.STATUS, "by cysystemd", return_exceptions=False)
notify(Notification.READY, return_exceptions=False)
while True:
    notify(Notification.WATCHDOG, return_exceptions=False)
    time.sleep(0.1)  # ten heartbeats a second
"""


@pytest.mark.parametrize(("library", "code"), [("sdnotify", SDNOTIFY), ("cysystemd", CYSYSTEMD)])
def test_a_library_that_speaks_to_systemd(hasup, library, code):
    pytest.importorskip(library)
    hasup.write(code, "app.py")
    hasup.start(f"""
[programs.app]
command = "{PYTHON} -u app.py"
ready.notify = true
heartbeat.timeout = "3s"
""")
    replica = hasup.wait("app.1", "says what it does", lambda r: r["status_text"] == f"by {library}")
    assert replica["ready"]
    hasup.run("signal", "app", "STOP")
    hasup.wait("app.1", "its heartbeat is missed", lambda r: (r["last"] or {}).get("result") == "heartbeat")
