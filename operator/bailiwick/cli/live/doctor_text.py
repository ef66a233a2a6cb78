"""What `bailiwick doctor` writes for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bailiwick.cli.live.fitness.findings import Severity
from bailiwick.cli.tables import Tone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bailiwick.cli.live.fitness.findings import Finding, Fitness
    from bailiwick.cli.tables import Style

_TONES: Final[Mapping[Severity, Tone]] = {
    Severity.BAD: Tone.BAD, Severity.DOUBTFUL: Tone.DOUBTFUL, Severity.UNSEEN: Tone.DOUBTFUL, Severity.GOOD: Tone.GOOD,
}  # fmt: skip
_HEADS: Final[Mapping[Severity, str]] = {
    Severity.BAD: "BAD", Severity.DOUBTFUL: "DOUBTFUL", Severity.UNSEEN: "NOT SEEN", Severity.GOOD: "GOOD",
}  # fmt: skip
_WORDS: Final[Mapping[bool | None, tuple[str, Tone]]] = {
    True: ("This cluster is fit for Bailiwick.", Tone.GOOD),
    False: ("This cluster is not fit for Bailiwick.", Tone.BAD),
    None: ("Nothing that was seen is bad, but not everything could be seen.", Tone.DOUBTFUL),
}
_MOST_HOLDERS: Final = 5
_HANG: Final = len("expected:  ")


def lines(told: Fitness, style: Style) -> Iterator[str]:
    """A sentence, then every answer, worst first; what is good on one line each."""
    yield style.paint(*_WORDS[told.fit])
    for severity in Severity:
        found = told.having(severity)
        if not found:
            continue
        yield ""
        yield style.paint(f"{_HEADS[severity]} ({len(found)})", Tone.HEADING)
        if severity is Severity.GOOD:
            yield from _briefly(found, style)
            continue
        for each in found:
            yield from _whole(each, style)


def _whole(each: Finding, style: Style) -> Iterator[str]:
    yield style.paint(each.check, _TONES[each.severity])
    yield from style.paragraph(f"seen:      {each.seen}", indent=4, hang=_HANG)
    for holder in each.holders[:_MOST_HOLDERS]:
        yield from style.paragraph(
            f"- {holder.subject}, by {holder.binding} of {holder.role}: {holder.rule}", indent=8, hang=2
        )
    if (more := len(each.holders) - _MOST_HOLDERS) > 0:
        yield from style.paragraph(f"- and {more} more; -o json has them", indent=8)
    yield from style.paragraph(f"expected:  {each.expected}", indent=4, hang=_HANG)
    yield from style.paragraph(f"do:        {each.remedy}", indent=4, hang=_HANG)


def _briefly(found: tuple[Finding, ...], style: Style) -> Iterator[str]:
    width = max(len(each.check) for each in found)
    for each in found:
        first, *rest = style.paragraph(f"{each.check:<{width}}   {each.seen}", indent=0, hang=width + 3)
        yield first.replace(each.check, style.paint(each.check, Tone.GOOD), 1)
        yield from rest
