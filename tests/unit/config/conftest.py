"""A folder to write configuration into, and the two things one wants to know: the model, or the faults."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hasup.config import ConfigError, load
from hasup.model.spec import Config

# The same examples in every run, and no judgement of how fast the machine is just now.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("steady")

ENVIRON = {"PATH": "/bin", "HOME": "/home/op"}


class Folder:
    """Writes files, loads one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "hasup.toml") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return file

    def load(self, text: str, name: str = "hasup.toml", environ: Mapping[str, str] = ENVIRON) -> Config:
        return load(self.write(text, name), environ, self.path)

    def faults(self, text: str, name: str = "hasup.toml", environ: Mapping[str, str] = ENVIRON) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, name, environ)
        return [str(fault) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def program_faults(folder: Folder) -> Callable[[str], list[str]]:
    """The faults of one program; the given text begins on line 3."""
    return lambda text: folder.faults(f'[programs.web]\ncommand = "x"\n{text}\n')
