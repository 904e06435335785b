"""The descriptors that outlive the core, by name: the guardian keeps them, this is the core's side of that store.

Names: ``config`` and ``control``; ``stdout`` and ``stderr`` (hasup's own); ``log:SLOT:STREAM:r`` and ``:w`` (a pipe);
``notify:SLOT``; ``listen:PROGRAM``; ``dispatch:SLOT:core`` and ``:far`` (a socket pair to a dispatcher);
``systemd:NAME`` (passed by systemd); ``kept:SLOT:…`` (given by a replica, see fdstore).
"""

import os

from hasup.runtime.link import Frame


class Store:
    """Named descriptors, held here and in the guardian alike."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._fds

    def __getitem__(self, name: str) -> int:
        return self._fds[name]

    def names(self, prefix: str = "") -> list[str]:
        """The names that start with ``prefix``."""
        return [name for name in self._fds if name.startswith(prefix)]

    def adopt(self, names: list[str], fds: list[int]) -> None:
        """Take what the guardian told after a start of the core."""
        self._fds.update(zip(names, fds, strict=True))

    def keep(self, frame: Frame, slot: str, fds: dict[str, int]) -> None:
        """Hold these from now on, and have the guardian hold them too, in the frame's part of ``slot``."""
        frame.add(slot, {"op": "keep", "names": list(fds)}, fds=list(fds.values()))
        self._fds.update(fds)

    def drop(self, frame: Frame, slot: str, names: list[str]) -> None:
        """Close these on both sides; unknown names are ignored."""
        known = [name for name in names if name in self._fds]
        if known:
            frame.add(slot, {"op": "drop", "names": known})
            for name in known:
                os.close(self._fds.pop(name))
