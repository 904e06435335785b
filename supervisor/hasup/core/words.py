"""How an end is told, and the names of signals."""

import signal as signals

from hasup.model.state import LastRun


def describe(last: LastRun | None) -> str:
    """How a run ended, in words."""
    if last is None:
        return "never ran"
    if last.detail:
        return last.detail
    if last.signal is not None:
        return f"killed by {last.signal}{' (core dumped)' if last.core_dump else ''}"
    return f"exited with code {last.exit_code}"


def again(last: LastRun | None) -> str:
    """Why it is started again, in words."""
    return f"started again after: {describe(last)}" if last is not None else "its turn has come"


def number_of(name: str) -> int:
    """The number of a signal named without SIG."""
    return int(signals.Signals[f"SIG{name}"])


def signal_name(number: int) -> str:
    """``"SIGKILL"``; a real-time signal as ``"SIG40"``."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIG{number}"
