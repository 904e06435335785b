"""A command in a terminal of its own."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_S = 60.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """Runs ``argv`` as the leader of a session whose terminal is ours: what is typed reaches it as from a keyboard."""

    def __init__(self, argv: Sequence[str], folder: Path, env: Mapping[str, str], size: tuple[int, int]) -> None:
        self._master, slave = pty.openpty()
        rows, columns = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**env, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._slave = slave
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def see(self, text: str) -> None:
        """Wait until ``text`` has been shown since the last call."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"never seen: {text!r}; seen: {self.text[-3000:]}"
            if select.select([self._master], [], [], left)[0]:
                self.text += _CONTROL.sub("", os.read(self._master, 65536).decode("utf-8", "replace"))
        self.text = self.text.rpartition(text)[2]

    def end(self) -> int:
        """Wait for its end, which must come by itself; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; seen: {self.text[-3000:]}"
            if select.select([self._master], [], [], 0.05)[0]:
                self.text += _CONTROL.sub("", os.read(self._master, 65536).decode("utf-8", "replace"))
        return self.process.returncode

    def settings(self) -> list[object]:
        """The terminal's settings now; as ``before`` when they were put back."""
        return list(termios.tcgetattr(self._slave))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        os.close(self._master)
