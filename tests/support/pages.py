"""The files that pages of the documentation show, so that tests can run what they say."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(page: str, section: str) -> dict[str, str]:
    """File name -> text: the code blocks under a heading of a page whose opening line names a file."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    return dict(BLOCK.findall(dict(zip(parts[1::2], parts[2::2], strict=True))[section]))
