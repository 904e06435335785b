"""``hasup report --html``: a page that needs nothing else."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hasup.cli import svg
from hasup.report.model import Mode
from tests.support.cli import Place
from tests.support.hour import UNTIL, Writer

VOID = {"meta", "br", "rect", "line", "path"}


class Page(HTMLParser):
    """Checks that every element is closed, in order; collects texts and classes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.texts).split())


def written(place: Place, *argv: str) -> tuple[str, Page]:
    assert place.hasup("report", "--html", "page.html", *argv) == (0, "wrote page.html\n", "")
    text = (place.folder / "page.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_what_it_says(an_hour: Place) -> None:
    _, page = written(an_hour, *UNTIL)
    for words in (
        "All together", "99.00%", "83.86% to 99.947%", "2 of 2 needed, 99.00% together with db", "59m 24s",
        "12m 31s to 19h 18m", "Objective 99%: 100% of the error budget is spent, 36s of 36s; burn rate 1h: 1.0",
        "waited to be started 30s", "started 6.0s", "1 incident", "exited with code 3", "2026-01-31 12:16:40",
        "hasup's own core was replaced once",
    ):  # fmt: skip
        assert words in page.said, words


def test_it_needs_nothing_else(an_hour: Place) -> None:
    text, page = written(an_hour)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_names_and_reasons_are_only_text(place: Place) -> None:
    evil = '<script>alert(1)</script>"&'
    events = Writer()
    events.own(0, "hasup-started")
    events.move(0, "web.1", "stopped", "starting")
    events.move(0, "web.1", "starting", "running")
    events.move(1000, "web.1", "running", "backoff", evil, result="signal")
    events.move(2000, f"{evil}.1", "running", "backoff", evil, result="signal")
    events.keep(place)
    text, page = written(place)
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.said.count(evil) >= 3


def test_a_page_on_nothing(place: Place) -> None:
    assert "web" in written(place)[1].said


def test_a_file_that_cannot_be_written(an_hour: Place) -> None:
    ended = an_hour.hasup("report", "--html", "nowhere/page.html")
    assert ended == (1, "", "hasup: can't write nowhere/page.html: No such file or directory\n")
    assert not list(Path(an_hour.folder).glob("*.new"))


def test_a_short_outage_can_be_seen() -> None:
    drawn = svg.bar([{Mode.UP: 0.9999, Mode.DOWN: 0.0001}, {Mode.UP: 0.2, Mode.DOWN: 0.8}, {Mode.DOWN: 1.0}], "x")
    assert re.findall(r'"down".*?height="([\d.]+)"', drawn) == ["12", "32", "40"]
    assert re.findall(r'"up".*?height="([\d.]+)"', drawn) == ["40", "40"]


def test_the_axis_holds_all_that_is_shown() -> None:
    rows = [svg.Whisker("a", 100.0, 50.0, 400.0), svg.Whisker("b", None, 700.0, None)]
    assert svg.scale(rows) == [10, 60, 600, 3600]
    assert svg.position(10, [10, 1000]) == 0
    assert svg.position(100, [10, 1000]) == pytest.approx(0.5)
    assert len(svg.scale([])) >= 2
    assert svg.scale([svg.Whisker("a", 1e12, 1e11, 1e13)])[-1] == svg.TICKS[-1]
    assert "whisker" in svg.whisker(rows[1], svg.scale(rows), "b")
