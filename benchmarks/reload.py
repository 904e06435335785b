"""Rolling reloads of gunicorn and uvicorn while wrk asks: how many requests, how many lost, in both modes.

    PYTHONPATH=supervisor python benchmarks/reload.py [--seconds 12] [--connections 32] [--server NAME]

Three replicas; for the whole time of each run one `hasup reload` follows the other. Printed for each server, mode and
shape of load: requests, reloads, replicas replaced, wrk's errors by kind, and how the answers were spread over the
replicas' numbers (largest first; the fourth one stands in). serve.py is uvicorn by the lines of Python in
docs/how-to/servers.md. Needs wrk, gunicorn and uvicorn.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import free_port

ROOT = Path(__file__).resolve().parents[1]
ERRORS = ("connect", "read", "write", "timeout")
SHAPES = {"one request a connection": ["-H", "Connection: close"], "keep-alive": []}
WSGI = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
    return [os.environ["HASUP_REPLICA"].encode()]
"""
ASGI = """
import os
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"1")]
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": os.environ["HASUP_REPLICA"].encode()})
"""
COUNTING = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() counts = {} end
function response(status, headers, body) counts[body] = (counts[body] or 0) + 1 end
function done(summary)
  for _, thread in ipairs(threads) do
    for who, number in pairs(thread:get("counts")) do print("by " .. who .. " " .. number) end
  end
end
"""
GUNICORN = "python -m gunicorn --no-control-socket --preload --workers 1"
LOG, NOTIFY = 'log = "(Booting worker|running on)"', "notify = true"
UVICORN = "python -m uvicorn --no-access-log --lifespan off"
COMMANDS = {  # the application; by mode, the command and by what it is ready
    "gunicorn": (WSGI, {"share": (f"{GUNICORN} app:app", LOG),
                        "proxy": (f"{GUNICORN} --bind 127.0.0.1:${{PORT}} app:app", LOG)}),
    "uvicorn": (ASGI, {"share": (f"{UVICORN} --fd 3 app:app", LOG),
                       "proxy": (f"{UVICORN} --port ${{PORT}} app:app", LOG)}),
    "serve.py": (ASGI, {"share": ("python serve.py", NOTIFY), "proxy": ("python serve.py", NOTIFY)}),
}  # fmt: skip
CONFIG = """
[programs.app]
command = "{command}"
replicas = 3
ready.{ready}
listen = {{ address = "127.0.0.1:{port}", mode = "{mode}"{more} }}
{port_option}
"""


def serve_py() -> str:
    """The lines that the documentation shows for uvicorn."""
    page = (ROOT / "docs/how-to/servers.md").read_text()
    found = re.search(r"^## uvicorn$.*?^```python serve.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit("docs/how-to/servers.md does not show serve.py for uvicorn")
    return found[1].replace('"app:app"', '"app:app", access_log=False, lifespan="off"')


def run(server: str, mode: str, shape: str, options: argparse.Namespace) -> None:
    app, (command, ready) = COMMANDS[server][0], COMMANDS[server][1][mode]
    with tempfile.TemporaryDirectory() as name:
        folder, port, environ = Path(name), free_port(), dict(os.environ)
        environ |= {
            "PYTHONPATH": str(ROOT / "supervisor"),
            "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
        }
        (folder / "app.py").write_text(app)
        (folder / "serve.py").write_text(serve_py())
        (folder / "count.lua").write_text(COUNTING)
        text = CONFIG.format(
            command=command,
            ready=ready,
            port=port,
            mode=mode,
            port_option="" if mode == "share" else 'port = "auto"',
            more="" if mode == "share" else f', drain_timeout = "{options.drain}"',
        )
        (folder / "hasup.toml").write_text(text)

        def hasup(*words: str) -> str:
            argv = [sys.executable, "-m", "hasup", *words]
            return subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout

        hasup("start", "-d")
        try:
            tell(server, mode, shape, *under_load(hasup, folder, port, shape, options))
        finally:
            hasup("stop")


def under_load(
    hasup: Callable[..., str], folder: Path, port: int, shape: str, options: argparse.Namespace
) -> tuple[str, int, int]:
    """What wrk printed, reloads, and processes replaced."""
    argv = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}", "--timeout", "10", "-s", "count.lua"]
    wrk = subprocess.Popen(
        [*argv, *SHAPES[shape], f"http://127.0.0.1:{port}/"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    reloads, replaced, until = 0, 0, time.monotonic() + options.seconds - options.tail
    before = pids(hasup)
    while time.monotonic() < until:
        hasup("reload", "app")
        after = pids(hasup)
        reloads, replaced, before = reloads + 1, replaced + len(after - before), after
    return wrk.communicate()[0], reloads, replaced


def pids(hasup: Callable[..., str]) -> set[int]:
    return {one["pid"] for one in json.loads(hasup("status", "--json"))["programs"][0]["replicas"]}


def tell(server: str, mode: str, shape: str, text: str, reloads: int, replaced: int) -> None:
    requests = re.search(r"(\d+) requests in", text)
    if requests is None:
        raise SystemExit(text)
    kinds = dict.fromkeys(ERRORS, 0)
    if found := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        kinds = dict(zip(ERRORS, map(int, found.groups()), strict=True))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = ", ".join(f"{kind} {number}" for kind, number in kinds.items() if number) or "none"
    if refused:
        errors += f", not 2xx {refused[1]}"
    answers = sorted((int(number) for number in re.findall(r"^by \d+ (\d+)$", text, re.MULTILINE)), reverse=True)
    parts = " ".join(f"{one / max(1, sum(answers)):.0%}" for one in answers)
    print(
        f"{server:9}{mode:6} {shape:25}{int(requests[1]):9,}{reloads:9}{replaced:10}  {errors:20} {parts}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=12, help="of each of the twelve runs")
    parser.add_argument("--tail", type=int, default=4, help="no reload begins in the last so many seconds of a run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--drain", default="1s", help="listen.drain_timeout in proxy mode")
    parser.add_argument("--server", choices=COMMANDS)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed")
    print(f"{'server':9}{'mode':6} {'load':25}{'requests':>9}{'reloads':>9}{'replaced':>10}  {'errors':20} spread")
    with contextlib.suppress(KeyboardInterrupt):
        for server in [options.server] if options.server else COMMANDS:
            for mode in ("share", "proxy"):
                for shape in SHAPES:
                    run(server, mode, shape, options)


if __name__ == "__main__":
    main()
