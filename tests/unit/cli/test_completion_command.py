"""What the scripts of `bailiwick completion` complete, tried in the shells themselves where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from bailiwick.cli import COMMANDS
from bailiwick.cli.shell.commandtree import Command, command_tree
from bailiwick.cli.shell.shells import SHELLS

if TYPE_CHECKING:
    from pathlib import Path

TREE = command_tree()
DRIVERS = {
    "bash": """
source "$1"; shift
COMP_WORDS=(bailiwick "$@"); COMP_CWORD=$#
_bailiwick
printf '%s\\n' "${COMPREPLY[@]}"
""",
    # zsh's own functions for showing what was found need a line editor; these print it.
    "zsh": """
emulate zsh
compdef() { :; }
source "$1"; shift
words=(bailiwick "$@"); CURRENT=${#words}; PREFIX=${words[-1]}
compadd() { shift; for each in "$@"; do [[ $each == $PREFIX* ]] && print -r -- "$each"; done; }
_describe() { for each in "${(@P)4}"; do [[ ${each%%:*} == $PREFIX* ]] && print -r -- "${each%%:*}"; done; }
_files() { print -rl -- $PREFIX*(N); }
_bailiwick
true
""",
    "fish": """
source $argv[1]
set -l escaped (string escape -- $argv[2..-2])
for each in (complete -C "bailiwick $escaped $argv[-1]")
    string split -f 1 \\t -- $each
end
true
""",
}
CASES = {
    "a command": (["st"], {"statement", "status"}),
    "an action": (["statement", ""], {"sign", "verify"}),
    "a choice": (["status", "-o", ""], {"table", "json", "yaml"}),
    "the same behind the long name": (["status", "--output", "j"], {"json"}),
    "another command's choice": (["check", "-o", "s"], {"sarif"}),
    "an option": (["status", "--w"], {"--watch"}),
    "an option behind a value": (["status", "-n", "clinic", "--al"], {"--all-namespaces"}),
    "an option of an action": (["weights", "import", "--pre"], {"--prefix"}),
    "an argument that is a choice": (["completion", "z"], {"zsh"}),
    "a file": (["check", "dep"], {"deploy this.yaml"}),
    "a file behind an option": (["plan", "--config", "dep"], {"deploy this.yaml"}),
    "nothing where nobody can guess": (["status", "-n", ""], set()),
    "no file where an option takes none": (["statement", "sign", "--keyid", ""], set()),
    "a file where no argument is one": (["status", "--kubeconfig", "dep"], {"deploy this.yaml"}),
    "nothing that is not there": (["status", "--nonsense"], set()),
}


def complete(shell: str, folder: Path, *words: str) -> set[str]:
    """What a shell offers for the last of some words, in a folder."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (script := folder / ".script").write_text(SHELLS[shell](TREE))
    (driver := folder / ".driver").write_text(DRIVERS[shell])
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *quiet, driver, script, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {line for line in done.stdout.splitlines() if line}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file with a blank in its name, and a folder that is called as a command is."""
    (tmp_path / "deploy this.yaml").touch()
    (tmp_path / "status").mkdir()
    return tmp_path


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, case: str, folder: Path) -> None:
    words, offered = CASES[case]
    assert complete(shell, folder, *words) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_offered(shell: str, folder: Path) -> None:
    assert complete(shell, folder, "") == set(COMMANDS)


@pytest.mark.parametrize("command", tuple(TREE.all()), ids=lambda each: " ".join(each.path) or "bailiwick")
def test_every_long_option_of_a_command_is_offered(command: Command, folder: Path) -> None:
    long = {name for option in command.options for name in option.names if name.startswith("--")}
    assert complete("bash", folder, *command.path, "--") == long
    assert "--help" in long


def test_what_is_told_in_an_option_breaks_no_script() -> None:
    told = [option.about for each in TREE.all() for option in each.options]
    assert any("'" in each for each in told)
    assert any(":" in each for each in told)
