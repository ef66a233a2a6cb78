"""Every command with its options in Markdown, as the argument parsers know them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bailiwick import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Commands and options

<!-- Generated from the argument parsers by `make generate`; edit operator/bailiwick/cli, not this file. -->

What each takes; [commands](../commands.md) says which is for what. `bailiwick --version` tells the release.
"""
_TABLE = "| argument | meaning | default |\n|---|---|---|"


class UndocumentedOptionError(Exception):
    """An option without a help text; the message names it."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command: how it is written, what it means, and what holds without it (empty: nothing)."""

    written: str
    meaning: str
    default: str


def command_reference() -> str:
    """The whole page. Raises UndocumentedOptionError."""
    commands = list(_nested(cli.parser(cli.COMMANDS)))
    every = ["| command | |\n|---|---|"]
    every += [f"| [`{name}`](#bailiwick-{name}) | {summary} |" for name, summary, _ in commands]
    told = [section for _, summary, parser in commands for section in _sections(parser, summary, level=2)]
    return "\n".join([_HEAD, "\n".join(every), *told, ""])


def arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    """What a parser takes, without ``--help`` and without its subcommands. Raises UndocumentedOptionError."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to tell
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):  # noqa: SLF001
            continue
        if not action.help or action.help == argparse.SUPPRESS:
            raise UndocumentedOptionError(f"{parser.prog}: {action.dest} has no help text")
        help_text = action.help % {**vars(action), "prog": parser.prog}
        yield Argument(_written(action), help_text, _default(action, help_text))


def _nested(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """The commands right below one: name, summary, parser."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            summaries = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
            yield from ((name, summaries.get(name, ""), below) for name, below in action.choices.items())


def _sections(parser: argparse.ArgumentParser, summary: str, *, level: int) -> Iterator[str]:
    yield f"\n{'#' * level} {parser.prog}\n"
    yield f"{summary[:1].upper()}{summary[1:].rstrip('.')}."
    nested = list(_nested(parser))
    if rows := list(arguments(parser)):
        yield f"\n{_TABLE}"
        yield from (f"| {each.written} | {_cell(each.meaning)} | {each.default} |" for each in rows)
    elif not nested:
        yield "It takes no options: the chart tells its pods what they need."
    for _, about, below in nested:
        yield from _sections(below, about, level=level + 1)


def _written(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return f"`{value}{'...' * (action.nargs in {'*', '+'})}`"
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    return names if action.nargs == 0 else f"{names} `{value}`"


def _value(action: argparse.Action) -> str:
    if action.choices is not None and not action.metavar:
        return " \\| ".join(str(choice) for choice in action.choices)
    given = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return given if isinstance(given, str) else " ".join(given)


def _default(action: argparse.Action, help_text: str) -> str:
    if action.required and action.option_strings:
        return "required"
    if action.nargs == 0 or not action.default or action.default == argparse.SUPPRESS or "default" in help_text:
        return ""
    shown = " ".join(map(str, action.default)) if isinstance(action.default, list | tuple) else str(action.default)
    return f"`{shown}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
