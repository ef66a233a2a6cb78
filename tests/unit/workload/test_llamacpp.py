"""How llama.cpp's server is started: what it is told, and what it cannot be told.

`read` is the judge: it knows every option of the server and reads arguments by its rules, which are: an option is spelt
out, underscores count as dashes, and it takes the next argument as its value, whatever that begins with.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bailiwick.api.arguments import LLAMA_CPP_TUNING
from bailiwick.workload.engines.llamacpp import FORBIDDEN, OPPOSITES, SWITCHES
from tests.unit.workload.given import GPU, IMAGE, accelerator, child, engine, model, plan, pod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.plan import WorkloadPlan

OPTIONS = [
    line.split() for line in (Path(__file__).parent / "llamacpp-options.txt").read_text().splitlines() if line[0] != "#"
]
KINDS = {spelling: (kind, names[0]) for kind, *names in OPTIONS for spelling in names}
NAMES = {spelling.removeprefix("--"): kind for spelling, (kind, _) in KINDS.items() if spelling.startswith("--")}


class NotStartedError(Exception):
    """The engine would end with a usage error."""


def read(arguments: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The last of each option and its values; raises NotStartedError."""
    found: dict[str, tuple[str, ...]] = {}
    rest = iter(arguments)
    for argument in rest:
        spelt = argument.replace("_", "-") if argument.startswith("--") else argument
        if spelt not in KINDS:
            raise NotStartedError(argument)
        kind, first = KINDS[spelt]
        if kind == "bool":
            found[first] = ("off" if spelt.lstrip("-").startswith("no") else "on",)
            continue
        values = tuple(value for _, value in zip(range(int(kind)), rest, strict=False))
        if len(values) < int(kind):
            raise NotStartedError(argument)
        found[first] = values
    return found


def served(of: SovereignModel, **offer: Any) -> WorkloadPlan:
    """The plan on a plain CPU whose class offers llama.cpp."""
    on = accelerator(offer={"name": "llama.cpp", **offer})
    return plan(of, classes=[on])


def small(**spec: Any) -> SovereignModel:
    return model(**{"engine": {"name": "llama.cpp"}, **spec})


PLAIN = read(engine(served(small()))["args"])


def test_it_listens_on_loopback_alone_and_maps_one_local_file() -> None:
    assert PLAIN["--host"] == ("127.0.0.1",)
    assert PLAIN["--port"] == ("8000",)
    assert PLAIN["-m"] == ("/model/model.gguf",)
    assert PLAIN["-a"] == ("tiny",)
    assert not {"-lm", "--rpc", "-mu", "-hf", "-dr"} & PLAIN.keys(), "it maps the file unless it is told otherwise"


def test_it_is_offline_and_shows_nothing_but_the_inference_api_and_metrics() -> None:
    assert PLAIN["--offline"] == ()
    assert PLAIN["--ui"] == ("off",)
    assert PLAIN["--slots"] == ("off",)
    assert PLAIN["--metrics"] == ()
    assert not {"--props", "--tools", "--slot-save-path", "--media-path", "--models-dir"} & PLAIN.keys()


def test_its_environment_says_only_where_it_may_write() -> None:
    told = {each["name"]: each["value"] for each in engine(served(small()))["env"]}
    assert all(value.startswith("/tmp") for value in told.values())  # noqa: S108 - in the container
    assert {"HOME", "TMPDIR", "LLAMA_CACHE"} <= told.keys()


def test_its_pod_has_no_shared_memory_and_outlives_the_requests_that_are_under_way() -> None:
    made = served(small())
    assert [each["name"] for each in pod(made)["volumes"]] == ["model", "scratch"]
    pause = engine(made)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause == 75, "it ends at once when it is told to, so it is told when its requests have ended"
    assert pod(made)["terminationGracePeriodSeconds"] - pause >= 10


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, {"-np": ("4",), "-kvu": ("on",)}),
        ({"context": {"maxLength": 2048}}, {"-np": ("4",), "-c": ("8192",)}),
        ({"context": {"maxLength": 2048, "maxSequences": 8}}, {"-np": ("8",), "-c": ("16384",)}),
        ({"context": {"maxSequences": 2}}, {"-np": ("2",), "-kvu": ("on",)}),
        ({"context": {"kvCacheType": "q8_0"}}, {"-ctk": ("q8_0",), "-ctv": ("q8_0",)}),
        ({"model": {"name": "a/b:1", "source": IMAGE, "file": "q4/a-00001-of-00002.gguf"}},
         {"-m": ("/model/q4/a-00001-of-00002.gguf",), "-a": ("a/b:1",)}),
    ],
)  # fmt: skip
def test_what_a_model_asks_for_becomes_options_of_the_engine(spec: Any, told: dict[str, tuple[str, ...]]) -> None:
    got = read(engine(served(small(**spec)))["args"])
    assert {name: got[name] for name in told} == told
    assert ("-c" in got) is ("maxLength" in spec.get("context", {})), "absent is the model's own"


def test_adapters_are_loaded_at_start_and_change_nothing_until_a_request_asks() -> None:
    adapters = [
        {"name": "letters", "source": IMAGE},
        {"name": "b.c", "source": IMAGE, "file": "lora-f16.gguf"},
    ]
    got = read(engine(served(small(adapters=adapters)))["args"])
    assert got["--lora-scaled"] == ("/adapters/letters/adapter.gguf:0,/adapters/b.c/lora-f16.gguf:0",)
    assert not {"--lora", "--lora-init-without-apply"} & got.keys()


def test_with_adapters_nothing_computed_is_kept_whatever_the_class_says() -> None:
    adapters = [{"name": "letters", "source": IMAGE}]
    got = read(engine(served(small(adapters=adapters), arguments=["--cache-prompt", "--cache-ram", "64"]))["args"])
    assert (got["--cache-prompt"], got["-cram"]) == (("off",), ("0",))
    asked = small(adapters=adapters, engine={"name": "llama.cpp", "arguments": ["--cache-reuse", "8"]})
    assert "does not tell apart" in served(asked).verdict.message


def test_a_models_tuning_goes_behind_its_classs() -> None:
    asked = small(engine={"name": "llama.cpp", "arguments": ["--threads", "2", "--no-warmup"]})
    args = engine(served(asked, arguments=["--threads", "1"]))["args"]
    assert args[-5:] == ["--threads", "1", "--threads", "2", "--no-warmup"]


def test_the_gate_is_told_nothing_of_an_engine_that_is_like_vllm() -> None:
    gate = next(each for each in pod(served(small()))["initContainers"] if each["name"] == "gate")
    assert "env" not in gate


def test_its_children_are_called_by_its_name() -> None:
    assert child(served(small()), "Service")["metadata"]["labels"]["app.kubernetes.io/name"] == "llama.cpp"


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"context": {"quantization": "awq"}}, "UnsupportedFeature", "name the file that you want in spec.model.file"),
        ({"parallelism": {"pipeline": 2}}, "UnsupportedFeature", "spec.parallelism asks for more than tensor"),
        ({"parallelism": {"expert": True}}, "UnsupportedFeature", "spec.parallelism asks for more than tensor"),
        ({"context": {"maxLength": 16_000_000, "maxSequences": 135}}, "InvalidModel", "counts to 2147483647"),
        ({"engine": ["--dtype", "half"]}, "ForbiddenArgument", "'--dtype' in spec.engine.arguments is an option of"),
        ({"engine": ["--temp=1"]}, "ForbiddenArgument", "'--temp=1' in spec.engine.arguments holds a value"),
        ({"engine": ["--temp"]}, "ForbiddenArgument", "'--temp' in spec.engine.arguments needs a value"),
        ({"engine": ["--no-temp", "1"]}, "ForbiddenArgument", "'--no-temp' in spec.engine.arguments is the opposite"),
        ({"engine": ["--jinja", "evil"]}, "ForbiddenArgument", "'evil' in spec.engine.arguments is a value that no"),
        ({"engine": ["-O2"]}, "ForbiddenArgument", "'-O2' in spec.engine.arguments is a value that no"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_asked_for_is_refused_with_a_remedy(spec: Any, reason: str, says: str) -> None:
    given_arguments = {"engine": {"name": "llama.cpp", "arguments": spec["engine"]}} if "engine" in spec else spec
    made = served(small(**given_arguments))
    assert (made.verdict.allowed, made.verdict.reason) == (False, reason)
    assert says in made.verdict.message
    assert ";" in made.verdict.message, "a remedy follows"


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ({"arguments": ["--host", "::"]}, "argument --host of engine llama.cpp in accelerator class cpu"),
        ({"arguments": ["--hf_repo", "a/b"]}, "argument --hf_repo of"),
        ({"arguments": ["--fim-qwen-1.5b-default"]}, "argument --fim-qwen-1.5b-default of"),
        ({"arguments": ["--tools", "all"]}, "argument --tools of"),
        ({"arguments": ["-hf", "a/b"]}, "is a short form"),
        ({"arguments": ["--log-prompts-dir", "/x"]}, "it writes prompts"),
        ({"environment": [{"name": "LLAMA_ARG_HF_REPO", "value": "a/b"}]}, "variable LLAMA_ARG_HF_REPO of engine"),
        ({"environment": [{"name": "HF_TOKEN", "value": "x"}]}, "variable HF_TOKEN of"),
        ({"environment": [{"name": "AIP_MODE", "value": "PREDICTION"}]}, "variable AIP_MODE of"),
        ({"environment": [{"name": "HOME", "value": "/model"}]}, "variable HOME of"),
    ],
)
def test_a_class_that_would_open_the_engine_is_refused_with_its_name(offer: Any, says: str) -> None:
    made = served(small(), **offer)
    assert (made.verdict.reason, made.objects) == ("ForbiddenArgument", ())
    assert says in made.verdict.message


def test_a_class_may_give_what_its_device_needs() -> None:
    offer = {
        "arguments": ["--threads", "4", "--numa", "numactl", "--load-mode", "mlock"],
        "environment": [{"name": "X"}],
    }
    made = served(small(), **offer)
    assert made.verdict.allowed, made.verdict
    assert {"name": "X"} in engine(made)["env"]


def test_devices_are_those_of_the_pod() -> None:
    on = accelerator(offer={"name": "llama.cpp"}, resources=[GPU])
    container = engine(plan(small(accelerators={"classes": ["cpu"], "perReplica": 2}), classes=[on]))
    assert container["resources"]["limits"] == {GPU: "2"}
    assert container["args"] == engine(served(small()))["args"], "it takes all that it finds"


FOR_CLASSES = set(
    """
    chat-template-file control-vector control-vector-layer-range control-vector-scaled cpu-mask cpu-mask-batch
    cpu-range cpu-range-batch cpu-strict cpu-strict-batch defrag-thold device dry-sequence-breaker escape fit fit-ctx
    fit-target grammar grammar-file ignore-eos image-max-tokens image-min-tokens json-schema json-schema-file lazy-mode
    load-mode log-colors log-disable log-jsonl log-prefix log-timestamps logit-bias lookup-cache-static main-gpu mmproj
    mmproj-auto mmproj-device mmproj-offload mtmd-batch-max-tokens n-cpu-ffn no-host numa override-kv override-tensor
    perf poll poll-batch prio prio-batch reverse-prompt sampler-seq sleep-idle-seconds split-mode spm-infill tags
    tensor-split timeout video-fps video-timestamp-interval
    """.split()  # noqa: SIM905
)
"""What a platform team may give its devices, and a model may not; and all that is about drafts, from local files."""


def test_every_option_of_the_engine_was_considered_in_all_its_spellings() -> None:
    """A table that a new release outgrows shows here, once its options are written into llamacpp-options.txt."""
    for kind, *spellings in OPTIONS:
        names = {each.removeprefix("--") for each in spellings if each.startswith("--")}
        positive = {each for each in names if kind != "bool" or not each.startswith("no-")}
        closed = positive & FORBIDDEN.keys()
        assert closed in (set(), positive), f"one spelling of {spellings} is refused, and another is not"
        tuning = positive & LLAMA_CPP_TUNING
        drafts = {each for each in positive if each.startswith(("spec-", "draft"))}
        assert closed or tuning or drafts or positive & FOR_CLASSES, f"nobody thought of {spellings}"


def test_what_a_model_may_give_is_read_as_it_is_meant() -> None:
    assert NAMES.keys() >= LLAMA_CPP_TUNING
    assert NAMES.keys() >= FORBIDDEN.keys()
    assert not LLAMA_CPP_TUNING & FORBIDDEN.keys()
    assert {name for name in LLAMA_CPP_TUNING if NAMES[name] == "0"} == SWITCHES
    assert {name for name in LLAMA_CPP_TUNING if NAMES[name] == "bool"} == OPPOSITES
    assert {f"no-{name}" for name in OPPOSITES} <= NAMES.keys()
    assert "2" not in {NAMES[name] for name in LLAMA_CPP_TUNING}


VALUES = st.sampled_from(["1", "-1", "", "evil/model", "--host", "a.b", "=", "x=y"]) | st.text(
    st.characters(exclude_categories=["C"]), min_size=1, max_size=8
)
SPELT = st.sampled_from(sorted(NAMES)).flatmap(
    lambda name: st.sampled_from(
        [f"--{name}", f"--no-{name}", f"--{name.replace('-', '_')}", f"-{name}", f"--{name}=1"]
    )
)
ARGUMENTS = st.lists(
    st.tuples(st.sampled_from(sorted(LLAMA_CPP_TUNING)).map("--{}".format), VALUES).map(list)
    | st.sampled_from(sorted(SWITCHES | OPPOSITES)).map(lambda name: [f"--{name}"])
    | SPELT.map(lambda each: [each])
    | VALUES.map(lambda each: [each]),
    max_size=4,
).map(lambda pieces: [each for piece in pieces for each in piece])
TUNABLE = {KINDS[f"--{name}"][1] for name in LLAMA_CPP_TUNING}


@settings(max_examples=200)
@example(["--temp", "--host"])
@example(["--special", "--temp"])
@given(ARGUMENTS)
def test_whatever_a_model_may_give_changes_nothing_but_tuning(given_by_user: list[str]) -> None:
    with suppress(ValidationError):  # the API server refuses it
        made = served(small(engine={"name": "llama.cpp", "arguments": given_by_user}))
        if made.verdict.allowed:
            got = read(engine(made)["args"])  # never a usage error: what is planned starts
            changed = {name for name in got.keys() | PLAIN.keys() if got.get(name) != PLAIN.get(name)}
            assert changed <= TUNABLE
