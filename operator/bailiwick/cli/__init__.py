"""The `bailiwick` command. Each subcommand is imported only when it is called: `--help` must be quick."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from bailiwick import __version__

COMMANDS = {
    "admission": ("bailiwick.cli.admission", "run the webhook that judges policies, models and claims"),
    "bundle": ("bailiwick.cli.bundle", "list every image, chart and weight for a mirror, without a connection"),
    "check": ("bailiwick.cli.check", "say what the border would refuse of manifests, without a cluster"),
    "operator": ("bailiwick.cli.operator", "run the operator: the territory loop and the model loop"),
    "plan": ("bailiwick.cli.plan", "say how many devices a model needs, and on which class, without a cluster"),
    "statement": ("bailiwick.cli.statement", "sign and verify statements about machines, without a cluster"),
    "status": ("bailiwick.cli.status", "show how policies and models stand in a cluster, what is wrong first"),
    "weights": ("bailiwick.cli.weights", "import and verify files of weights, and write their manifest and digest"),
}


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="bailiwick", description="Keeps AI inference inside the border its owner draws."
    )
    parser.add_argument("--version", action="version", version=f"bailiwick {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(module=module)
        if name in sys.argv[1:2] and (add_arguments := getattr(import_module(module), "add_arguments", None)):
            add_arguments(command)
    arguments = parser.parse_args()
    exit_code: int = import_module(arguments.module).main(arguments)
    return exit_code
