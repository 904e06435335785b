"""Replacing the running hasup by the one that is installed here."""

import sys
import time
import uuid
from typing import Any, Final

from hasup.cli.errors import Failure
from hasup.cli.launch import environment, interpreter
from hasup.cli.link import ask
from hasup.control.client import ConnectionLost, NoAnswer, NotRunning
from hasup.protocol.control import METHOD_NOT_FOUND, ControlError
from hasup.version import __version__

_PATIENCE_S: Final = 120.0  # longer than rehearsal, parking and trial together
_LOOK_S: Final = 0.05


def upgrade(config: str | None) -> int:
    """Ask for it, then look until it is known how it ended."""
    before = ask(config, "version")["version"]
    number = uuid.uuid4().hex
    _ask_for_it(config, before, number)
    outcome = _outcome(config, number)
    if outcome["cause"] is not None:
        raise Failure(f"not upgraded: {outcome['cause']}\nhasup {before} goes on; no program was touched")
    again = " (again)" if before == __version__ else ""
    sys.stdout.write(f"upgraded: hasup {before} → {__version__}{again}; no program was touched\n")
    return 0


def _ask_for_it(config: str | None, before: str, number: str) -> None:
    python = interpreter()
    env = {} if "-E" in python else {"PYTHONPATH": environment(())["PYTHONPATH"]}
    params = {
        "id": number, "env": env, "argv": [*python, "-m", "hasup.guardian"], "core": [*python, "-m", "hasup.runtime"],
    }  # fmt: skip
    try:
        ask(config, "upgrade", params)
    except ControlError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
        raise Failure(f"hasup {before} can't be upgraded while it runs: hasup stop, then hasup start") from error


def _outcome(config: str | None, number: str) -> dict[str, Any]:
    """How it ended. The core changes meanwhile, so a connection may be lost, and another one answered late."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            outcome: dict[str, Any] | None = ask(config, "version", timeout=10.0)["upgrade"]
        except (ConnectionLost, NoAnswer):
            outcome = None
        except NotRunning:
            raise Failure("hasup ended during the upgrade; see its log in state_dir/logs/hasup.log") from None
        if outcome is not None and outcome["id"] == number:
            return outcome
        time.sleep(_LOOK_S)  # nobody is there to tell us: cores come and go
    raise Failure(f"nothing was heard of the upgrade for {_PATIENCE_S:g} s; see: hasup events")
