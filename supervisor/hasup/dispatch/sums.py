"""The load of several dispatchers as one. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

Load = Mapping[str, Any]
_AVERAGES = ("connect_s", "first_byte_s")


def summed(loads: Sequence[Load]) -> dict[str, Any]:
    """What ``hasup.dispatch.stats.figures`` of each says, taken together: counts are added, times are averaged by the
    connections they are of. ``full``: none accepts any more; a backend is ``ejected`` where one of them ejected it.
    """
    if len(loads) == 1:
        return dict(loads[0])
    names = dict.fromkeys(name for load in loads for name in load.get("backends", {}))
    known = {name: [load["backends"][name] for load in loads if name in load.get("backends", {})] for name in names}
    return {
        **_added([_without(load, "backends", "full") for load in loads]),
        "full": all(load.get("full") for load in loads),
        "backends": {name: _backend(of) for name, of in known.items()},
    }


def _backend(loads: Sequence[Load]) -> dict[str, Any]:
    weight = sum(load["total"] for load in loads) or 1
    averages = {key: round(sum(load[key] * load["total"] for load in loads) / weight, 6) for key in _AVERAGES}
    counts = _added([_without(load, "ejected", *_AVERAGES) for load in loads])
    return {**counts, "ejected": any(load["ejected"] for load in loads), **averages}


def _without(load: Load, *keys: str) -> Load:
    return {key: value for key, value in load.items() if key not in keys}


def _added(loads: Sequence[Load]) -> dict[str, Any]:
    sums: dict[str, Any] = {}
    for load in loads:
        for key, value in load.items():
            if isinstance(value, Mapping):
                sums[key] = _added([sums.get(key, {}), value])
            else:
                sums[key] = sums.get(key, 0) + value
    return sums
