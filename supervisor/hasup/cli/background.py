"""hasup in the background: parted from the terminal, and watched until every program has had its first start."""

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from hasup.cli.errors import FAILED, Failure, guarded, say
from hasup.cli.launch import Launch, become_guardian
from hasup.cli.progress import Progress
from hasup.cli.statedir import new_file
from hasup.cli.terminal import terminal
from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning
from hasup.protocol.control import ControlError

ERRORS_NAME: Final = "guardian.err"
COMPLAIN_S: Final = 10.0
_LOOK_S: Final = 0.25
_TAIL: Final = 20  # lines


def detach(launch: Launch, only: Sequence[str]) -> int:
    """Fork a guardian that has nothing to do with this terminal; its pid. The descriptors are its own from here on."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(launch, only)
    for fd in (launch.lock_fd, launch.config_fd, launch.control_fd):
        os.close(fd)
    return pid


def _child(launch: Launch, only: Sequence[str]) -> NoReturn:
    def work() -> int:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        errors = new_file(errors_path(launch.state_dir))
        for target, fd in ((0, null), (1, null), (2, errors)):
            os.dup2(fd, target)
        become_guardian(launch, only)

    os._exit(guarded(work))  # nothing of the parent's is to be finished here


def errors_path(state_dir: str) -> str:
    """Where a guardian in the background writes what it has to say."""
    return os.path.join(state_dir, "logs", ERRORS_NAME)


def wait_settled(state_dir: str, guardian: int) -> dict[str, Any]:
    """The answer of ``settled``. Failure with the guardian's last words when it ends before."""
    progress = Progress(terminal(sys.stderr), "starting")
    try:
        while True:
            try:
                with ControlClient(state_dir) as client:
                    return _settled(client, state_dir, guardian, progress)
            except (ConnectionLost, NotRunning, ControlError) as error:
                _check_alive(state_dir, guardian)
                if isinstance(error, ControlError):
                    raise
                time.sleep(0.05)  # a new core is on its way, or the end of the guardian about to be seen
    finally:
        progress.clear()


def _settled(client: ControlClient, state_dir: str, guardian: int, progress: Progress) -> dict[str, Any]:
    call = client.send("settled")
    complain_at = time.monotonic() + COMPLAIN_S
    while True:
        try:
            answer: dict[str, Any] = client.answer(call, _LOOK_S)
            return answer
        except NoAnswer:
            _check_alive(state_dir, guardian)
            progress.show(state_dir)
            if time.monotonic() >= complain_at:
                complain_at = math.inf
                progress.clear()
                _complain(state_dir)


def _complain(state_dir: str) -> None:
    """Say so when there is a guardian, but no core that answers: nothing will ever be settled then."""
    try:
        with ControlClient(state_dir) as client:
            client.call("version", timeout=COMPLAIN_S)
    except NoAnswer:
        say("\n".join(["hasup is up, but its core does not answer; it goes on trying", *_last_words(state_dir)]))


def _check_alive(state_dir: str, guardian: int) -> None:
    pid, status = os.waitpid(guardian, os.WNOHANG)
    if pid == 0:
        return
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    raise Failure("\n".join([f"hasup {how} before everything was started", *_last_words(state_dir)]))


def _last_words(state_dir: str) -> list[str]:
    try:
        with open(errors_path(state_dir), errors="backslashreplace", encoding="utf-8") as file:
            lines = file.read(1 << 20).splitlines()[-_TAIL:]
    except OSError:
        lines = []
    if not lines:
        return [f"see {state_dir}/logs/hasup.log"]
    return [f"the last it said (in {errors_path(state_dir)}):", *(f"  {line}" for line in lines)]


def announce(answer: dict[str, Any]) -> int:
    """Say what did not start, and why; the exit code."""
    failed = answer.get("failed", [])
    for replica in failed:
        say(f"{replica['name']} did not start: {replica['reason']}")
    if failed:
        say("hasup goes on trying; see: hasup status, hasup logs, hasup stop")
    return FAILED if failed else 0
