"""The `bailiwick` command. Each subcommand is imported only when it is called: `--help` must be quick."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from bailiwick import __version__

if TYPE_CHECKING:
    from collections.abc import Collection

INTERRUPTED = 130
COMMANDS = {
    "admission": ("programs.admission", "run the webhook that judges policies, models and claims"),
    "bundle": ("offline.bundle", "list every image, chart and weight for a mirror, without a connection"),
    "check": ("offline.check", "say what the border would refuse of manifests, without a cluster"),
    "completion": ("shell.completion", "write what completes these commands in a shell"),
    "doctor": ("live.doctor", "say whether a cluster is fit for Bailiwick, and what to do where it is not"),
    "explain": ("live.explain", "say where a pod or model may run, and why not elsewhere"),
    "operator": ("programs.operator", "run the operator: the territory loop and the model loop"),
    "plan": ("offline.plan", "say how many devices a model needs, and on which class, without a cluster"),
    "statement": ("offline.statement", "sign and verify statements about machines, without a cluster"),
    "status": ("live.status", "show how policies and models stand in a cluster, what is wrong first"),
    "weights": ("offline.weights", "import and verify files of weights, and write their manifest and digest"),
    "what-if": ("whatif.command", "say what a change of policies would stop, and what it would let in"),
}


class _Help(argparse.HelpFormatter):
    """Names and what they mean side by side, where the names are short enough."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        self._action_max_length = 14  # argparse counts the names of subcommands without what they are indented by


class _Parser(argparse.ArgumentParser):
    """Says where to look when a command line is wrong."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it exits, which typeshed says by NoReturn
        """End with 2, as programs do that were called wrongly."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` tells what there is\n")


def parser(filled: Collection[str]) -> argparse.ArgumentParser:
    """The parser of all commands. Only those in ``filled`` have their options: their modules are imported for that."""
    made = _Parser(
        prog="bailiwick",
        formatter_class=_Help,
        description="Keeps AI inference inside the border its owner draws.",
        epilog="`bailiwick COMMAND --help` tells the options of a command.",
    )
    made.add_argument("--version", action="version", version=f"bailiwick {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, (place, summary) in COMMANDS.items():
        module = f"{__name__}.{place}"
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=_Help)
        command.set_defaults(module=module, told_by=command)
        if name in filled and (add_arguments := getattr(import_module(module), "add_arguments", None)):
            add_arguments(command)
    return made


def main() -> int:
    """Entry point; returns the exit code."""
    arguments, unknown = parser(sys.argv[1:2]).parse_known_args()
    if unknown:
        arguments.told_by.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        exit_code: int = import_module(arguments.module).main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough, and the interpreter must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return exit_code
