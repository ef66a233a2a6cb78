"""Where rows are tried: an attempt must be refused by the right hand for the right reason, and the table is told.

A row that one request decides is data (rows.py). One that takes several is a story: a function that plays it on the
stage, named after the row.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.demo import scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.border.attempts import Manifest
    from e2e.border.table import Table
    from e2e.demo.attacks import Attempt
    from e2e.demo.install import Installed
    from e2e.kubectl import Answer, Kubectl


@dataclass(frozen=True, slots=True)
class Stage:
    """One row while it is tried."""

    number: int
    title: str
    installed: Installed
    table: Table

    @property
    def kubectl(self) -> Kubectl:
        """Cluster-admin."""
        return self.installed.kubectl

    def refused(self, *attempts: Attempt, by: Kubectl | None = None) -> None:
        """Each must be refused by what it names; raises AssertionError with the answer.

        ``by`` has credentials of its own; else cluster-admin acts as whoever tries.
        """
        for tried in attempts:
            begin = time.monotonic()
            answer = scenes.attempt(by or self.kubectl, tried)
            took = time.monotonic() - begin
            assert scenes.is_held(tried, answer), f"{tried.name}: {answer.text}"
            self.tell(_by(tried), took)

    def passes(self, *controls: Attempt) -> None:
        """Each must be accepted; raises AssertionError with the answer."""
        for tried in controls:
            answer = scenes.attempt(self.kubectl, tried)
            assert answer.accepted, f"the control, {tried.name}: {answer.text}"

    def tell(self, stopped_by: str, seconds: float) -> None:
        """One attempt was stopped, so many seconds after it was made."""
        self.table.add(self.number, self.title, stopped_by, seconds)

    def as_(self, who: str, *arguments: str, manifest: str | None = None) -> Answer:
        """What somebody types."""
        return self.kubectl.run([f"--as={who}", *arguments], standard_input=manifest)

    @contextmanager
    def there(self, *manifests: Manifest) -> Iterator[None]:
        """While this holds, these objects are there."""
        self.kubectl.apply(*manifests)
        try:
            yield
        finally:
            for each in reversed(manifests):
                metadata = each["metadata"]
                where = ("-n", metadata["namespace"]) if "namespace" in metadata else ()
                group = each["apiVersion"].rpartition("/")[0]
                kind = f"{each['kind']}.{each['apiVersion'].rpartition('/')[2]}.{group}" if group else each["kind"]
                gone = ("--ignore-not-found", "--grace-period=1", "--wait=true")
                self.kubectl.must("delete", kind, metadata["name"], *where, *gone, timeout=120)


def _by(tried: Attempt) -> str:
    """Who stopped it, for the table."""
    if tried.stopped_by.startswith("bailiwick-"):
        return f"`{tried.stopped_by}` {tried.reason}"
    return f"the webhook {tried.reason}" if tried.stopped_by.endswith(" denied") else "the API server itself"


@dataclass(frozen=True, slots=True)
class Story:
    """One way around that takes more than one request."""

    number: int
    title: str
    play: Callable[[Stage], None]

    def __str__(self) -> str:
        return f"{self.number:02}-{self.title.replace(' ', '-')}"
