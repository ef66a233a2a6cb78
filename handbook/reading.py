"""The built pages as a browser reads them: what they link to, and what they would fetch."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urldefrag, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
           "embed": "src", "object": "data", "input": "src", "track": "src"}  # fmt: skip
"""Attributes whose address a browser fetches to show a page."""
FOLLOWED = {"a", "area"}
NOT_FETCHED = {"canonical", "next", "prev", "alternate"}
"""Relations of <link> that say something and fetch nothing."""
LOADS_ABROAD = {"mermaid", "pyodide", "glightbox"}
"""Classes for which the theme's script loads a library from another host."""
_IN_STYLE = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"\s]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)")


@dataclass(slots=True)
class Page:
    """One HTML file: its anchors, where its links lead, and the addresses that it makes a browser fetch."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The page at ``path``."""
        page = cls(path)
        _Reader(page).feed(path.read_text())
        return page


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag in FOLLOWED and "href" in given:
            self.page.links.append(given["href"])
        if tag == "link" and given.get("rel") not in NOT_FETCHED:
            self.page.fetched.append(given.get("href", ""))
        if FETCHED.get(tag, "") in given:
            self.page.fetched.append(given[FETCHED[tag]])
        self.page.fetched += [f"//{each}.invalid" for each in LOADS_ABROAD & set(given.get("class", "").split())]
        self.page.fetched += _abroad_in(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.page.fetched += _abroad_in(data)


def faults(site: Path) -> list[str]:
    """What is wrong with the built site: links and anchors that lead nowhere, and everything from another host."""
    pages = {path: Page.read(path) for path in sorted(site.rglob("*.html"))}
    found = [f"{_name(site, path)}: {fault}" for path, page in pages.items() for fault in _of(site, page, pages)]
    styles = {path: _abroad_in(path.read_text()) for path in sorted(site.rglob("*.css"))}
    return found + [f"{_name(site, path)}: fetches {each}" for path, every in styles.items() for each in every]


def _of(site: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for address in page.fetched:
        if _is_abroad(address):
            yield f"fetches {address}"
    if page.path.name == "404.html":  # its links are below an address that only a server knows
        return
    for address in page.links:
        if _is_abroad(address) or urlsplit(address).scheme:
            continue
        named, anchor = urldefrag(unquote(address))
        there = (page.path.parent / named).resolve() if named else page.path
        there = there / "index.html" if there.is_dir() else there
        if not there.exists() or not there.is_relative_to(site):
            yield f"{address} leads nowhere"
        elif anchor and there in pages and anchor not in pages[there].anchors:
            yield f"{address} names no heading"


def _is_abroad(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def _abroad_in(style: str) -> list[str]:
    return [found[1] or found[2] for found in _IN_STYLE.finditer(style)]


def _name(site: Path, path: Path) -> str:
    return path.relative_to(site).as_posix()
