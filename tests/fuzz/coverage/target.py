"""Coverage-guided fuzzing of what strangers may send: ``python target.py notify|control [libFuzzer's options]``.

Needs atheris (``pip install atheris``), which is no dependency of the tests: see ``test_target.py``.
"""

import sys

import atheris

with atheris.instrument_imports(include=["hasup.protocol"]):
    from hasup.protocol import control
    from hasup.protocol.notify import parse


def notify(data: bytes) -> None:
    """A datagram: whatever it says, nothing raises, and what comes out is bounded."""
    message = parse(data)
    assert message.status is None or (len(message.status) <= 500 and message.status.isprintable())
    assert all(value is None or value >= 0 for value in (message.main_pid, message.watchdog_usec))


def requests(data: bytes) -> None:
    """A stream that arrives in two pieces: requests, or errors that say why not."""
    lines = control.Lines(4096)
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        lines.feed(piece)
        try:
            while (line := lines.next()) is not None:
                assert isinstance(control.parse_request(line), control.Request)
        except control.BadRequest as error:
            control.encode(control.failure(error.request, error))
        except control.FrameTooLong:
            return


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], {"notify": notify, "control": requests}[sys.argv[1]])
    atheris.Fuzz()
