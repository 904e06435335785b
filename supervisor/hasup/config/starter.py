"""The text of a first ``hasup.toml``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_HEAD: Final = """\
# What hasup keeps running here.
#   hasup check     is it in order?       hasup config    with every default filled in
#   hasup start     run it (-d: in the background)
# Durations are "250ms" "10s" "5m" "2h", sizes "512MiB". ${NAME} is a variable of the program's environment.

[supervisor]
# state_dir = ".hasup"                 # logs, journal and control socket
"""

_PROGRAM: Final = """
[programs.web]
command = "python3 -m http.server ${PORT} --bind 127.0.0.1"
port = "auto"                          # $PORT: "auto" for a free one, or a number
replicas = 1

[programs.web.ready]                   # when it counts as ready; without this: alive for a second
tcp = "127.0.0.1:${PORT}"
"""

_MORE: Final = """
# Any of these, for each program:
#
# restart = "always"                   # or on-failure, never
# depends_on = ["db"]                  # starts when db is ready
# env = { LOG_LEVEL = "info" }
# listen = "127.0.0.1:8000"            # one address in front of all replicas
#
# [programs.web.health]                # a probe that fails is a hang: the replica is replaced
# http = "http://127.0.0.1:${PORT}/"
# interval = "5s"
#
# [programs.web.limits]
# memory = "512MiB"                    # above that it is restarted
#
# [programs.web.stop]
# signal = "TERM"
# timeout = "10s"                      # then KILL
"""


def starter() -> str:
    """A file with one program that runs as it is."""
    return _HEAD + _PROGRAM + _MORE


def from_procfile(path: Path, environ: Mapping[str, str]) -> str:
    """A file with the programs of a Procfile; raises :class:`hasup.config.ConfigError`."""
    from hasup.config import load

    config = load(path.absolute(), environ, Path.cwd())
    head = _HEAD + ('env_files = [".env"]\n' if config.supervisor.env_files else "")
    programs = []
    for name, program in config.programs.items():
        programs.append(
            f"\n[programs.{name}]\n"
            f"command = {_text(program.command[0])}\n"
            "shell = true                           # as in the Procfile, where $NAME is the shell's\n"
            f"port = {program.port}\n"
        )
    return head + "".join(programs) + _MORE


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
