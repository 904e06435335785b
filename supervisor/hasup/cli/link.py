"""The commands' connection to the running hasup."""

import os
import time
from typing import Any, Final

from hasup.cli.locate import state_dir
from hasup.control.client import ConnectionLost, ControlClient
from hasup.protocol.control import BUSY, ControlError, Message

ANSWER_S: Final = 30.0  # for what is answered at once
_SEAT_S: Final = 15.0  # for a place among the clients; those who only sit there lose theirs to us


def connect(config: str | None) -> ControlClient:
    """A connection to the hasup of this configuration. Raises NotRunning, ControlError, NoAnswer, ConfigError."""
    return ControlClient(state_dir(config, os.environ, os.getcwd()))


def ask(config: str | None, method: str, params: Message | None = None, timeout: float | None = ANSWER_S) -> Any:
    """One call on a connection of its own."""
    deadline = time.monotonic() + _SEAT_S
    while True:
        try:
            with connect(config) as client:
                return client.call(method, params, timeout)
        except ControlError as error:
            if error.code != BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(0.2)  # nothing was done; there is nothing to wait on but time


def ask_again(config: str | None, method: str, params: Message | None = None, timeout: float | None = None) -> Any:
    """As :func:`ask`, for what may be asked twice: when the core is replaced meanwhile, the next one is asked."""
    for _ in range(5):
        try:
            return ask(config, method, params, timeout)
        except ConnectionLost:
            continue
    raise ConnectionLost
