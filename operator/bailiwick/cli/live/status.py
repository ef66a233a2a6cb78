"""`bailiwick status`: how policies and models stand in a cluster, and first of all what is not as it should be."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.cli.files.manifests import UnusableError
from bailiwick.cli.live import reaching
from bailiwick.cli.live.overview import as_json, overview
from bailiwick.cli.live.status_text import lines
from bailiwick.cli.tables import Style
from bailiwick.cluster import resources, trim
from bailiwick.cluster.errors import ApiError
from bailiwick.cluster.listwatch import Feed, Scope
from bailiwick.cluster.pace import Pace
from bailiwick.cluster.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from bailiwick.cli.live.overview import Overview
    from bailiwick.cluster.api import Api
    from bailiwick.cluster.resources import Resource

FINE, FAILED = 0, 1
REFRESH_SECONDS = 10.0
"""Without any change the view is made anew, because proofs grow old by themselves."""
GATHER_SECONDS = 0.2
"""What changes together is shown together."""
LOOK_AGAIN_SECONDS = 60.0
SILENT_SECONDS = 90.0
"""A watch that works is confirmed each minute."""
_KINDS = (resources.RESIDENCY_POLICIES, resources.TERRITORIES, resources.SOVEREIGN_MODELS)
_FINAL = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_HOME, _TO_END_OF_LINE, _TO_END_OF_SCREEN = "\033[H", "\033[K", "\033[J"
_CLIP, _WRAP = "\033[?7l", "\033[?7h"
"""A table that is wider than the terminal ends at its edge: a line that went on below would count twice."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = "It exits with 0 when it could look, whatever it saw; programs read `findings` of -o json."
    reaching.add_namespace(parser, every="models of all namespaces")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="how it is written")
    parser.add_argument("-w", "--watch", action="store_true", help="go on, and show every change until interrupted")
    reaching.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Look and print; returns the exit code."""
    # What is missing is told where it is looked for; a log between the lines of a table helps nobody.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        asyncio.run(_status(arguments))
    except (ApiError, UnusableError) as error:
        why = reaching.told(error) if isinstance(error, ApiError) else str(error)
        sys.stderr.write(f"bailiwick status: {why}\n")
        return FAILED
    return FINE


async def _status(arguments: argparse.Namespace) -> None:
    namespace = None if arguments.all_namespaces else reaching.namespace(arguments)
    screen = Screen(arguments.output, watch=arguments.watch)
    async with reaching.reach(arguments) as api:
        view = View(api, namespace)
        await view.look()
        screen.show(view)
        if arguments.watch:
            await view.follow(screen)


class View:
    """What is known of the cluster: the kinds that are shown, each as current as its watch."""

    def __init__(self, api: Api, namespace: str | None) -> None:
        self.namespace = namespace
        self._pace = Pace()
        self._stores = {each: Store(each, trim=trim.whole) for each in _KINDS}
        self._refused: dict[Resource, str] = {}
        self._changed = asyncio.Event()
        self._feeds = {
            resource: Feed(
                api=api, store=store, on_list=lambda _: self._changed.set(), pace=self._pace,
                scope=Scope(namespace=namespace if resource.namespaced else None),
            )
            for resource, store in self._stores.items()
        }  # fmt: skip

    async def look(self) -> None:
        """List everything once. Raises ApiError where nobody answers, and UnusableError where nothing may be seen."""
        outcomes = await asyncio.gather(*(feed.relist() for feed in self._feeds.values()), return_exceptions=True)
        failures = [(kind, each) for kind, each in zip(self._feeds, outcomes, strict=True) if not isinstance(each, str)]
        for kind, failure in failures:
            if not isinstance(failure, ApiError) or failure.status not in _FINAL:
                raise failure
            self._refused[kind] = reaching.refused(failure, kind)
        if len(self._refused) == len(_KINDS):
            raise UnusableError("; ".join(self._refused.values()))

    async def follow(self, screen: Screen) -> None:
        """Show every change, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, feed in self._feeds.items():
                tasks.create_task(
                    feed.list_and_watch_if_served(
                        lambda _: self._changed.set(), partial(self._tell, kind), LOOK_AGAIN_SECONDS
                    )
                )
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), REFRESH_SECONDS)
                    await self._pace.sleep(GATHER_SECONDS)
                self._changed.clear()
                screen.show(self)

    def _tell(self, kind: Resource, served: bool) -> None:
        if served and kind in self._refused:
            del self._refused[kind]
            self._changed.set()

    @property
    def silence(self) -> float:
        """Seconds since something that should be heard of was; 0 while all is current."""
        now = self._pace.clock()
        oldest = max((store.age(now) for kind, store in self._stores.items() if kind not in self._refused), default=0.0)
        return oldest if oldest > SILENT_SECONDS else 0.0

    def told(self) -> Mapping[str, Any]:
        """For programs."""
        return as_json(self.overview())

    def overview(self) -> Overview:
        """Everything as of now."""
        policies, territories, models = ([raw for _, raw in self._stores[kind].items()] for kind in _KINDS)
        unseen = tuple(dict.fromkeys(self._refused.values()))
        return overview(policies, territories, models, now=datetime.now(UTC), unseen=unseen)


@dataclass
class Screen:
    """Standard output: one view below the other, or each in the place of the last on a terminal."""

    output: str
    watch: bool
    _shown: str | None = None

    def show(self, view: View) -> None:
        """Write it. A view that is the last one again is not written again, but on a terminal."""
        style = Style.of(sys.stdout)
        if self.output == "table":
            if self.watch and style.width:
                self._redraw(view, style, first=self._shown is None)
                self._shown = ""
                return
            text = "\n".join(self._lines(view, style)) + "\n"
        else:
            text = _written(self.output, view.told(), watch=self.watch)
        if text != self._shown:
            between = "\n" if self._shown is not None and self.output == "table" else ""
            sys.stdout.write(between + text)
            sys.stdout.flush()
            self._shown = text

    def _lines(self, view: View, style: Style, *, brief: bool = False) -> list[str]:
        now = datetime.now(UTC)
        head = _head(view, style, now, watch=self.watch)
        return [*head, *lines(view.overview(), style, now, view.namespace, brief=brief)]

    def _redraw(self, view: View, style: Style, *, first: bool) -> None:
        """The screen anew, as much as it holds: what is worst stands first, and tables before explanations."""
        height = shutil.get_terminal_size().lines - 1
        written = self._lines(view, style)
        if len(written) > height:
            written = self._lines(view, style, brief=True)
        if len(written) > height:
            written = [*written[: height - 1], f"... and {len(written) - height + 1} lines more"]
        sys.stdout.write(_CLIP + (_HOME + _TO_END_OF_SCREEN if first else "") + _HOME)
        sys.stdout.write("".join(f"{line}{_TO_END_OF_LINE}\n" for line in written) + _TO_END_OF_SCREEN + _WRAP)
        sys.stdout.flush()


def _written(output: str, told: Mapping[str, Any], *, watch: bool) -> str:
    """JSON (one line for each view, where several follow), or YAML documents."""
    if output == "json":
        return json.dumps(told, indent=None if watch else 2) + "\n"
    text = yaml.safe_dump(dict(told), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}" if watch else text


def _head(view: View, style: Style, now: datetime, *, watch: bool) -> list[str]:
    """Whether what is shown is current, where that is not a matter of course."""
    if view.silence:
        return [f"not current: the API server has told nothing for {view.silence:.0f} s", ""]
    return [f"{now:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C ends", ""] if watch and style.width else []
