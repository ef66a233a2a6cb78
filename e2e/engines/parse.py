"""Reads arguments as `vllm serve` does, and prints what it says against them; nothing where it knows them all.

It runs on the engine's Python and packages, never on the tests' own. Each line of its input is a list of arguments.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Read lists until there are no more; one line for each."""
    arguments: Any = import_module("vllm.entrypoints.launchers.cli_args")
    parsing: Any = import_module("vllm.utils.argparse_utils")
    parser = arguments.make_arg_parser(parsing.FlexibleArgumentParser())
    for line in sys.stdin:
        complaint = io.StringIO()
        with contextlib.redirect_stderr(complaint):
            try:
                arguments.validate_parsed_serve_args(parser.parse_args(json.loads(line)))
                said = ""
            except (SystemExit, TypeError, ValueError) as refused:
                said = complaint.getvalue()[-500:] or str(refused)
        print(f"said {json.dumps(said)}", flush=True)


if __name__ == "__main__":
    main()
