"""The words for a child that could not be started."""

import errno
import os
from typing import Any


def words(stage: str, error: BaseException, order: dict[str, Any]) -> str:
    """Why a child could not be started, for the operator."""
    number = error.errno if isinstance(error, OSError) else None
    reason = (os.strerror(number) if number else str(error) or type(error).__name__).lower()
    program = getattr(error, "filename", None) or order["argv"][0]
    directory = order.get("directory")
    if stage == "directory":
        missing = number == errno.ENOENT
        return f"directory {directory} does not exist" if missing else f"cannot enter directory {directory}: {reason}"
    if stage == "user":
        return f"cannot become user {order.get('uid')}, group {order.get('gid')}: {reason}"
    if stage == "limits":
        return f"cannot set limits or priority: {reason}"
    if stage != "exec":
        return f"cannot prepare its start: {reason}"
    if number == errno.ENOENT:
        return _not_found(program, directory)
    if number == errno.EACCES:
        return f"{program}: permission denied (is it executable, and its folder readable, for this user?)"
    if number == errno.ENOEXEC:
        return f"{program}: not an executable format (a script needs a first line such as #!/bin/sh)"
    return f"{program}: {reason}"


def _not_found(program: str, directory: str | None) -> str:
    if "/" not in program:
        return f"command {program!r} was not found in PATH"
    path = os.path.join(directory or ".", program)
    if not os.path.exists(path):
        return f"{path} does not exist"
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        first = b""
    if first.startswith(b"#!"):
        interpreter = first[2:].split()[0].decode("utf-8", "replace") if first[2:].split() else "?"
        return f"{path}: bad interpreter: {interpreter} does not exist (in its first line)"
    return f"{path}: its loader or a library that it names does not exist"


def fork_failure(error: OSError) -> str:
    """The words for a fork that failed."""
    if error.errno == errno.EAGAIN:
        return "this user or machine has no process left (see: ulimit -u, pids.max)"
    if error.errno == errno.ENOMEM:
        return "there is no memory left for another process"
    return f"cannot fork: {os.strerror(error.errno or 0).lower()}"
