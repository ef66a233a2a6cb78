"""The page of commands has what the parsers take, and an option without a word about it makes no page."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from bailiwick import cli
from bailiwick.cli.reference.commands import Argument, UndocumentedOptionError, arguments, command_reference


@pytest.mark.parametrize("command", [["check"], ["status"], ["plan"], ["weights", "import"], ["statement", "sign"]])
def test_every_option_that_help_tells_is_on_the_page(command: list[str]) -> None:
    run = [sys.executable, "-m", "bailiwick.cli", *command, "--help"]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    section = command_reference().partition(f"# bailiwick {' '.join(command)}\n")[2].partition("\n#")[0]
    options = {word.strip("[],") for word in told.split() if word.startswith(("--", "[--"))} - {"--help"}
    assert options
    assert {option for option in options if f"`{option}`" not in section} == set()


def test_every_command_has_a_section() -> None:
    page = command_reference()
    assert [name for name in cli.COMMANDS if f"\n## bailiwick {name}\n" not in page] == []


def test_an_option_is_told_with_its_values_and_its_default() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to read")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how | where")
    parser.add_argument("--key", required=True, help="of %(prog)s")
    parser.add_argument("--quiet", action="store_true", help="say nothing")
    parser.prog = "tool"
    assert list(arguments(parser)) == [
        Argument("`FILE...`", "what to read", ""),
        Argument("`-o`, `--output` `text \\| json`", "how | where", "`text`"),
        Argument("`--key` `KEY`", "of tool", "required"),
        Argument("`--quiet`", "say nothing", ""),
    ]


def test_an_option_without_a_help_text_is_an_error() -> None:
    parser = argparse.ArgumentParser(prog="tool")
    parser.add_argument("--silent")
    with pytest.raises(UndocumentedOptionError, match="tool: silent has no help text"):
        list(arguments(parser))
