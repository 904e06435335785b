"""State as text back to state, also when another version of hasup wrote it.

What a version does not know is passed over and what is missing has its default. A value that it can't read (a result
that only a newer version has) costs that one field; a core that could not read its state at all would never come up.
"""

from typing import TypeVar

import msgspec

from hasup.model.state import Replica, State

T = TypeVar("T", bound=msgspec.Struct)


def decode(text: str, kind: type[T]) -> T:
    """The structure in ``text``. Raises ``msgspec.DecodeError`` for what is no JSON object."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        return _salvaged(msgspec.json.decode(text, type=dict[str, msgspec.Raw]), kind)


def _salvaged(written: dict[str, msgspec.Raw], kind: type[T]) -> T:
    readable: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        try:
            if field.encode_name in written:
                readable[field.name] = msgspec.json.decode(written[field.encode_name], type=field.type)
        except msgspec.ValidationError:
            continue
    if kind is Replica and "state" not in readable:
        # What it was doing is unknown: whatever lives of it is cleared away, then it is started again.
        unknown = {"pid", "spawning", "clearing", "ready", "heartbeat_due", "extend_until", "failing"}
        readable = {name: value for name, value in readable.items() if name not in unknown}
        readable |= {"state": State.BACKOFF, "deadline": 0.0, "tree_empty": False, "reason": "its state was unreadable"}
    return kind(**readable)
