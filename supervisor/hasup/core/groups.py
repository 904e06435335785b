"""Groups: whom the failure of one program takes along, and when a whole group gives up. As OTP supervisors have it."""

from collections.abc import Iterable

from hasup.model.spec import Group


def taken_along(group: Group, failed: str) -> tuple[str, ...]:
    """The programs that are restarted together with ``failed``, itself left out."""
    match group.strategy:
        case "one-for-all":
            return tuple(name for name in group.programs if name != failed)
        case "rest-for-one":
            return group.programs[group.programs.index(failed) + 1 :]
        case _:
            return ()


def over_limit(group: Group, history: Iterable[float], now: float) -> tuple[list[float], bool]:
    """The restarts within the window, this one at ``now`` included, and whether they are too many.

    No more of them are kept than it takes to tell.
    """
    recent = [*(at for at in history if at > now - group.window), now]
    return recent[-group.limit - 1 :], len(recent) > group.limit
