"""The commands and everything that may stand behind each, as their parsers have it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bailiwick.cli import COMMANDS, parser

if TYPE_CHECKING:
    from collections.abc import Iterator


class Value(Enum):
    """What follows an option, or stands where no option does."""

    NONE = "none"
    FILE = "file"
    WORD = "word"
    """Something that no shell can guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its spellings, what it means, and what follows it (one of ``choices`` where there are some)."""

    names: tuple[str, ...]
    about: str
    value: Value
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with everything that may stand behind it. ``path`` is empty for `bailiwick` itself."""

    path: tuple[str, ...]
    about: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    """What may stand where no option does, as far as that is a choice."""
    files: bool
    """Files may stand there."""
    below: tuple[Command, ...]

    def all(self) -> Iterator[Command]:
        """It and every one below."""
        yield self
        for each in self.below:
            yield from each.all()


def command_tree() -> Command:
    """All commands, as their parsers have them."""
    return described(parser(COMMANDS), (), "")


def described(parser: argparse.ArgumentParser, path: tuple[str, ...], about: str) -> Command:
    """One command and those below it."""
    actions = parser._actions  # noqa: SLF001 - argparse tells nobody else what it was given
    positional = [each for each in actions if not each.option_strings]
    nested = [each for each in positional if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001
    below = tuple(
        described(command, (*path, name), _about(each, name))
        for each in nested
        for name, command in each.choices.items()
    )
    plain = [each for each in positional if each not in nested]
    return Command(
        path=path,
        about=about,
        options=tuple(_option(each) for each in actions if each.option_strings),
        words=tuple(str(word) for each in plain for word in each.choices or ()),
        files=any(each.type is Path for each in plain),
        below=below,
    )


def _about(nested: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> str:
    helps = {each.dest: each.help for each in nested._choices_actions}  # noqa: SLF001 - as above
    return helps.get(name) or ""


def _option(action: argparse.Action) -> Option:
    choices = tuple(str(each) for each in action.choices or ())
    value = Value.WORD
    if action.nargs == 0:
        value = Value.NONE
    elif action.type is Path or action.metavar == "FILE":
        value = Value.FILE
    about = (action.help or "").replace("%(prog)s", "bailiwick").replace("%%", "%")
    return Option(names=tuple(action.option_strings), about=about, value=value, choices=choices)
