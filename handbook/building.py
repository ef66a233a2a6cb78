"""From the repository to the site, or a sentence for each thing that is wrong with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from handbook.reading import faults
from handbook.staging import MissingFileError, Staging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = "mkdocs.yml"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class SiteError(Exception):
    """The site cannot be built, or is not as it must be; the message has one line for each fault."""


def build(root: Path, site: Path) -> None:
    """Build the site of the repository at ``root`` into ``site``. Raises SiteError."""
    configuration = yaml.safe_load((root / CONFIGURATION).read_text())
    if wrong := list(navigation_faults(root / "docs", configuration["nav"])):
        raise SiteError("\n".join(wrong))
    work = site.with_name(f"{site.name}-source")
    try:
        Staging(root).write(work / "pages")
    except MissingFileError as error:
        raise SiteError(str(error)) from None
    told = {**configuration, "docs_dir": "pages", "site_dir": "site"}  # it writes nowhere but below its configuration
    (work / CONFIGURATION).write_text(yaml.safe_dump(told, sort_keys=False))
    _run(work)
    if wrong := faults(work / "site"):
        raise SiteError("\n".join(wrong))
    shutil.rmtree(site, ignore_errors=True)
    (work / "site").rename(site)


def navigation_faults(docs: Path, navigation: list[Any]) -> Iterator[str]:
    """Pages that no reader would find, and entries that lead to no page or are there twice."""
    named = list(_named(navigation))
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    yield from (f"docs/{page} is not in the navigation ({CONFIGURATION})" for page in sorted(there - set(named)))
    yield from (f"{CONFIGURATION}: there is no docs/{page}" for page in sorted(set(named) - there))
    yield from (f"{CONFIGURATION}: {page} is there twice" for page in sorted({e for e in named if named.count(e) > 1}))


def _named(navigation: Any) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    else:
        for each in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from _named(each)


def _run(work: Path) -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        told = _COLOUR.sub("", done.stdout + done.stderr).partition("Traceback")[0]
        raise SiteError(told.strip())
