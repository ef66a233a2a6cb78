"""How commands give an answer: text for people, or JSON and YAML of the same for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.cli.tables import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def write(output: str, told: Callable[[], Mapping[str, Any]], lines: Callable[[Style], Iterable[str]]) -> None:
    """Write it to standard output. ``output`` is json, yaml, or any other word for text."""
    match output:
        case "json":
            sys.stdout.write(json.dumps(told(), indent=2) + "\n")
        case "yaml":
            plain = json.loads(json.dumps(told()))  # words of enums become texts
            sys.stdout.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))
        case _:
            sys.stdout.writelines(f"{line}\n" for line in lines(Style.of(sys.stdout)))
