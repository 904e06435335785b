"""From whatever went wrong to words and an exit code. Commands raise; this is the only place that catches."""

import os
import sys
from collections.abc import Callable
from typing import Final

from hasup.control.client import ConnectionLost, NoAnswer, NotRunning
from hasup.protocol.control import ControlError

FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
UNKNOWN_NAME: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Failure(Exception):
    """Ends the command: each line of ``message`` is shown as ``hasup: …``."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def guarded(work: Callable[[], int]) -> int:
    """The exit code of ``work``; what it raises is explained on stderr, without a traceback."""
    try:
        exit_code = work()
        sys.stdout.flush()
        return exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        faults = getattr(error, "faults", None)  # ConfigError, without importing hasup.config for the sake of asking
        if faults is not None:
            return _configuration(error, faults)
        message, exit_code = explain(error)
        say(message)
        return exit_code


def say(message: str) -> None:
    """Tell the user on stderr, line by line, as ``hasup: …``."""
    _write("".join(f"hasup: {line}\n" for line in message.splitlines()))


def _write(text: str) -> None:
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode())
    sys.stderr.flush()


def explain(error: Exception) -> tuple[str, int]:
    """What to say of ``error``, and the exit code."""
    match error:
        case Failure():
            return error.message, error.exit_code
        case ControlError():
            return error.message, error.exit_code
        case NotRunning():
            return str(error), NOT_RUNNING
        case ConnectionLost() | NoAnswer():
            return str(error), FAILED
    return _internal(error)


def _configuration(error: Exception, faults: list[object]) -> int:
    """Every fault on a line of its own that begins with the place, as editors want it; then what follows from them."""
    if len(faults) == 1 and not getattr(faults[0], "line", 0):  # no file, or none that can be read
        say(str(faults[0]))
        return USAGE
    _write("".join(f"{fault}\n" for fault in faults))
    count = f"{len(faults)} faults" if len(faults) != 1 else "1 fault"
    say(f"{count} in {getattr(error, 'file', None) or 'the configuration'}; nothing was changed")
    return USAGE


def _internal(error: Exception) -> tuple[str, int]:
    if os.environ.get("HASUP_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror.lower()}", FAILED
    text = f"{type(error).__name__}: {error}"
    return f"internal error: {text}\nplease report this; set HASUP_DEBUG=1 for the traceback", FAILED
