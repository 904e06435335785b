"""What an operator may try, by symptom and by what the program wrote last. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

_BY_OUTPUT: Final = (
    (
        r"(?i)address already in use|EADDRINUSE",
        'its port is taken: ss -ltnp shows by whom; port = "auto" takes a free one',
    ),
    (
        r"ModuleNotFoundError|No module named",
        "its Python lacks a module: is it the right interpreter and environment?",
    ),
    (
        r"(?i)out of memory|MemoryError|Cannot allocate memory",
        "it got no more memory: look at its samples, and at the machine's",
    ),
    (
        r"(?i)too many open files|EMFILE",
        "it ran out of descriptors: rlimits.nofile raises the limit, limits.open_files warns",
    ),
    (r"(?i)no space left on device|ENOSPC", "a disk is full: df -h"),
    (r"(?i)permission denied|EACCES", "it may not do something: check user, group and the modes of its files"),
    (
        r"(?i)connection refused|ECONNREFUSED",
        "what it connects to is not there: depends_on makes it wait for a program",
    ),
    (r"(?i)no such file or directory|ENOENT", "a file is missing: check directory and env"),
    (r"(?i)command not found|: not found$", "the shell found no such command: check PATH in env"),
)
_BY_SYMPTOM: Final = {
    "oom-kill": "give it more memory, or set limits.memory below the bound, so that it is restarted in order",
    "core-dump": "look at the core dump with a debugger (coredumpctl debug, where systemd keeps them)",
    "heartbeat": "if its work takes longer by nature, raise heartbeat.timeout",
    "health": "ask its health probe's address by hand; raise health.timeout if slow answers are normal",
    "memory": "if it needs that much, raise limits.memory; else look for a leak",
    "cpu": "if it needs that much, raise limits.cpu; else its stack tells where it loops",
    "open-files": "look for what it does not close: its evidence counts descriptors by kind",
    "threads": "look for threads that never end",
    "processes": "look for children that never end or are not waited for",
    "start-timeout": "try its readiness probe by hand; raise ready.timeout if it needs longer",
    "spawn-failed": "mend what the reason says; hasup goes on trying",
    "stop-timeout": "raise stop.timeout, or see why it ignores stop.signal",
    "limit": "mend the cause, then: hasup start {name}",
    "stuck": "a process hangs in the kernel (a disk or network file system?): it cannot be killed",
    "degraded": "look at its load, and at what it waits for",
    "not-ready": "ask its health probe's address by hand",
    "hook-failed": "run its hook by hand; hasup logs {name}",
    "dependency-failed": "look at what it depends on: hasup status",
}  # fmt: skip
_BY_SIGNAL: Final = {
    "SIGKILL": "hasup did not send this KILL: somebody else, or the kernel for want of memory (dmesg | grep -i oom)",
    "SIGTERM": "somebody else sent this TERM; to stop it for good: hasup stop {name}",
    "SIGSEGV": "a fault in native code: -X faulthandler makes Python write its stack",
    "SIGABRT": "it ended itself by abort: an assertion, or native code that gave up",
    "SIGBUS": "a fault in native code, or a disk that was full under a mapped file",
}  # fmt: skip
_HANGS: Final = ("heartbeat", "health", "hung")


def advice(name: str, symptom: str, ended: dict[str, Any], record: dict[str, Any]) -> Iterator[str]:
    """The most telling first."""
    output: Sequence[str] = record.get("output", ())
    if symptom in ("exit-code", "limit", "start-timeout", "signal", "core-dump"):
        text = "\n".join(output[-20:])
        yield from [hint for pattern, hint in _BY_OUTPUT if re.search(pattern, text, re.MULTILINE)][:2]
    if symptom in ("signal", "core-dump") and ended.get("signal") in _BY_SIGNAL:
        yield _BY_SIGNAL[ended["signal"]].format(name=name)
    if symptom in _BY_SYMPTOM:
        yield _BY_SYMPTOM[symptom].format(name=name)
    if symptom in _HANGS and not record.get("stack") and not record.get("py_spy") and _is_python(record):
        yield "start it with python -X faulthandler: then it writes its stack when it hangs"
    yield f"hasup logs {name} -n 100"


def _is_python(record: dict[str, Any]) -> bool:
    return any("python" in word.lower() for word in record.get("command", ())[:3])
