"""Reports of `bailiwick check`: text for people, JSON, SARIF 2.1.0 for code scanning, JUnit XML for test views."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from bailiwick import __version__
from bailiwick.cli.offline.violations import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bailiwick.cli.offline.violations import Result, Thing, Violation

VERSION = 1
"""Of the JSON; it grows by fields, and changes its number when one goes or means something else."""
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document can hold."""
_EXAMPLES = 3


def _as_text(result: Result) -> Iterator[str]:
    for each in sorted(result.violations):
        yield f"{each.thing.file}:{each.line}: {each.level}: {each.thing}: {each.rule} ({_by(each)})"
        yield f"    expected  {each.expected}"
        if each.seen:
            yield f"    seen      {each.seen}"
        if each.remedy:
            yield f"    remedy    {each.remedy}"
    yield from _not_judged(result)
    yield from (f"note: {note}" for note in result.notes)
    levels = [each.level for each in result.violations]
    told = ", ".join(_number(levels.count(level), level) for level in Level if level in levels) or "no violation"
    yield f"{_number(len(result.judged), 'object')} judged: {told}"


def _not_judged(result: Result) -> Iterator[str]:
    """Grouped by what is missing, for it is often the same of a hundred objects."""
    groups: defaultdict[str, dict[Thing, None]] = defaultdict(dict)
    for each in sorted(result.unjudged):
        groups[each.what][each.thing] = None
    for what, things in groups.items():
        examples = ", ".join(map(str, list(things)[:_EXAMPLES])) + (", ..." if len(things) > _EXAMPLES else "")
        yield f"not judged: {what}: {_number(len(things), 'object')} ({examples})"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _by(violation: Violation) -> str:
    return f"{violation.guard}, policy {violation.policy}" if violation.policy else violation.guard


def _as_json(result: Result) -> Iterator[str]:
    yield json.dumps(
        {
            "version": VERSION,
            "judged": len(result.judged),
            "violations": [each.as_json() for each in sorted(result.violations)],
            "notJudged": [each.as_json() for each in sorted(result.unjudged)],
            "unusable": [each.as_json() for each in sorted(result.unusable)],
            "notes": result.notes,
        },
        indent=2,
    )


def _as_sarif(result: Result) -> Iterator[str]:
    rules = sorted({each.rule for each in result.violations})
    notes = [*_not_judged(result), *result.notes]
    unusable = [each.message for each in sorted(result.unusable)]
    run = {
        "tool": {
            "driver": {
                "name": "bailiwick check",
                "version": __version__,
                "rules": [{"id": rule, "name": rule, "shortDescription": {"text": _words(rule)}} for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not unusable,
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": text}}
                    for level, told in ((Level.ERROR, unusable), (Level.NOTE, notes))
                    for text in told
                ],
            }
        ],
        "results": [_sarif_result(each, rules.index(each.rule)) for each in sorted(result.violations)],
    }
    yield json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(each: Violation, rule: int) -> dict[str, Any]:
    return {
        "ruleId": each.rule,
        "ruleIndex": rule,
        "level": each.level,
        "message": {"text": f"{each.thing}: {each.message}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(each.thing.file.replace("\\", "/"))},
                    "region": {"startLine": each.line},
                },
                "logicalLocations": [{"fullyQualifiedName": str(each.thing), "kind": "resource"}],
            }
        ],
        # The same violation stays the same when lines above it change.
        "partialFingerprints": {
            "violation/v1": "/".join(
                (each.thing.api_version, str(each.thing), each.guard, each.policy, each.rule, each.seen)
            )
        },
    }


def _words(reason: str) -> str:
    """ImageNotAllowed: image not allowed."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", reason).capitalize()


def _as_junit(result: Result) -> Iterator[str]:
    """One test for each object, failed by what would be refused, with the rest as its output."""
    found: defaultdict[Thing, list[Violation]] = defaultdict(list)
    for violation in sorted(result.violations):
        found[violation.thing].append(violation)
    files: defaultdict[str, list[Thing]] = defaultdict(list)
    for thing in result.judged:
        files[thing.file].append(thing)
    failed = sum(any(each.level is Level.ERROR for each in told) for told in found.values())
    errors = len(result.unusable)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    tests = len(result.judged) + errors
    yield f'<testsuites name="bailiwick check" tests="{tests}" failures="{failed}" errors="{errors}">'
    for file, things in files.items():
        bad = sum(any(each.level is Level.ERROR for each in found[thing]) for thing in things)
        yield f'  <testsuite name={_attribute(file)} tests="{len(things)}" failures="{bad}" errors="0">'
        for thing in things:
            yield from _test_case(thing, found[thing])
        yield "  </testsuite>"
    if errors:
        yield f'  <testsuite name="unusable" tests="{errors}" failures="0" errors="{errors}">'
        for each in sorted(result.unusable):
            yield f'    <testcase name={_attribute(f"{each.file}:{each.line}")} classname="unusable">'
            yield f"      <error message={_attribute(each.message)}/>"
            yield "    </testcase>"
        yield "  </testsuite>"
    yield "</testsuites>"


def _test_case(thing: Thing, found: list[Violation]) -> Iterator[str]:
    yield (
        f"    <testcase name={_attribute(str(thing))} classname={_attribute(thing.file)} "
        f'file={_attribute(thing.file)} line="{thing.line}">'
    )
    errors = [each for each in found if each.level is Level.ERROR]
    if errors:
        told = "\n".join(f"{each.thing.file}:{each.line}: {each.message} ({_by(each)})" for each in errors)
        rules = ", ".join(dict.fromkeys(each.rule for each in errors))
        yield f"      <failure type={_attribute(errors[0].rule)} message={_attribute(rules)}>{_text(told)}</failure>"
    if others := [each for each in found if each.level is not Level.ERROR]:
        told = "\n".join(
            f"{each.thing.file}:{each.line}: {each.level}: {each.message} ({_by(each)})" for each in others
        )
        yield f"      <system-out>{_text(told)}</system-out>"
    yield "    </testcase>"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _attribute(text: str) -> str:
    return quoteattr(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))


REPORTS: Final[Mapping[str, Callable[[Result], Iterator[str]]]] = {
    "text": _as_text, "json": _as_json, "sarif": _as_sarif, "junit": _as_junit,
}  # fmt: skip
"""By the name of the option, each as lines."""
