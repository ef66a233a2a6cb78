"""`bailiwick explain`: where a pod or model may run and why not elsewhere, and what a node is for each policy."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli import answers
from bailiwick.cli.files.manifests import UnusableError, read
from bailiwick.cli.live import reaching
from bailiwick.cli.live.explanations import explain_model, explain_node, explain_pod
from bailiwick.cli.tables import Style, Tone, harmless
from bailiwick.cluster import resources
from bailiwick.cluster.errors import ApiError, NotFound
from bailiwick.cluster.listwatch import Feed
from bailiwick.cluster.pace import Pace
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.residency.policies import exempt_namespaces

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from bailiwick.cli.live.explanations import Explanation, Judged
    from bailiwick.cluster.api import Api
    from bailiwick.cluster.resources import Resource
    from bailiwick.cluster.store import Store

FINE, FAILED, OUTSIDE = 0, 1, 3
_OWN = "bailiwick-system"
_KINDS = {
    "pod": resources.PODS, "pods": resources.PODS, "po": resources.PODS,
    "model": resources.SOVEREIGN_MODELS, "smodel": resources.SOVEREIGN_MODELS,
    "sovereignmodel": resources.SOVEREIGN_MODELS, "sovereignmodels": resources.SOVEREIGN_MODELS,
    "node": resources.NODES, "nodes": resources.NODES, "no": resources.NODES,
}  # fmt: skip
_MOST_NODES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = "It exits with 3 when the pod, or the endpoint of the model, is where it may not be."
    parser.add_argument("subject", metavar="pod/NAME|model/NAME|node/NAME", help="what is explained")
    reaching.add_namespace(parser)
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="how it is written")
    reaching.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Explain and print; returns the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # errors are told once, below
    try:
        told = asyncio.run(_explain(arguments))
    except (ApiError, UnusableError) as error:
        why = reaching.told(error) if isinstance(error, ApiError) else str(error)
        sys.stderr.write(f"bailiwick explain: {why}\n")
        return FAILED
    answers.write(arguments.output, told.as_json, lambda style: lines(told, style))
    return OUTSIDE if told.allowed is False else FINE


async def _explain(arguments: argparse.Namespace) -> Explanation:
    kind, name = _subject(arguments.subject)
    namespace = reaching.namespace(arguments) if kind.namespaced else None
    async with reaching.reach(arguments) as api:
        try:
            raw = await api.get(kind, name, namespace)
        except NotFound as error:
            where = f" in namespace {namespace}; another is chosen by -n" if namespace else ""
            raise UnusableError(f"there is no {kind.kind} {name}{where}") from error
        world = await _world(api)
    if kind is resources.NODES:
        facts = world.facts().get(name)
        if facts is None:
            raise UnusableError(f"node {name} went away while it was looked at")
        return explain_node(world, name, facts)
    if kind is resources.PODS:
        return explain_pod(world, raw)
    return explain_model(world, read(SovereignModel, raw, f"{namespace}/{name} in the cluster"))


def _subject(written: str) -> tuple[Resource, str]:
    """Kind and name, as kubectl has them."""
    kind, slash, name = written.partition("/")
    if not slash or not name or kind.lower() not in _KINDS:
        raise UnusableError(f"{written} says no kind and name; write pod/NAME, model/NAME or node/NAME")
    return _KINDS[kind.lower()], name


async def _world(api: Api) -> World:
    """What the operator judges by, listed once. Raises UnusableError for what may not be listed."""
    stores = Stores()
    await asyncio.gather(*(list_into(store, api) for store in judged_by(stores)))
    now = datetime.now(UTC)
    return World(stores, clock=lambda: now, exempt=exempt_namespaces(_OWN))


def judged_by(stores: Stores) -> Sequence[Store]:
    """The stores of all that decides where something may run."""
    return (
        stores.policies, stores.jurisdictions, stores.authorities, stores.statements, stores.endpoints, stores.waivers,
        stores.approvals, stores.classes, stores.territories, stores.nodes, stores.namespaces,
    )  # fmt: skip


async def list_into(store: Store, api: Api) -> None:
    """Fill a store once. Raises UnusableError where that may not be, or is not served."""
    try:
        await Feed(api=api, store=store, on_list=lambda _: None, pace=Pace()).relist()
    except ApiError as error:
        if error.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
            raise UnusableError(reaching.refused(error, store.resource)) from error
        raise


def lines(told: Explanation, style: Style) -> Iterator[str]:
    """For people: the sentence, what it follows from, where it may run, and why not elsewhere."""
    tone = {True: Tone.GOOD, False: Tone.BAD, None: Tone.HEADING}[told.allowed]
    yield style.paint(told.summary, tone)
    width = max((len(name) for name, _ in told.facts), default=0)
    for name, what in told.facts:
        yield from style.paragraph(f"{name:<{width}}   {what}", indent=2)
    if told.judged:
        yield ""
        yield from _policies(told.judged, style) if told.by_policy else _nodes(told.judged, style)
    for each in told.notes:
        yield ""
        yield from style.paragraph(f"note: {each}", indent=0)


def _policies(judged: Sequence[Judged], style: Style) -> Iterator[str]:
    for each in judged:
        verdict = each.verdict
        yield style.paint(
            f"{'inside ' if verdict.allowed else 'outside'}   {each.where}", Tone.GOOD if verdict.allowed else Tone.BAD
        )
        if verdict.message:
            yield from style.paragraph(str(verdict), indent=4)


def _nodes(judged: Sequence[Judged], style: Style) -> Iterator[str]:
    open_to = [each for each in judged if each.verdict.allowed]
    yield style.paint(f"MAY RUN ON ({len(open_to)})", Tone.HEADING)
    yield from style.table(("NODE", "PLACE"), [(each.where, each.place) for each in open_to]) if open_to else ["none"]
    for each in open_to:
        if each.verdict.message:
            yield from style.paragraph(f"{each.where}, in spite of {each.verdict}", indent=2)
    groups: defaultdict[str, list[Judged]] = defaultdict(list)
    for each in judged:
        if not each.verdict.allowed:
            groups[each.verdict.reason.value].append(each)
    if groups:
        yield ""
        yield style.paint(f"NOT ON ({len(judged) - len(open_to)})", Tone.HEADING)
    for reason, found in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        some = ", ".join(each.where for each in found[:_MOST_NODES])
        more = f" and {len(found) - _MOST_NODES} more" if len(found) > _MOST_NODES else ""
        yield f"{style.paint(reason, Tone.BAD)} {len(found)}: {harmless(some)}{more}"
        yield from style.paragraph(found[0].verdict.message, indent=4)
