"""Arguments of an engine, read the way the engine will read them, to see what must not be among them.

What a *model* may give is an allow-list in `bailiwick.api.arguments`: an option that is not known to be harmless never
gets here. An *accelerator class* is the platform team's word and may give any option but those that would undo what
Bailiwick promises; that list is each engine's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Objection:
    """One argument, and why it is refused, as the end of a sentence."""

    argument: str
    why: str


def option_of(argument: str) -> str | None:
    """The option that an argument names, dashes for underscores, without value and key; None when it is a value.

    ``--Kv_x.a=1`` names ``Kv-x``. A number such as -1 is a value; -1.5 is not, for vLLM reads the dot as that of a key.
    """
    if not argument.startswith("-") or _is_number(argument):
        return None
    return argument.partition("=")[0].partition(".")[0].lstrip("-").replace("_", "-")


def stray(arguments: Sequence[str], *, switches: Collection[str], lists: Collection[str]) -> Objection | None:
    """The first value that no option takes: an engine may read it as the model that it is to serve.

    ``switches`` take no value and ``lists`` any number; every other option takes one.
    """
    wanted: float = 0
    for argument in arguments:
        option = option_of(argument)
        if option is not None:
            switch = option.removeprefix("no-") in switches
            if switch and ("=" in argument or "." in argument):
                return Objection(argument, "gives a value to an option that takes none; write the option alone")
            complete = "=" in argument or not argument.startswith("--")  # a short option holds its value: -O2
            wanted = 0 if switch or complete else float("inf") if option in lists else 1
        elif wanted <= 0:
            return Objection(argument, "is a value that no option takes; write it behind its option")
        else:
            wanted -= 1
    return None


def forbidden(
    arguments: Sequence[str], reasons: Mapping[str, str], *, known: Collection[str], anywhere: Collection[str]
) -> Objection | None:
    """The first argument that is, or could be a short form of, one of the options in ``reasons``.

    Engines take any unambiguous beginning of an option. Which are unambiguous changes with every release, so each
    beginning of a forbidden option counts, unless it is itself one of the options ``known`` to be harmless; so does
    every option with one dash, of which several may be one argument. Those of ``anywhere`` are also keys of structured
    values, and must not occur at all.
    """
    for argument in arguments:
        if named := next((name for name in anywhere if name in argument.replace("_", "-")), None):
            return Objection(argument, reasons[named])
        option = option_of(argument)
        if option is None:
            continue
        if not argument.startswith("--") or not option:
            return Objection(argument, "is a short form; write out an option with two dashes")
        if option in known:
            continue
        if why := next((why for name, why in reasons.items() if name.startswith(option)), None):
            return Objection(argument, why)
    return None


def _is_number(argument: str) -> bool:
    return argument[1:].isdigit() and argument.isascii()
