"""How one option of the configuration describes itself.

Every field of :mod:`hasup.model.spec` that a user may write carries an :class:`Option`. Validation, the JSON
Schema, the reference page and ``hasup config`` are all generated from these, so a fact about an option is
written once.
"""

from typing import Literal

import msgspec

Kind = Literal[
    "plain",  # as its type says
    "duration",  # "250ms" "10s" "5m" "2h" "1d" or seconds; held in seconds
    "size",  # "512MB" "512MiB" or bytes; held in bytes
    "percent",  # "80%"; held as 80.0
    "command",  # a string split as a shell splits words, or an array; held as words
    "path",  # relative to the file that names it; held absolute
    "file",  # the name of a file inside a directory that hasup owns
    "pattern",  # a regular expression
    "signal",  # "TERM" or "SIGTERM"; held without SIG
    "address",  # "HOST:PORT", "[V6]:PORT", "unix:PATH", "systemd:NAME"
    "url",  # http://HOST:PORT/PATH
    "octal",  # "022"; held as an integer
    "schedule",  # five cron fields
    "action",  # what a limit does: "restart", "warn", "stop", "signal:NAME"
    "source",  # signs of life: "notify", "output", "file:PATH"
]


class Option(msgspec.Struct, frozen=True):
    """What an option is, beyond its Python type.

    ``doc`` is one line for the reference page. ``kind`` names the reading of the value. ``minimum`` and
    ``maximum`` bound numbers, in the unit in which they are held (seconds, bytes, percent), both inclusive.
    ``shorthand`` names the option of a table that a bare value stands for: ``restart = "always"`` is
    ``restart = { policy = "always" }``. ``long`` names the attribute that takes what a table says which is written
    in place of a plain value: ``replicas = { max = 8 }``.
    """

    doc: str
    kind: Kind = "plain"
    minimum: float | None = None
    maximum: float | None = None
    shorthand: str | None = None
    long: str | None = None
