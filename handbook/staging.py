"""What the site is built from: docs/ as it stands, and a page for each file of the repository that it links to.

The pages of docs/ link to policies, samples and tests beside them. On the site these links lead to pages that show the
files, so a reader without the repository, or without a way out, sees what is spoken of.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = PurePosixPath("docs")
FILES = PurePosixPath("files")
"""Where files of the repository are, among the pages."""
LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python", ".json": "json", ".toml": "toml", ".cfg": "text"}
UNSHOWN = {"__pycache__"}
UNLINKED = PurePosixPath("tests")
"""Folders below are listed, but only the files that a page names are shown."""
_FENCE = re.compile(r"^ *(```|~~~)")
_CODE = re.compile(r"(`+).*?\1")
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_ELSEWHERE = re.compile(r"[a-z]+:|#|/")
_HEAD = "---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n\n"
"""Of pages that show files: the search is for docs/, and lines of code want the whole width."""


class MissingFileError(Exception):
    """A page links to something that the repository does not have."""


@dataclass(slots=True)
class Staging:
    """Pages by their path below the folder that the site is built from, made from a repository at ``root``."""

    root: Path
    pages: dict[PurePosixPath, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Everything into ``folder``, which is emptied first. Raises MissingFileError."""
        self.collect()
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in self.pages.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for path in self._assets():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / DOCS / path, folder / path)

    def collect(self) -> None:
        """Every page of docs/, and what they lead to. Raises MissingFileError."""
        for path in sorted((self.root / DOCS).rglob("*.md")):
            source = PurePosixPath(path.relative_to(self.root).as_posix())
            self.pages[source.relative_to(DOCS)] = self._linked(source, path.read_text())

    def _assets(self) -> Iterator[PurePosixPath]:
        """Style sheets and pictures of docs/."""
        for path in sorted((self.root / DOCS).rglob("*")):
            if path.is_file() and path.suffix != ".md":
                yield PurePosixPath(path.relative_to(self.root / DOCS).as_posix())

    def _linked(self, source: PurePosixPath, text: str) -> str:
        """``text`` of the file ``source`` with the links as they are between the pages."""
        lines, fenced = [], False
        for line in text.splitlines():
            if _FENCE.match(line):
                fenced = not fenced
            lines.append(line if fenced else self._relinked(source, line))
        return "\n".join(lines) + "\n"

    def _relinked(self, source: PurePosixPath, line: str) -> str:
        codes = [found.span() for found in _CODE.finditer(line)]

        def page_of(link: re.Match[str]) -> str:
            if _ELSEWHERE.match(link[0]) or any(begin <= link.start() < end for begin, end in codes):
                return link[0]
            named, hash_sign, anchor = link[0].partition("#")
            there = PurePosixPath(normpath(source.parent / named))
            return f"{relpath(self._page(there, source), _page_path(source).parent)}{hash_sign}{anchor}"

        return _LINK.sub(page_of, line)

    def _page(self, path: PurePosixPath, source: PurePosixPath) -> PurePosixPath:
        """The page that shows ``path`` of the repository; it is made if it is none of docs/."""
        if not (self.root / path).exists() or path.parts[0] == "..":
            raise MissingFileError(f"{source} links to {path}, which the repository does not have")
        if (self.root / path / "README.md").exists():
            path /= "README.md"
        page = _page_path(path, folder=(self.root / path).is_dir())
        if path.is_relative_to(DOCS) or page in self.pages:
            return page
        self.pages[page] = ""  # it is under way: two files may link to each other
        self.pages[page] = _HEAD + self._shown(path)
        return page

    def _shown(self, path: PurePosixPath) -> str:
        here = self.root / path
        if here.is_dir():
            inside = sorted(each for each in here.iterdir() if each.name not in UNSHOWN and each.name[0] != ".")
            names = [f"{each.name}{'/' * each.is_dir()}" for each in inside]
            named = [f"`{name}`" if path.is_relative_to(UNLINKED) else f"[{name}]({name})" for name in names]
            listing = self._linked(path / "README.md", "\n".join(f"- {each}" for each in named))
            return f"# {path}/\n\n{listing}"
        text = here.read_text()
        if path.suffix == ".md":
            return self._linked(path, text)
        language = "dockerfile" if path.name == "Containerfile" else LANGUAGES.get(path.suffix, "text")
        return f"# {path.name}\n\n`{path}`\n\n~~~~~{language}\n{text.rstrip()}\n~~~~~\n"


def _page_path(path: PurePosixPath, *, folder: bool = False) -> PurePosixPath:
    """Where the page of a file is among the pages; a folder's is its index."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS)
    if folder:
        return FILES / path / "index.md"
    return FILES / path if path.suffix == ".md" else FILES / path.with_name(f"{path.name}.md")
