"""What the kernel shows of a process and its children, without touching them.

Only files are read that never wait for the process: its ``cmdline``, ``environ`` and ``smaps`` do, when it hangs in the
middle of a page fault, and would take the reader with it.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

from hasup.guardian.tree import children

_FILES = 20
_SOCKETS = 12
_THREADS = 64
_PROCESSES = 24
_TABLE_BYTES = 131_072  # of a table of sockets: those that listen come first
_LINKS = 512
_STATES = {"01": "established", "02": "connecting", "08": "the other side has closed", "0A": "listening"}

Found = dict[str, object]


def look(pid: int, within: float = 0.05) -> Found:
    """State, where it waits, threads, descriptors, sockets, children: as much as about ``within`` seconds of work show.

    Work is processor time: that others keep the machine busy is no reason to see less. State and waits are always seen.
    """
    deadline = time.thread_time() + within
    found: Found = {"pid": pid}
    for part in (_status, _waits, _threads, _files, _children):
        if part not in (_status, _waits) and time.thread_time() > deadline:
            found["cut_short"] = True
            break
        try:
            found.update(part(pid))
        except OSError:  # it is gone, or another user's
            continue
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def is_python(pid: int) -> bool:
    """Whether it runs CPython."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python")
    except OSError:
        return False


def _status(pid: int) -> Found:
    status = _fields(pid)
    return {
        "state": status.get("State"),
        "threads": _number(status.get("Threads")),
        "memory_kib": _number(status.get("VmRSS")),
    }


def _fields(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in _text(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def _waits(pid: int) -> Found:
    return {"waits_in": _wchan(f"/proc/{pid}"), "kernel_stack": _kernel_stack(pid)}


def _wchan(folder: str) -> str | None:
    try:
        return _text(f"{folder}/wchan").strip("0") or None
    except OSError:
        return None


def _kernel_stack(pid: int) -> list[str] | None:
    try:
        lines = _text(f"/proc/{pid}/stack").splitlines()[:10]
    except OSError:  # root's alone
        return None
    return [line.rpartition("] ")[2].partition("+")[0] for line in lines]


def _threads(pid: int) -> Found:
    """Where the threads of a process wait, the most frequent place first; nothing when there is one thread."""
    names = os.listdir(f"/proc/{pid}/task")[:_THREADS]
    if len(names) < 2:
        return {}
    places = Counter(_wchan(f"/proc/{pid}/task/{name}") or "running" for name in names)
    return {"threads_wait_in": dict(places.most_common(5))}


def _files(pid: int) -> Found:
    """How many descriptors, of how many, of which kinds, what the first of them are, and its sockets in words."""
    numbers = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    links = dict(_links(pid, numbers[:_LINKS]))
    kinds = Counter(_kind(link) for link in links.values())
    first = {number: links[number] for number in list(links)[:_FILES]}
    files = {"count": len(numbers), "limit": _limit(pid), "kinds": dict(kinds), "first": first}
    inodes = {link[8:-1] for link in links.values() if link.startswith("socket:[")}
    return {"open_files": files, "sockets": _sockets(pid, inodes) if inodes else None}


def _links(pid: int, numbers: list[str]) -> Iterator[tuple[str, str]]:
    for number in numbers:
        try:
            yield number, os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue


def _kind(link: str) -> str:
    return link.partition(":")[0] if not link.startswith("/") else "file"


def _limit(pid: int) -> int | None:
    for line in _text(f"/proc/{pid}/limits").splitlines():
        if line.startswith("Max open files"):
            return _number(line.removeprefix("Max open files"))
    return None


# --- sockets ---------------------------------------------------------------------------------------------------------
def _sockets(pid: int, inodes: set[str]) -> list[str]:
    """Those of its sockets that are of TCP, in words, those that listen first."""
    found: list[str] = []
    for table, address in (("tcp", _v4), ("tcp6", _v6)):
        found += [_in_words(row, address) for row in _rows(f"/proc/{pid}/net/{table}") if row[9] in inodes]
    return sorted(found, key=lambda text: "listening" not in text)[:_SOCKETS]


def _rows(path: str) -> Iterator[list[str]]:
    try:
        with open(path, "rb") as file:
            lines = file.read(_TABLE_BYTES).decode("ascii", "replace").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        row = line.split()
        if len(row) > 9:
            yield row


def _in_words(row: list[str], address: Callable[[str], str]) -> str:
    local, remote, state, unread = address(row[1]), address(row[2]), row[3], int(row[4].partition(":")[2], 16)
    if state == "0A":
        return f"{local} listening" + (f", {unread} connections wait to be accepted" if unread else "")
    text = f"{local} with {remote}, {_STATES.get(state, 'closing')}"
    return text + (f", {unread} bytes it has not read" if unread else "")


def _v4(text: str) -> str:
    host, _, port = text.partition(":")
    return f"{'.'.join(str(byte) for byte in reversed(bytes.fromhex(host)))}:{int(port, 16)}"


def _v6(text: str) -> str:
    import ipaddress

    host, _, port = text.partition(":")
    words = bytes.fromhex(host)
    address = b"".join(words[at : at + 4][::-1] for at in range(0, 16, 4))
    return f"[{ipaddress.IPv6Address(address)}]:{int(port, 16)}"


# --- children --------------------------------------------------------------------------------------------------------
def _children(pid: int) -> Found:
    """Its descendants, as far as there are few, in words; and how many of them ended and were not waited for."""
    seen: list[str] = []
    pending, zombies = list(children(pid)), 0
    while pending and len(seen) < _PROCESSES:
        child = pending.pop(0)
        try:
            status = _fields(child)
        except OSError:
            continue
        if status.get("State", "").startswith("Z"):
            zombies += 1
            continue
        waits = _wchan(f"/proc/{child}")
        seen.append(
            f"{child} {status.get('Name', '?')}, {status.get('State', '?')}" + (f", in {waits}" if waits else "")
        )
        pending += children(child)
    return {"children": seen, "zombies": zombies or None}


def zombies_of(pids: list[int]) -> int:
    """How many children of these have ended and were not waited for: each still takes up a pid. Raises OSError."""
    alive, count = set(pids), 0
    for pid in pids:
        for child in children(pid):
            if child not in alive and _is_zombie(child):
                count += 1
    return count


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(65_536).decode("utf-8", "replace").strip()


def _number(text: str | None) -> int | None:
    first = (text or "").split()[:1]
    return int(first[0]) if first and first[0].isdigit() else None
