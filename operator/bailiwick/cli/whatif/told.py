"""A report as people and programs read it: what widens and what stops first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.residencypolicy import Mode
from bailiwick.cli.tables import Tone
from bailiwick.cli.whatif.differences import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bailiwick.cli.tables import Style
    from bailiwick.cli.whatif.differences import (
        ModelMove,
        NodeMove,
        ObjectMove,
        PodsMove,
        PolicyMove,
        Report,
        SpaceMove,
    )

Raw = dict[str, Any]

VERSION: Final = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""
_MOST_NAMED: Final = 12
_MOST_WHERE: Final = 3
_MOST_SENTENCES: Final = 20


def as_json(report: Report) -> Raw:
    """For programs."""
    return {
        "version": VERSION,
        "stops": report.stops,
        "widens": [asdict(each) for each in report.widenings],
        "policies": [_policy_json(each) for each in report.policies],
        "others": [_object_json(each) for each in report.others],
        "namespaces": [asdict(each) | {"stranded": each.stranded} for each in report.spaces],
        "models": [
            asdict(each) | {"subject": str(each.subject), "lost": list(each.lost), "gained": list(each.gained)}
            for each in report.models
        ],
        "seen": dict(report.seen),
        "unseen": list(report.unseen),
    }


def _policy_json(move: PolicyMove) -> Raw:
    return {
        "name": move.name,
        "mode": {"before": move.was, "after": move.becomes},
        "widens": [{"field": each.field, "told": each.told} for each in move.widenings],
        "nodes": {
            "before": move.nodes[0], "after": move.nodes[1],
            "in": [asdict(each) for each in move.come], "out": [asdict(each) for each in move.go],
        },
        "namespaces": {
            "governed": [asdict(each) for each in move.governed], "released": [asdict(each) for each in move.released],
        },
        "objects": {
            "stopped": [_object_json(each) for each in move.stopped],
            "letIn": [_object_json(each) for each in move.let_in],
            "recorded": [_object_json(each) for each in move.recorded],
        },
        "running": {
            "before": move.outside[0], "after": move.outside[1],
            "outside": [_pods_json(each) for each in move.newly_outside],
            "inside": [_pods_json(each) for each in move.inside_again],
            "follows": move.follows,
        },
        "inEnforce": {"objects": move.would[0], "pods": move.would[1]},
    }  # fmt: skip


def _object_json(move: ObjectMove) -> Raw:
    return asdict(move) | {"subject": str(move.subject)}


def _pods_json(move: PodsMove) -> Raw:
    return asdict(move) | {"subject": str(move.subject), "where": list(move.where)}


def lines(report: Report, style: Style) -> Iterator[str]:
    """For people."""
    yield from _summary(report, style)
    if report.widenings:
        yield ""
        yield style.paint(f"WIDENS THE BORDER ({len(report.widenings)})", Tone.BAD)
        for each in report.widenings:
            yield from style.paragraph(str(each), indent=2)
    for policy in report.policies:
        yield ""
        yield from _policy(policy, style)
    if report.others:
        yield ""
        yield style.paint("WHATEVER THE POLICY", Tone.HEADING)
        stopped = [each for each in report.others if each.becomes]
        yield from _objects("refused when it is made again", stopped, style, Tone.BAD)
        yield from _objects(
            "let in, refused today", [each for each in report.others if not each.becomes], style, Tone.DOUBTFUL
        )
    yield from _spaces(report.spaces, style)
    yield from _models(report.models, style)
    yield ""
    seen = ", ".join(f"{count} {what}" for what, count in report.seen.items())
    yield from style.paragraph(f"looked at: {seen}", indent=0)
    for gap in report.unseen:
        yield style.paint(f"not seen: {gap}", Tone.DOUBTFUL)


def _summary(report: Report, style: Style) -> Iterator[str]:
    """The one sentence."""
    stopped = {each.subject: 0 for each in report.stopped}
    for each in report.stopped:
        stopped[each.subject] = max(stopped[each.subject], each.pods)
    outside = sum(each.count for policy in report.policies if policy.enforces for each in policy.newly_outside)
    homeless = sum(bool(each.before) and not each.after for each in report.models)
    stranded = sum(each.stranded for each in report.spaces)
    cut = sum(each.pods for each in report.spaces if each.cut)
    pods = f" ({_count(sum(stopped.values()), 'pod')})" if any(stopped.values()) else ""
    told = (
        stopped and f"refuses {_count(len(stopped), 'object')}{pods} taken today",
        outside and f"leaves {_count(outside, 'pod or claim', 'pods and claims')} outside",
        homeless and f"leaves {_count(homeless, 'model')} without a place",
        stranded and f"leaves {_count(stranded, 'namespace')} without a node",
        cut and f"cuts off {_count(cut, 'pod')} from what they may reach today",
    )
    said = "; ".join(str(each) for each in told if each) or "stops nothing that goes on today"
    whole = ", as far as could be seen" if report.unseen else ""
    wide = f"; and it WIDENS the border in {_count(len(report.widenings), 'way')}" if report.widenings else ""
    tone = Tone.BAD if report.stops or wide else Tone.DOUBTFUL if report.unseen else Tone.GOOD
    yield from (style.paint(line, tone) for line in style.paragraph(f"This change {said}{whole}{wide}.", indent=0))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _policy(move: PolicyMove, style: Style) -> Iterator[str]:
    what = (
        "new" if move.was is None else "removed" if move.becomes is None else "changed" if move.changed else "touched"
    )
    modes = [str(each) for each in dict.fromkeys((move.was, move.becomes)) if each]
    yield style.paint(f"POLICY {move.name} ({what}, {' -> '.join(modes)})", Tone.HEADING)
    if move.was and move.becomes:
        yield f"  nodes inside: {move.nodes[0]} -> {move.nodes[1]}"
    elif move.becomes:
        yield f"  nodes inside: {move.nodes[1]}, outside: {len(move.go)}"
    yield from _nodes(
        "fall out" if move.was else "are outside", move.go, style, Tone.BAD if move.enforces else Tone.DOUBTFUL
    )
    if move.becomes:
        yield from _nodes("come in, outside today", move.come, style, Tone.DOUBTFUL)
    for name, moves, alone in (
        ("governed now", move.governed, "no policy did before"),
        ("let go", move.released, "no policy does any more"),
    ):
        if moves:
            told = [
                f"{each.namespace} ({_count(each.pods, 'pod')}{f', {alone}' if each.alone else ''})" for each in moves
            ]
            yield from style.paragraph(f"namespaces {name} ({len(moves)}): {', '.join(told)}", indent=2)
    yield from _objects("refused when made again", move.stopped, style, Tone.BAD)
    yield from _running("run outside then", move.newly_outside, style, Tone.BAD if move.enforces else Tone.DOUBTFUL)
    if move.newly_outside:
        yield from style.paragraph(f"what runs outside is {move.follows}", indent=4)
    yield from _objects("let in, refused today", move.let_in, style, Tone.DOUBTFUL)
    yield from _running("outside today, and no longer", move.inside_again, style, Tone.DOUBTFUL)
    yield from _objects(
        f"only {'warned of' if move.becomes is Mode.WARN else 'recorded'}", move.recorded, style, Tone.DOUBTFUL
    )
    if move.becomes:
        yield from style.paragraph(_meaning(move), indent=2)


def _meaning(move: PolicyMove) -> str:
    """What the mode makes of all that the policy finds, and what another would."""
    objects, pods = move.would
    found = f"{_count(objects, 'object')} ({_count(pods, 'pod')}) against its rules, and {move.outside[1]} outside"
    if move.enforces:
        return f"mode Enforce: {found}; mode Audit would only record that"
    return f"mode {move.becomes}: {found}, and nothing is refused; mode Enforce would refuse it when it is made again"


def _nodes(what: str, moves: Sequence[NodeMove], style: Style, tone: Tone) -> Iterator[str]:
    if not moves:
        return
    yield f"  {style.paint(f'nodes {what} ({len(moves)})', tone)}"
    groups: defaultdict[str, list[NodeMove]] = defaultdict(list)
    for each in moves:
        groups[each.reason].append(each)
    for reason, found in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        named = some([f"{each.node} ({each.place or 'nobody knows where'})" for each in found], _MOST_NAMED)
        yield from style.paragraph(f"{reason}: {named}", indent=4)
        yield from style.paragraph(found[0].message, indent=6)


def _objects(what: str, moves: Sequence[ObjectMove], style: Style, tone: Tone) -> Iterator[str]:
    """By what is said of them: one sentence for all of whom it is true."""
    if not moves:
        return
    yield f"  {style.paint(f'{what} ({len({each.subject for each in moves})})', tone)}"
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for each in moves:
        pods = f" ({_count(each.pods, 'pod')})" if each.pods else ""
        groups[each.message].append(
            f"{each.subject}{pods}{', which another rule refuses, too' if each.besides else ''}"
        )
    yield from _grouped(groups, style)


def _running(what: str, moves: Sequence[PodsMove], style: Style, tone: Tone) -> Iterator[str]:
    """By reason: the sentence is that of the first node."""
    if not moves:
        return
    yield f"  {style.paint(f'{what} ({sum(each.count for each in moves)})', tone)}"
    groups: defaultdict[str, list[str]] = defaultdict(list)
    first = {each.reason: each.message for each in reversed(moves)}
    for each in moves:
        groups[f"{each.reason}: {first[each.reason]}"].append(
            f"{each.subject} ({each.count} on {some(each.where, _MOST_WHERE)})"
        )
    yield from _grouped(groups, style)


def _grouped(groups: Mapping[str, Sequence[str]], style: Style) -> Iterator[str]:
    for message, found in list(groups.items())[:_MOST_SENTENCES]:
        yield from style.paragraph(message, indent=4)
        yield from style.paragraph(some(found, _MOST_NAMED), indent=6)
    if len(groups) > _MOST_SENTENCES:
        rest = sum(len(found) for found in list(groups.values())[_MOST_SENTENCES:])
        yield f"    and {rest} more; -o json has them all"


def _spaces(moves: Sequence[SpaceMove], style: Style) -> Iterator[str]:
    if not moves:
        return
    yield ""
    yield style.paint(f"NAMESPACES ({len(moves)})", Tone.HEADING)
    for what, tone, found in (
        ("no node is left for their pods", Tone.BAD, [each for each in moves if each.stranded]),
        ("pods may reach less outside the cluster than today", Tone.BAD, [each for each in moves if each.cut]),
        ("pods may reach more outside the cluster than today", Tone.DOUBTFUL, [each for each in moves if each.opened]),
    ):
        if found:
            yield f"  {style.paint(what, tone)} ({sum(each.pods for each in found)})"
            yield from style.paragraph(some([each.namespace for each in found], _MOST_NAMED), indent=6)


def _models(moves: Sequence[ModelMove], style: Style) -> Iterator[str]:
    if not moves:
        return
    yield ""
    yield style.paint(f"MODELS ({len(moves)})", Tone.HEADING)
    for each in moves:
        end = ", so it has no place any more" if not each.after else ", so it has a place" if not each.before else ""
        line = f"  {each.subject}: {each.before} -> {_count(each.after, 'node')}{end}"
        yield style.paint(line, Tone.BAD if each.after < each.before else Tone.DOUBTFUL)
        if each.why:
            yield from style.paragraph(each.why, indent=6)
