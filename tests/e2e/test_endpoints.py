"""Replicas on Unix sockets and on IPv6, behind the dispatcher of a whole hasup."""

import contextlib
import os
import signal
import socket
from collections import Counter

import pytest

from tests.e2e.harness import Asking, Hasup, free_port, get, needs, until


def on_unix(port: int, more: str = "") -> str:
    return (
        '[supervisor]\nname = "shop"\n[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nreplicas = 3\n'
        f'listen = {{ address = "127.0.0.1:{port}", replica_address = "unix" }}\n'
        'ready.http = "http://unix:${PORT}:/healthz"\nrestart = { delay = "20ms", factor = 1 }\n' + more
    )


@pytest.fixture
def deep(tmp_path):
    """A hasup whose state directory's path is longer than a socket's may be."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    one = Hasup(folder)
    yield one
    assert one.end() == []


def sockets(hasup: Hasup) -> list[str]:
    return [replica["socket"] for replica in hasup.replicas().values()]


def test_replicas_on_unix_sockets(hasup):
    port = free_port()
    hasup.start(on_unix(port, 'health = { tcp = "unix:${PORT}", interval = "100ms" }\n'))
    assert [replica["port"] for replica in hasup.replicas().values()] == [None] * 3
    paths = sockets(hasup)
    assert len(set(paths)) == 3
    with Asking(f"http://127.0.0.1:{port}/") as client:
        for _ in range(3):
            client.more()
            os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)  # its socket's file stays behind
            restarts = hasup.replica("web.1")["restarts"]
            hasup.wait("web.1", "back", lambda r, n=restarts: r["ready"] and r["restarts"] >= n)
    assert not [failure for failure in client.failures if "refused" in failure]
    spread = Counter(get(f"http://127.0.0.1:{port}/").split()[0] for _ in range(30))
    assert spread.keys() == {"web.1", "web.2", "web.3"}
    hasup.run("stop", "web.2")
    assert sorted(map(os.path.exists, paths)) == [False, True, True]
    hasup.run("stop")
    assert not any(map(os.path.exists, paths))


def test_a_reload_puts_the_new_one_beside_the_old_one(hasup):
    port = free_port()
    hasup.start(on_unix(port))
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        hasup.run("reload", "web")
        client.more()
    assert client.failures == []
    after = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    folder = {os.path.dirname(path) for path in sockets(hasup)}
    assert sorted(os.listdir(folder.pop())) == ["1", "2", "3"], "nothing is left of who stood in"


def test_from_ports_to_sockets_and_back(hasup):
    port = free_port()
    hasup.start(on_unix(port))
    tcp = on_unix(port).replace('"unix"', '"tcp"').replace("http://unix:${PORT}:/", "http://127.0.0.1:${PORT}/")
    for text in (tcp, on_unix(port)):
        hasup.write(text)
        hasup.run("reload")
        until(lambda: all(replica["ready"] for replica in hasup.replicas().values()), "all are ready")
        assert get(f"http://127.0.0.1:{port}/").startswith("web.")


def test_a_long_path_leads_outside_the_state_directory(deep):
    port = free_port()
    deep.start(on_unix(port))
    assert get(f"http://127.0.0.1:{port}/").startswith("web.")
    paths = sockets(deep)
    assert not any(path.startswith(str(deep.folder)) for path in paths)
    deep.run("stop")
    assert not any(os.path.exists(os.path.dirname(os.path.dirname(path))) for path in paths)


SERVER = r"""
import os, socket
opened = socket.socket(socket.AF_UNIX)
opened.bind(os.environ["PORT"])
opened.listen()
while True:
    with opened.accept()[0] as client:
        if client.recv(65536):
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\nuser %d" % os.geteuid())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_another_user_makes_its_socket_and_leads_nobody_to_roots(hasup):
    port = free_port()
    hasup.start(
        '[programs.web]\ncommand = ["/usr/bin/env", "python3", "-c", "${SERVER}"]\nuser = "65534"\ndirectory = "/"\n'
        f"env.SERVER = '''{SERVER}'''\nready.tcp = \"unix:${{PORT}}\"\n"
        f'listen = {{ address = "127.0.0.1:{port}", replica_address = "unix", queue_timeout = "1s" }}\n'
    )
    assert get(f"http://127.0.0.1:{port}/") == "user 65534"
    path = sockets(hasup)[0]
    with socket.socket(socket.AF_UNIX) as roots, contextlib.ExitStack() as stack:
        secret = f"/tmp/hasup-secret-{os.getpid()}"
        roots.bind(secret)
        stack.callback(os.unlink, secret)
        roots.listen()
        os.unlink(path)
        os.symlink(secret, path)
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        roots.settimeout(60)
        with roots.accept()[0] as tried:
            tried.settimeout(60)
            assert tried.recv(65536) == b"", "nothing of the client's"


NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr; events {}
http { access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d;
  scgi_temp_path e;
  server { listen unix:$PORT proxy_protocol;
    location = /healthz { return 200 "ok"; }
    location / { return 200 "$HASUP_REPLICA $proxy_protocol_addr $proxy_protocol_port"; } } }
"""
NGINX_SH = """
export PATH="$PATH:/usr/sbin"; mkdir -p "nginx$HASUP_REPLICA"; cd "nginx$HASUP_REPLICA"
sed -e "s|\\$PORT|$PORT|" -e "s|\\$HASUP_REPLICA|$HASUP_REPLICA|" ../nginx.conf >conf
exec nginx -p . -c conf
"""


@needs("nginx")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_replicas_that_want_the_proxy_protocol_probes_included(hasup, version):
    port = free_port()
    hasup.write(NGINX, "nginx.conf")
    hasup.write(NGINX_SH, "nginx.sh")
    hasup.start(
        '[programs.web]\ncommand = "sh nginx.sh"\nreplicas = 2\nready.http = "http://unix:${PORT}:/healthz"\n'
        'health = { http = "http://unix:${PORT}:/healthz", interval = "50ms", failures = 1 }\nstop.signal = "QUIT"\n'
        f'listen = {{ address = "127.0.0.1:{port}", replica_address = "unix", proxy_protocol = "{version}" }}\n'
    )
    seen = set()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda c=client: c.recv(65536), b"")).decode().rpartition("\r\n")[2].split()
            assert answer[1:] == ["127.0.0.1", str(client.getsockname()[1])]
            seen.add(answer[0])
    assert seen == {"1", "2"}
    assert all(replica["restarts"] == 0 for replica in hasup.replicas().values())


def test_replicas_on_ipv6(hasup):
    port = free_port()
    hasup.start(
        '[programs.web]\ncommand = "${HASUP_PYTHON} -m http.server --bind ::1 ${PORT}"\nreplicas = 2\n'
        f'listen = {{ address = "127.0.0.1:{port}", replica_host = "::1" }}\nready.http = "http://[::1]:${{PORT}}/"\n'
    )
    assert "hasup.toml" in get(f"http://127.0.0.1:{port}/")
