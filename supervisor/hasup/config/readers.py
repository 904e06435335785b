"""From one decoded value to the value that the model holds, by the option's kind. Knows no places and no tables."""

import math
import re
import shlex
import signal as signals
from collections.abc import Callable
from typing import Any, Final, get_args, get_origin
from urllib.parse import urlsplit

from hasup.config import cron, units
from hasup.config.describe import alternatives, choices
from hasup.config.faults import nearest
from hasup.model.option import Kind, Option

SIGNALS: Final = tuple(sorted(signal.name.removeprefix("SIG") for signal in signals.Signals))
ACTIONS: Final = ("restart", "warn", "stop")
STREAMS: Final = ("inherit", "null")
_LONGEST_SHOWN: Final = 60


class Wrong(Exception):
    """The value is not as it should be; the text says what was expected and what is there."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def shown(value: object) -> str:
    """A value as a message quotes it: as TOML would have it, and never long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    if isinstance(value, int) and abs(value) >= 10**18:
        return "an enormous number"
    text = f'"{_printable(value)}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def read(kind: Any, option: Option, value: object) -> Any:
    """``value`` as an option of type ``kind`` holds it; raises :class:`Wrong`."""
    if isinstance(value, str) and "\0" in value:
        raise Wrong("must not contain a NUL character")
    reader = _READERS.get(option.kind)
    result = _bounded(reader(value) if reader is not None else plain(kind, value), option)
    return float(result) if kind is float else result


def plain(kind: Any, value: object) -> Any:
    """A value whose type says everything; raises :class:`Wrong`."""
    words = [word for member in alternatives(kind) for word in choices(member)]
    if words and isinstance(value, str):
        return _choice(value, words, others=len(alternatives(kind)) > 1)
    for member in alternatives(kind):
        if _is(member, value):
            return tuple(value) if isinstance(value, list) else value
    raise expected(_in_words(kind), value)


def expected(what: str, value: object) -> Wrong:
    """The usual complaint."""
    return Wrong(f"expected {what}, got {shown(value)}")


def address_parts(text: str) -> tuple[str, str]:
    """Host and port of ``HOST:PORT`` or ``[V6]:PORT``; scheme and rest of ``unix:PATH`` and ``systemd:NAME``.

    Raises ValueError. A host or port that is a ``${NAME}`` is returned as it is.
    """
    scheme, _, rest = text.partition(":")
    if scheme in ("unix", "systemd"):
        if not rest:
            raise ValueError(text)
        return scheme, rest
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|((?:[A-Za-z0-9._-]|\$\{\w+\})+)):(\d{1,5}|\$\{\w+\})", text)
    if match is None or (match[3].isdigit() and not 1 <= int(match[3]) <= 65535):
        raise ValueError(text)
    return match[1] or match[2], match[3]


def _duration(value: object) -> float:
    try:
        return units.duration(value)
    except ValueError:
        raise expected('a duration such as "10s", "250ms" or "5m"', value) from None


def _size(value: object) -> int:
    try:
        return units.size(value)
    except ValueError:
        raise expected('a size such as "512MiB", "10MB" or a number of bytes', value) from None


def _percent(value: object) -> float:
    try:
        return units.percent(value)
    except ValueError:
        raise expected('a percentage such as "80%"', value) from None


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        words = value
    elif isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise Wrong(f"can't be split into words: {str(error).lower()}: {shown(value)}") from None
    else:
        raise expected("a command: text, or an array of words", value)
    if any("\0" in word for word in words):
        raise Wrong("must not contain a NUL character")
    if words and not words[0]:
        raise Wrong("its first word, the program to run, is empty")
    return tuple(words)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise expected("text in quotes", value)
    return value


def _path(value: object) -> str:
    if not _text(value):
        raise expected("a path", value)
    return _text(value)


def _file(value: object) -> str:
    text = _text(value)
    name = text.replace("{program}", "").replace("{replica}", "")
    if not text or text in (".", "..") or len(text) > 200 or not name.isprintable() or set(name) & set("/{}$"):
        raise expected(
            'a file name such as "web.{replica}.log" (no folder; {program} and {replica} are replaced)', value
        )
    return text


def _pattern(value: object) -> str:
    try:
        re.compile(_text(value))
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong(f"is not a regular expression: {error}: {shown(value)}") from None
    return _text(value)


def _signal(value: object) -> str:
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if name not in SIGNALS:
        wrong = expected('a signal such as "TERM"', value)
        raise Wrong(str(wrong), _quoted(nearest(name, SIGNALS)))
    return name


def _address(value: object) -> str:
    if _text(value).startswith("udp:"):
        raise Wrong(f"UDP is not forwarded, only connections (TCP and Unix sockets): {shown(value)}")
    try:
        address_parts(_text(value))
    except ValueError:
        raise expected('an address such as "127.0.0.1:8000", "[::1]:8000" or "unix:web.sock"', value) from None
    return _text(value)


def _url(value: object) -> str:
    text = _text(value)
    plain_text = text.isascii() and text.isprintable() and not any(map(str.isspace, text))
    if not plain_text or not (_is_url_of_unix(text) if text.startswith("http://unix:") else _is_url(text)):
        raise expected('a URL such as "http://127.0.0.1:${PORT}/healthz" or "http://unix:${PORT}:/healthz"', value)
    return text


def _is_url(text: str) -> bool:
    try:
        split = urlsplit(re.sub(r"\$\{\w+\}", "1", text))
        return bool(split.scheme == "http" and split.hostname and split.port != 0 and "@" not in split.netloc)
    except ValueError:
        return False


def _is_url_of_unix(text: str) -> bool:
    return re.fullmatch(r"http://unix:(/|\$\{\w+\}).*?:/.*", text) is not None


def _octal(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"[0-7]{1,4}", value):
        raise expected('octal digits in quotes such as "022"', value)
    return int(value, 8)


def _schedule(value: object) -> str:
    try:
        return cron.checked(_text(value))
    except ValueError as error:
        raise Wrong(f'expected five cron fields such as "0 3 * * *", got {shown(value)}: {error}') from None


def _action(value: object) -> str:
    text = _text(value)
    if text.startswith("signal:"):
        return f"signal:{_signal(text.removeprefix('signal:'))}"
    if text not in ACTIONS:
        raise Wrong(
            f'expected "restart", "warn", "stop" or a signal such as "signal:USR1", got {shown(value)}',
            _quoted(nearest(text, ACTIONS)),
        )
    return text


def _source(value: object) -> str:
    text = _text(value)
    if text not in ("notify", "output") and not (text.startswith("file:") and len(text) > len("file:")):
        hint = _quoted(nearest(text, ("notify", "output")))
        raise Wrong(f'expected "notify", "output" or "file:PATH", got {shown(value)}', hint)
    return text


_READERS: Final[dict[Kind, Callable[[object], Any]]] = {
    "duration": _duration, "size": _size, "percent": _percent, "command": _command, "path": _path, "file": _file,
    "pattern": _pattern, "signal": _signal, "address": _address, "url": _url, "octal": _octal,
    "schedule": _schedule, "action": _action, "source": _source,
}  # fmt: skip


def _is(kind: Any, value: object) -> bool:
    if get_origin(kind) is tuple:
        members = get_args(kind)
        return isinstance(value, list) and len(value) == len(members) and all(map(_is, members, value))
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(kind, type) and isinstance(value, kind)


def _in_words(kind: Any) -> str:
    names = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    words = []
    for member in alternatives(kind):
        if options := choices(member):
            words.append(" or ".join(_quoted(word) for word in options))
        elif get_origin(member) is tuple:
            words.append("an array of two whole numbers")
        else:
            words.append(names[member])
    return " or ".join(words)


def _choice(value: str, words: list[str], others: bool) -> str:
    if value in words:
        return value
    listed = ", ".join(_quoted(word) for word in words)
    what = f"{listed} or a number" if others else f"one of {listed}"
    raise Wrong(f"expected {what}, got {shown(value)}", _quoted(nearest(value, words)))


def _bounded(value: Any, option: Option) -> Any:
    if isinstance(value, bool | str):
        return value
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        if math.isnan(number) or (option.minimum is not None and number < option.minimum):
            raise Wrong(f"must be at least {in_unit(option, option.minimum or 0)}")
        if option.maximum is not None and number > option.maximum:
            raise Wrong(f"must be at most {in_unit(option, option.maximum)}")
    return value


def in_unit(option: Option, number: float) -> str:
    """A number of the model as the operator would write it."""
    if option.kind == "duration":
        return units.duration_text(number)
    if option.kind == "size":
        return units.size_text(int(number))
    if option.kind == "percent":
        return units.percent_text(number)
    if option.kind == "octal":
        return f"{int(number):03o}"
    return f"{number:g}" if isinstance(number, float) and not number.is_integer() else str(int(number))


def _quoted(text: str) -> str:
    return f'"{text}"' if text else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
