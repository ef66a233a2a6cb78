"""No spelling of an argument gets past that would open an engine, as its own parser would read it.

`EngineParser` is the judge: it knows every option of vLLM 0.32 and reads arguments by vLLM's rules, which are those of
argparse with underscores for dashes, dotted keys, and ``-O2``.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bailiwick.api.arguments import LLAMA_CPP_TUNING, TUNING
from bailiwick.workload.arguments import forbidden, option_of, stray
from bailiwick.workload.engines.vllm import FORBIDDEN, LISTS, SWITCHES
from tests.unit.workload.given import accelerator, engine, model, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KINDS = {
    "0": {"action": "store_true"},
    "1": {},
    "?": {"nargs": "?"},
    "+": {"nargs": "+"},
    "append": {"action": "append"},
}
OPTIONS = [
    line.split() for line in (Path(__file__).parent / "vllm-options.txt").read_text().splitlines() if line[0] != "#"
]
NAMES = {spelt.removeprefix("--"): kind for kind, *spellings in OPTIONS for spelt in spellings if spelt[1] == "-"}


class NotStartedError(Exception):
    """The engine would end with a usage error."""


class EngineParser(argparse.ArgumentParser):
    """Reads arguments as vLLM's server does."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        self.add_argument("model_tag", nargs="?")
        for kind, *spellings in OPTIONS:
            if kind == "bool":
                self.add_argument(*spellings, action=argparse.BooleanOptionalAction)
            else:
                self.add_argument(*spellings, **KINDS[kind])  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        raise NotStartedError(message)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """What the engine makes of its arguments; raises NotStartedError."""
        return vars(self.parse_args(list(_plain(arguments))))


def _plain(arguments: Sequence[str]) -> Iterator[str]:
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        head, dot, _ = option.partition(".")
        if argument.startswith("-O") and argument != "-O":
            yield from ("--optimization-level", argument[3:] if argument[2] == "=" else argument[2:])
        elif argument.startswith("-") and dot:
            if not equals:
                next(rest, None)
            yield from (head.replace("_", "-"), "{}")
        elif argument.startswith("--"):
            yield option.replace("_", "-") + equals + value
        else:
            yield argument


PARSER = EngineParser()
PLAIN = PARSER.read(engine(plan(model()))["args"])
TUNABLE = {name.replace("-", "_") for name in TUNING} | {"optimization_level", "gpu_memory_utilization"}
CLOSED = {name.removeprefix("no-").replace("-", "_") for name in FORBIDDEN}

VALUES = st.sampled_from(
    ["1", "-1", "-1.5", "", "evil/model", "true", "{}", "-", "--", "a.b", "@file", "=", "x=y"]
) | st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8)


@st.composite
def spelt(draw: st.DrawFn) -> str:
    """An option in one of the ways that people, and parsers, know."""
    name = draw(st.sampled_from(sorted(FORBIDDEN)) | st.sampled_from(sorted(NAMES)))
    name = draw(st.sampled_from(["", "", "", "no-"])) + name
    name = name[: draw(st.integers(1, len(name)))] if draw(st.booleans()) else name
    name = "".join(draw(st.sampled_from("-_")) if each == "-" else each for each in name)
    name += draw(st.sampled_from(["", "", ".key", ".trust_remote_code", ".a+"]))
    dashes = draw(st.sampled_from(["--", "--", "--", "-", "---", "__"]))
    return dashes + name + draw(st.just("") | VALUES.map("={}".format))


SHORT = st.sampled_from([each for _, *spellings in OPTIONS for each in spellings if each[1] != "-"]).flatmap(
    lambda short: st.sampled_from([short, f"{short}=2", f"{short}2"])
)
TUNED = st.sampled_from(sorted(TUNING)).flatmap(
    lambda name: st.sampled_from([[f"--{name}"], [f"--{name}=1"], [f"--{name}", "1"], [f"--{name}.key", "1"], ["-O3"]])
)
OTHERS = st.sampled_from(sorted(LLAMA_CPP_TUNING)).map("--{}".format)
WILD = (spelt() | VALUES | SHORT | OTHERS | st.sampled_from(["-O", "-O=1", "--config"])).map(lambda each: [each])
ARGUMENTS = st.lists(TUNED | TUNED | WILD, max_size=4).map(lambda pieces: [each for piece in pieces for each in piece])


@settings(max_examples=300)
@example(["--attention-backend", "-1.5"])  # a dot behind a dash is a structured option to vLLM
@given(ARGUMENTS)
def test_whatever_a_model_may_give_changes_nothing_but_tuning(given_by_user: list[str]) -> None:
    with suppress(ValidationError):  # the API server refuses it
        made = plan(model(engine={"arguments": given_by_user}))
        if made.verdict.allowed:
            with suppress(NotStartedError):
                only_tuned(PARSER.read(engine(made)["args"]))


def only_tuned(read: dict[str, Any]) -> None:
    changed = {name for name, value in read.items() if value != PLAIN[name]}
    assert changed <= TUNABLE
    assert read["model_tag"] is None


@settings(max_examples=300)
@given(ARGUMENTS)
def test_whatever_a_class_may_give_leaves_the_engine_closed(given_by_class: list[str]) -> None:
    made = plan(model(), classes=[accelerator(offer={"arguments": given_by_class})])
    if made.verdict.allowed:
        with suppress(NotStartedError):
            still_closed(PARSER.read(engine(made)["args"]))


def still_closed(read: dict[str, Any]) -> None:
    changed = {name for name in CLOSED if (read[name] or None) != (PLAIN[name] or None)}
    assert not changed


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_forbidden_option_is_refused_in_every_spelling(name: str) -> None:
    spellings = [f"--{name}", f"--{name}=x", f"--{name.replace('-', '_')}", f"--{name}.key", f"-{name}"]
    spellings += [f"--{name[:length]}" for length in range(1, len(name))]
    for argument in spellings:
        if argument.removeprefix("--") in TUNING:  # such as --reasoning-parser, which has a meaning of its own
            continue
        found = forbidden(["--seed", "1", argument], FORBIDDEN, known=TUNING, anywhere=())
        assert found, argument
        assert found.argument == argument
        if argument.removeprefix("--") in LLAMA_CPP_TUNING:  # such as --reasoning: the API takes it, and vLLM does not
            assert "an option of another engine" in plan(model(engine={"arguments": [argument]})).verdict.message
            continue
        with pytest.raises(ValidationError, match="is not for a model to give"):
            model(engine={"arguments": [argument]})


@pytest.mark.parametrize(
    "argument",
    ["--structured-outputs-config.reasoning_parser_plugin=x", '--speculative-config={"trust_remote_code":true}'],
)
def test_foreign_code_is_refused_within_structured_values(argument: str) -> None:
    made = plan(model(), classes=[accelerator(offer={"arguments": [argument]})])
    assert made.verdict.reason == "ForbiddenArgument"
    assert "it runs code" in made.verdict.message


@pytest.mark.parametrize(
    "arguments",
    [["--kv-cache-memory-bytes", "256M"], ["--additional-config={}"], ["--enforce-eager"], ["--model-impl", "vllm"]],
)
def test_what_devices_need_is_let_through(arguments: list[str]) -> None:
    made = plan(model(), classes=[accelerator(offer={"arguments": arguments})])
    assert engine(made)["args"][-len(arguments) :] == arguments


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("--host", "host"), ("--Max_len=3", "Max-len"), ("--a.b_c=d", "a"), ("-tp", "tp"), ("--", ""), ("-", ""),
        ("-1", None), ("-1.5", "1"), ("value", None), ("", None), ("a=--host", None), ("-²", "²"),
    ],
)  # fmt: skip
def test_an_argument_names_an_option_or_is_a_value(argument: str, option: str | None) -> None:
    assert option_of(argument) == option


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], None),
        (["--seed", "1"], None),
        (["--seed=1", "2"], "2"),
        (["--enforce-eager", "x"], "x"),
        (["--no-enforce-eager", "x"], "x"),
        (["--enforce-eager=x"], "--enforce-eager=x"),
        (["--enforce-eager.key", "x"], "--enforce-eager.key"),
        (["--enforce_eager", "x"], "x"),
        (["--cudagraph-capture-sizes", "1", "2", "4"], None),
        (["x"], "x"),
        (["-O2", "x"], "x"),
        (["--seed", "-1", "-2"], "-2"),
    ],
)
def test_a_value_without_its_option_is_found(arguments: list[str], found: str | None) -> None:
    objection = stray(arguments, switches=SWITCHES, lists=LISTS)
    assert (objection.argument if objection else None) == found


def test_what_is_known_of_options_is_what_the_engine_has() -> None:
    assert NAMES.keys() >= TUNING
    assert {name.removeprefix("no-") for name in FORBIDDEN} <= NAMES.keys()
    assert not TUNING & FORBIDDEN.keys()
    assert {name for name in TUNING if NAMES[name] in {"0", "bool"}} == SWITCHES
    assert {name for name in TUNING if NAMES[name] == "+"} == LISTS
