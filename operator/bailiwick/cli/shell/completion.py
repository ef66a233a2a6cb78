"""`bailiwick completion`: what completes these commands in a shell, made from their own parsers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bailiwick.cli.shell.commandtree import command_tree
from bailiwick.cli.shell.shells import SHELLS

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = (
        "bailiwick completion bash > ~/.local/share/bash-completion/completions/bailiwick (docs/commands.md)"
    )
    parser.add_argument("shell", choices=tuple(SHELLS), help="the shell")


def main(arguments: argparse.Namespace) -> int:
    """Write the script to standard output; returns the exit code."""
    sys.stdout.write(SHELLS[arguments.shell](command_tree()))
    return 0
