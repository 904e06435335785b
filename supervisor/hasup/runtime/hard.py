"""Hard limits: what the guardian is asked to set in a replica's cgroup, and the words for what it could not."""

from hasup.model.spec import Hard

_PERIOD_US = 100_000
_FILES = {"memory": "memory.max", "cpu": "cpu.max", "tasks": "pids.max"}


def bounds(hard: Hard) -> dict[str, str]:
    """The files of a cgroup and what is to be in them."""
    texts = {
        "memory": None if hard.memory is None else str(hard.memory),
        "cpu": None if hard.cpu is None else f"{round(hard.cpu / 100 * _PERIOD_US)} {_PERIOD_US}",
        "tasks": None if hard.tasks is None else str(hard.tasks),
    }
    return {_FILES[name]: text for name, text in texts.items() if text is not None}


def lacking(program: str, hard: Hard, cgroup: str | None, unbound: list[str]) -> str | None:
    """Which hard limits do not hold for a replica that was started, in words; None when all do."""
    names = [name for name, file in _FILES.items() if file in bounds(hard) and (cgroup is None or file in unbound)]
    if not names:
        return None
    what = "has no cgroup of its own" if cgroup is None else "was not handed these cgroup controllers"
    return f"{program}: limits.hard.{', limits.hard.'.join(names)} not in force: it {what} (docs: how-to/systemd.md)"
