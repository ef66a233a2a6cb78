"""The scripts of `bailiwick completion`, for each shell in its own words.

Each script holds what may be written, and asks nobody when a key is pressed: completing takes no time, and needs no
cluster.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from bailiwick.cli.shell.commandtree import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bailiwick.cli.shell.commandtree import Command, Option

_NAMES = ("bailiwick", "kubectl-bailiwick")
_BASH_FILES = 'mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur"); compopt -o filenames 2> /dev/null;'
"""Line by line: names of files may hold blanks. Only they are files: no command ends like a folder of its name."""


def bash(tree: Command) -> str:
    """For bash 4 or newer, with or without the package bash-completion."""
    lines = [
        "# bash completion for bailiwick; written by `bailiwick completion bash`",
        "_bailiwick() {",
        '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" i',
        "    COMPREPLY=()",
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        '        case "$path ${COMP_WORDS[i]}" in',
        *_walk(tree, '            {}) path="$path ${{COMP_WORDS[i]}}" ;;'),
        "        esac",
        "    done",
        '    case "$path|$prev" in',
        *(f"        {line}" for line in _after_options(tree, _bash_value)),
        "    esac",
        '    case "$path" in',
    ]
    for each in tree.all():
        options = [name for option in each.options for name in option.names]
        words = [*(below.path[-1] for below in each.below), *each.words]
        files = f" {_BASH_FILES}" if each.files else ""
        lines += [
            f"        {_key(each)})",
            f"            if [[ $cur == -* ]]; then {_bash_words(options)}",
            f"            else {_bash_words(words)}{files} fi ;;",
        ]
    lines += ["    esac", "}", f"complete -F _bailiwick {' '.join(_NAMES)}"]
    return "\n".join(lines) + "\n"


def _bash_words(words: Iterable[str]) -> str:
    return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(words))} -- "$cur"));'


def _bash_value(option: Option) -> str:
    if option.choices:
        return f"{_bash_words(option.choices)} return"
    return f"{_BASH_FILES} return" if option.value is Value.FILE else "return"


def zsh(tree: Command) -> str:
    """For zsh: a function for a folder in $fpath, which `source` understands, too."""
    lines = [
        f"#compdef {' '.join(_NAMES)}",
        "# zsh completion for bailiwick; written by `bailiwick completion zsh`",
        "_bailiwick() {",
        '    local cmd="" i',
        "    local -a found",
        "    for ((i = 2; i < CURRENT; i++)); do",
        '        case "$cmd ${words[i]}" in',
        *_walk(tree, '            {}) cmd="$cmd ${{words[i]}}" ;;'),
        "        esac",
        "    done",
        '    case "$cmd|${words[CURRENT-1]}" in',
        *(f"        {line}" for line in _after_options(tree, _zsh_value)),
        "    esac",
        '    case "$cmd" in',
    ]
    for each in tree.all():
        options = " ".join(_zsh_told(name, option.about) for option in each.options for name in option.names)
        words = " ".join(
            [*(_zsh_told(below.path[-1], below.about) for below in each.below), *map(shlex.quote, each.words)]
        )
        otherwise = f"found=({words}); _describe -t commands command found" if words else ":"
        lines += [
            f"        {_key(each)})",
            f"            if [[ $PREFIX == -* ]]; then found=({options}); _describe -t options option found",
            f"            else {'_files' if each.files else otherwise}; fi ;;",
        ]
    lines += [
        "    esac",
        "}",
        'if [[ "${funcstack[1]}" == _bailiwick ]]; then _bailiwick "$@"',
        f"else compdef _bailiwick {' '.join(_NAMES)}; fi",
    ]
    return "\n".join(lines) + "\n"


def _zsh_value(option: Option) -> str:
    if option.choices:
        return f"compadd -- {' '.join(map(shlex.quote, option.choices))}; return"
    return "_files; return" if option.value is Value.FILE else "return"


def _zsh_told(name: str, about: str) -> str:
    """``name:what it is``, as _describe reads it."""
    return shlex.quote(f"{name.replace(':', chr(92) + ':')}:{about}")


def fish(tree: Command) -> str:
    """For fish 3 or newer."""
    lines = ["# fish completion for bailiwick; written by `bailiwick completion fish`"]
    for name in _NAMES:
        lines.append(f"complete -c {name} -f")
        for each in tree.all():
            condition = _fish_condition(each)
            start = f"complete -c {name}" + (f" -n {_fish(condition)}" if condition else "")
            lines += [f"{start} -a {_fish(below.path[-1])} -d {_fish(below.about)}" for below in each.below]
            lines += [f"{start} -a {_fish(word)}" for word in each.words]
            lines += [f"{start} -F"] if each.files else []
            lines += [f"{start} {_fish_option(option)}" for option in each.options]
    return "\n".join(lines) + "\n"


def _fish_condition(command: Command) -> str:
    """When a command is the one whose words are completed."""
    seen = [f"__fish_seen_subcommand_from {word}" for word in command.path]
    if not command.below:
        return "; and ".join(seen)
    if not command.path:
        return "__fish_use_subcommand"
    deeper = " ".join(each.path[-1] for each in command.below)
    return "; and ".join([*seen, f"not __fish_seen_subcommand_from {deeper}"])


def _fish_option(option: Option) -> str:
    parts = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    match option.value:
        case Value.FILE:
            parts.append("-r -F")
        case Value.WORD:
            parts.append(f"-x -a {_fish(' '.join(option.choices))}" if option.choices else "-x")
    return " ".join([*parts, f"-d {_fish(option.about)}"])


def _fish(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


def _walk(tree: Command, line: str) -> Iterator[str]:
    """One line for each command: after the words of those above it, its own goes deeper."""
    return (line.format(_key(each)) for each in tree.all() if each.path)


def _after_options(tree: Command, value: Callable[[Option], str]) -> Iterator[str]:
    """One line for each option that something follows."""
    for each in tree.all():
        for option in each.options:
            if option.value is not Value.NONE:
                keys = "|".join(shlex.quote(f"{_path(each)}|{name}") for name in option.names)
                yield f"{keys}) {value(option)} ;;"


def _path(command: Command) -> str:
    return "".join(f" {word}" for word in command.path)


def _key(command: Command) -> str:
    return shlex.quote(_path(command))


SHELLS: Final[Mapping[str, Callable[[Command], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
