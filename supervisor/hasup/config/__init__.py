"""From TOML, pyproject.toml or a Procfile to the model.

The functions here import what they need when they are called: a running hasup uses :mod:`hasup.config.expand` only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hasup.config.faults import ConfigError, Fault
    from hasup.model.spec import Config

__all__ = ["ConfigError", "Fault", "find", "load"]


def __getattr__(name: str) -> object:
    if name in ("ConfigError", "Fault"):
        from hasup.config import faults

        return getattr(faults, name)
    raise AttributeError(f"module 'hasup.config' has no attribute {name!r}")


def load(path: Path | None, environ: Mapping[str, str], cwd: Path, settings: Sequence[str] = ()) -> "Config":
    """The configuration in ``path``, or in the file that :func:`find` finds; raises :class:`ConfigError`.

    ``environ`` is the environment of hasup itself; relative paths count from ``cwd``. ``settings`` are put over what
    is written in the file, each as ``"programs.web.replicas=5"``.
    """
    from hasup.config.loading import load_file

    return load_file(path if path is not None else find(cwd, environ), environ, cwd, settings)


def find(cwd: Path, environ: Mapping[str, str]) -> Path:
    """The file to use when none is named; raises :class:`ConfigError` when there is none.

    ``$HASUP_CONFIG``, else in ``cwd`` or the nearest folder above it: ``hasup.toml``, a ``pyproject.toml`` with
    ``[tool.hasup]``, or a ``Procfile``.
    """
    from hasup.config.sources import find_file

    return find_file(cwd, environ)
