"""nginx, HAProxy and Caddy in front of hasup, by the configurations of docs/how-to/front.md."""

import os
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.e2e.harness import Asking, Hasup, free_port, get, needs, until
from tests.support.pages import files

pytestmark = pytest.mark.e2e

PAGE = "how-to/front.md"
APP = """
import http.server, os, signal, threading

class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Handler.asked += 1
        told = [self.headers[name] or "-" for name in ("X-Forwarded-For", "X-Forwarded-Proto")]
        body = " ".join([os.environ["HASUP_PROGRAM"], os.environ["HASUP_REPLICA"], str(Handler.asked), *told]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/static/"):
            self.send_header("Cache-Control", "max-age=60")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = False
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.05)
server.server_close()  # waits for requests that have begun
"""
TEMPORARY = "".join(f"{kind}_temp_path tmp-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


class Front:
    """A section of the page, run on ports of its own, with a certificate that this process trusts."""

    def __init__(self, hasup: Hasup, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ports = {"127.0.0.1:8000": f"127.0.0.1:{free_port()}", "127.0.0.1:8443": f"127.0.0.1:{free_port()}"}
        self.url = f"https://{ports['127.0.0.1:8443']}"
        shown = files(PAGE, section)
        shown["hasup.toml"] = files(PAGE, "What the three have in common")["hasup.toml"] + shown["hasup.toml"]
        for name, text in shown.items():
            for old, new in ports.items():
                text = text.replace(old, new)
            hasup.write(text, name)
        self._adapt(hasup.folder / "nginx.conf")
        hasup.write(APP, "app.py")
        self._certify(hasup.folder)
        monkeypatch.setenv("SSL_CERT_FILE", str(hasup.folder / "cert.pem"))
        hasup.env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), hasup.env["PATH"], "/usr/sbin"))
        hasup.start()

    @staticmethod
    def _adapt(nginx: Path) -> None:
        """Temporary files in the test's folder, which workers may enter: pytest's are closed to others."""
        if nginx.exists():
            user = "user root;\n" if os.geteuid() == 0 else ""
            nginx.write_text(user + nginx.read_text().replace("http {\n", f"http {{\n{TEMPORARY}", 1))

    @staticmethod
    def _certify(folder: Path) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        (folder / "site.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())

    def ask(self, path: str) -> list[str]:
        return get(self.url + path).split()


CACHES = {"nginx": True, "HAProxy": True, "Caddy": False}
PROGRAMS = {"nginx": "nginx", "HAProxy": "haproxy", "Caddy": "caddy"}


@needs("openssl")
@pytest.mark.parametrize(
    "section", [pytest.param(section, marks=needs(program)) for section, program in PROGRAMS.items()]
)
def test_in_front(hasup, monkeypatch, section):
    front = Front(hasup, section, monkeypatch)
    for path, program in (("/", "web"), ("/api/x", "api")):
        answers: list[list[str]] = []
        until(
            lambda a=answers, p=path: a.append(front.ask(p)) or len({one[1] for one in a}) == 2, "both replicas answer"
        )
        assert {answer[0] for answer in answers} == {program}, "routed by path"
        assert {tuple(answer[3:]) for answer in answers} == {("127.0.0.1", "https")}
    cached = front.ask("/static/a") == front.ask("/static/a")  # each answer counts, so equal ones are one answer
    assert cached == CACHES[section]
    before = hasup.replicas()
    with Asking(f"{front.url}/") as web, Asking(f"{front.url}/api/") as api:
        web.more(5)
        hasup.run("reload", "web", "api")
        web.more(5)
        api.more(5)
    assert web.failures == api.failures == []
    after = hasup.replicas()
    assert after["front.1"]["pid"] == before["front.1"]["pid"]
    assert all(after[name]["pid"] != before[name]["pid"] for name in before if name != "front.1")


@pytest.mark.long
@needs("openssl")
@pytest.mark.parametrize(
    "section", [pytest.param(section, marks=needs(PROGRAMS[section])) for section in ("HAProxy", "Caddy")]
)
def test_a_check_notices_that_no_replica_answers(hasup, monkeypatch, section):
    front = Front(hasup, section, monkeypatch)

    def status(path: str) -> int:
        try:
            get(front.url + path, timeout=3)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:  # asked before the check failed: it has reached a replica that does not answer
            return 0
        return 200

    assert status("/") == 200
    pids = [replica["pid"] for name, replica in hasup.replicas().items() if name.startswith("web.")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: status("/") == 503, "it is refused at once")
    assert status("/api/") == 200
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    until(lambda: status("/") == 200, "it is answered again")
