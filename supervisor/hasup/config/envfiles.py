"""Files of environment variables, by python-dotenv's rules."""

import io
from collections.abc import Mapping

from hasup.config.node import Faults, Node
from hasup.config.sources import Unusable, text_of
from hasup.config.walk import ENVIRONMENT_NAME


class EnvFiles:
    """Reads each file once."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._read: dict[str, dict[str, str]] = {}

    def read(self, nodes: Mapping[str, Node]) -> dict[str, str]:
        """What the files say, later over earlier; ``nodes`` are the options that name them, by absolute path.

        A file that is missing, unreadable or not well-formed is a fault.
        """
        merged: dict[str, str] = {}
        for file, node in nodes.items():
            if file not in self._read:
                self._read[file] = self._values(file, node)
            merged.update(self._read[file])
        return merged

    def _values(self, file: str, node: Node) -> dict[str, str]:
        try:
            return _values(text_of(file), file, self._faults)
        except Unusable as error:
            self._faults.add(node, f"{file} {error}")
            return {}


def _values(text: str, file: str, faults: Faults) -> dict[str, str]:
    from dotenv.main import DotEnv
    from dotenv.parser import parse_stream

    good = []
    for binding in parse_stream(io.StringIO(text)):
        name, value = binding.key, binding.value
        if binding.error or (name is not None and not ENVIRONMENT_NAME.fullmatch(name)) or "\0" in (value or ""):
            faults.add_file(file, "is not a line such as NAME=value", binding.original.line)
        else:
            good.append(binding.original.string)
    found = DotEnv(dotenv_path=None, stream=io.StringIO("".join(good)), verbose=False, interpolate=True).dict()
    return {name: value for name, value in found.items() if value is not None}
