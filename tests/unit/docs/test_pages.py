"""Pages whose configurations are run by tests: each loads, also where the program that it runs is not installed."""

import re

import pytest

from hasup.config import load
from tests.support.pages import DOCS, files

COMMON = "What the three have in common"
SERVERS = ("gunicorn", "uvicorn", "hypercorn", "nginx", "Node", "Python", "granian")
FRONTS = ("nginx", "HAProxy", "Caddy")


def configurations() -> list[tuple[str, str]]:
    found = []
    for section in SERVERS:
        shown = files("how-to/servers.md", section)
        found += [(f"{section}, {name}", text) for name, text in shown.items() if name.endswith(".toml")]
    common = files("how-to/front.md", COMMON)["hasup.toml"]
    found += [(f"{one} in front", common + files("how-to/front.md", one)["hasup.toml"]) for one in FRONTS]
    return found


@pytest.mark.parametrize(("what", "text"), configurations())
def test_it_loads(tmp_path, what, text):
    (tmp_path / "hasup.toml").write_text(text)
    assert load(tmp_path / "hasup.toml", {}, tmp_path).programs


@pytest.mark.parametrize(
    ("page", "sections"), [("servers.md", {*SERVERS, "Measured"}), ("front.md", {COMMON, *FRONTS})]
)
def test_no_section_is_left_out(page, sections):
    assert set(re.findall(r"^## (.+)$", (DOCS / "how-to" / page).read_text(), re.MULTILINE)) == sections
