"""Several variants of one model: every one is judged, one is chosen and served, and the choice stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick.workload.sizing.profile import Profile, write_profile
from bailiwick.workload.status import Seen, summarise
from tests.unit.workload.given import DIGEST, NOW, accelerator, child, engine, gpus, model, node, plan, pod, policy
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

TAIWAN = PUBLIC["Llama-3-Taiwan-70B-Instruct"]
WIDE = write_profile(Profile(config=changed(TAIWAN)))
NARROW = write_profile(Profile(config=changed(TAIWAN, quantization_config={"quant_method": "fp8"})))
STRANGE = write_profile(Profile(config=changed(LLAMA_8B, model_type="strange")))
PROFILES = {"bf16": WIDE, "fp8": NARROW}
FIGURES: dict[str, Any] = {
    "memory": "80G", "bandwidth": "3T", "thermalDesignPower": 700, "devicesPerNode": 8,
}  # fmt: skip
PINNED = {name: {"oci": {"image": f"registry.example/{name}@{DIGEST}"}} for name in ("bf16", "fp8", "third")}


def variant(name: str, **of: Any) -> dict[str, Any]:
    return {"name": name, "source": PINNED.get(name, PINNED["bf16"]), "profile": {"configMap": name}} | of


def of(*listed: dict[str, Any], **told: Any) -> dict[str, Any]:
    return {"name": "tiny", "variants": list(listed), **told}


BOTH = of(variant("bf16", quality="0.82"), variant("fp8", quality="0.8"))


def varied(asked: Any = BOTH, *, profiles: Any = PROFILES, classes: Any = None, **rest: Any) -> Any:
    """The plan of a model with variants on class ``gpu`` of 80 GB."""
    given = {name: rest.pop(name) for name in ("nodes", "policies", "authorities") if name in rest}
    spec = {"model": asked, "accelerators": {"classes": ["gpu"]}, **rest}
    offered = [gpus(**FIGURES), accelerator()] if classes is None else classes
    return plan(model(**spec), classes=offered, profiles=profiles, **given)


def kept(made: Any) -> Any:
    return {"plan": made.plan.model_dump(mode="json", by_alias=True, exclude_none=True)}


# The choice


@pytest.mark.parametrize(
    ("objective", "chosen", "devices", "why"),
    [
        ("Balanced", "bf16", 4, "tiny:bf16 on 4 x gpu is the first in order of preference that fits"),
        ("Latency", "bf16", 4, "tiny:bf16 on 4 x gpu reads "),
        ("Energy", "fp8", 2, "have 0.9 of the best declared quality 0.82 (Energy)"),
    ],
)
def test_the_objective_chooses_and_the_status_tells_why(objective: str, chosen: str, devices: int, why: str) -> None:
    made = varied(objective=objective)
    assert (made.plan.variant, made.plan.devices_per_replica) == (chosen, devices)
    assert why in made.plan.why


def test_the_first_that_fits_is_taken_and_what_was_refused_is_told() -> None:
    made = varied(accelerators={"classes": ["gpu"], "perReplica": 2})
    assert made.plan.variant == "fp8"
    assert any("tiny:bf16" in note and "does not fit 2 devices" in note for note in made.notes)


def test_energy_goes_by_what_was_measured_of_a_variant() -> None:
    told = [{"model": f"tiny:{name}", "joulesPerToken": cost, "source": "a meter"} for name, cost in
            (("bf16", "0.1"), ("fp8", "0.2"))]  # fmt: skip
    made = varied(objective="Energy", classes=[gpus(**FIGURES, measurements=told)])
    assert made.plan.variant == "bf16"
    assert "0.1 J per token as measured" in made.plan.why


def test_energy_leaves_out_what_is_not_good_enough() -> None:
    asked = of(variant("bf16", quality="0.82"), variant("fp8", quality="0.7"))
    assert varied(asked, objective="Energy").plan.variant == "bf16"


def test_a_variant_of_good_quality_that_does_not_fit_still_sets_the_bar() -> None:
    asked = of(variant("bf16", quality="0.82"), variant("fp8", quality="0.7"))
    made = varied(asked, objective="Energy", accelerators={"classes": ["gpu"], "perReplica": 2})
    assert made.verdict.reason == "DoesNotFit"
    assert "no variant that fits has 0.9 of the best declared quality 0.82" in made.verdict.message


def test_energy_needs_the_quality_of_every_variant() -> None:
    made = varied(of(variant("bf16", quality="0.82"), variant("fp8")), objective="Energy")
    assert (made.verdict.reason, made.objects) == ("MissingFigure", ())
    assert "nobody declared that of tiny:fp8" in made.verdict.message


# What follows from it


def test_the_chosen_one_is_mounted_and_clients_ask_for_the_model() -> None:
    made = varied(objective="Energy")
    reference = {"reference": PINNED["fp8"]["oci"]["image"], "pullPolicy": "IfNotPresent"}
    assert [each["image"] for each in pod(made)["volumes"] if "image" in each] == [reference]
    arguments = engine(made)["args"]
    assert arguments[arguments.index("--served-model-name") + 1] == "tiny"


def test_a_single_variant_is_served_like_a_model_of_its_own() -> None:
    own = {"name": "tiny", "source": PINNED["bf16"], "profile": {"configMap": "bf16"}}
    alone, as_ever = varied(of(variant("bf16"))), varied(own, profiles={"": WIDE})
    assert alone.objects == as_ever.objects


def test_only_the_chosen_one_is_imported_and_verified() -> None:
    bucket = {"endpoint": "https://storage.example", "bucket": "models", "into": {"claimName": "kept"}}
    asked = of(
        variant("bf16", quality="1", source={"s3": {**bucket, "prefix": "wide"}}),
        variant("fp8", quality="1", source={"s3": {**bucket, "prefix": "narrow"}}, manifest={"configMap": "sums"}),
    )
    made = varied(asked, objective="Energy")
    (awaited,) = made.awaited
    assert awaited.where == "spec.model.variants[fp8].source"
    (job,) = (each for each in made.objects if each["kind"] == "Job")
    assert "--prefix=narrow" in job["spec"]["template"]["spec"]["containers"][0]["args"]
    (check,) = (each for each in pod(made)["initContainers"] if each["name"] == "verify")
    assert "--manifest=/verification/model-manifest/SHA256SUMS" in check["args"]


def test_the_condition_verified_speaks_of_the_one_that_is_served() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "kept"}}
    asked = of(variant("bf16", quality="1"), variant("fp8", quality="1", source=claim))

    def verified(status: Any = None, **spec: Any) -> Any:
        of_it = {"model": asked, "accelerators": {"classes": ["gpu"]}, **spec}
        whole = model(status=status, **of_it)
        seen = Seen(
            manifest={"metadata": {}, "status": status or {}}, deployment=None, pods=(), facts={}, outside={},
            failure=None,
        )  # fmt: skip
        made = plan(whole, classes=[gpus(**FIGURES)], profiles=PROFILES)
        told = {each["type"]: each for each in summarise(whole, made, seen, now=NOW)["conditions"]}
        return told["Verified"]["reason"], told["Planned"]["message"]

    assert verified()[0] == "NoPods", "of an image by digest a container compares the profile, and there is none yet"
    reason, planned = verified(objective="Energy")
    assert reason == "NotVerified"
    assert planned.startswith("vllm on class gpu with variant fp8; tiny:fp8 on 2 x gpu takes ")
    refused = {"parallelism": {"tensor": 3}}
    assert verified({"plan": kept(varied(objective="Energy"))["plan"]}, **refused)[0] == "NotVerified"
    assert verified({"plan": kept(varied())["plan"]}, **refused)[0] == "NoPods"


# Every one is judged


FORBIDDEN = [
    (
        {"signature": {"authority": "abroad"}},
        "SignatureRequired",
        "spec.model.variants[fp8] is signed by Authority abroad",
    ),
    ({"licence": "Llama-3"}, "LicenceNotAllowed", "spec.model.variants[fp8].licence is Llama-3"),
]


@pytest.mark.parametrize(("told", "reason", "says"), FORBIDDEN, ids=lambda each: str(each)[:20])
@pytest.mark.parametrize("at", [0, 1])
def test_one_that_may_not_be_served_refuses_the_model(at: int, told: Any, reason: str, says: str) -> None:
    signed = {"signature": {"authority": "ministry"}}
    listed = [variant("bf16", **signed)]
    listed.insert(at, variant("fp8", **signed) | told)
    here = {"sources": ["oci://registry.example/"], "requireDigest": False}
    rule = {"models": {**here, "signedBy": ["ministry"], "licences": ["MIT"]}}
    made = varied(of(*listed, licence="MIT"), policies=[policy(spec=rule)])
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message


@pytest.mark.parametrize("turn", [False, True])
def test_one_that_cannot_be_mounted_or_checked_refuses_the_model(turn: bool) -> None:
    def refused(bad: dict[str, Any]) -> Any:
        listed = [variant("bf16"), bad]
        return varied(of(*(reversed(listed) if turn else listed))).verdict

    verdict = refused(variant("fp8", source={"s3": {"endpoint": "https://storage.example", "bucket": "models"}}))
    assert verdict.reason == "UnsupportedSource"
    assert "spec.model.variants[fp8].source.s3 needs an import" in verdict.message
    verdict = refused(variant("fp8", signature={"authority": "nobody"}))
    assert verdict.reason == "AuthorityUnknown"
    assert "spec.model.variants[fp8].signature.authority names Authority nobody" in verdict.message


@pytest.mark.parametrize("devices", [{}, {"accelerators": {"classes": ["gpu"], "perReplica": 4}}])
@pytest.mark.parametrize(
    ("profile", "reason", "says"),
    [
        (None, "MissingProfile", "no ConfigMap fp8 with the label"),
        ("{", "MalformedProfile", "spec.model.variants[fp8]: the model's profile is not JSON"),
        (STRANGE, "UnknownArchitecture", "spec.model.variants[fp8]: "),
    ],
)
def test_one_of_which_nobody_knows_the_size_refuses_the_model(
    profile: Any, reason: str, says: str, devices: Any
) -> None:
    """Whether it would be the better choice nobody can say, and when it is known pods would move."""
    made = varied(profiles={"bf16": WIDE, "fp8": profile}, **devices)
    assert (made.verdict.reason, made.objects) == (reason, ())
    assert says in made.verdict.message


def test_what_no_engine_can_choose_among_is_refused() -> None:
    offer = {"name": "llama.cpp", "image": "registry.example/llama"}
    made = varied(classes=[gpus(offer=offer)], engine={"name": "llama.cpp"})
    assert made.verdict.reason == "UnsupportedFeature"
    assert "take one of them as spec.model.source" in made.verdict.message


@pytest.mark.parametrize("devices", [{}, {"parallelism": {"tensor": 4}}])
def test_adapters_are_not_counted_and_so_nothing_can_be_chosen(devices: Any) -> None:
    made = varied(adapters=[{"name": "legal", "source": PINNED["third"]}], **devices)
    assert (made.verdict.reason, made.objects) == ("UnsupportedFeature", ())
    assert "take one of spec.model.variants as spec.model.source" in made.verdict.message


# What was chosen stands


def test_the_choice_stands_while_spec_and_profiles_do() -> None:
    before = varied(nodes=[node(gpu="8")])
    assert before.plan.variant == "bf16"
    status = kept(before)
    small = [gpus(**{**FIGURES, "memory": "40G"}), accelerator()]
    later: list[dict[str, Any]] = [
        {}, {"classes": small}, {"profiles": {}}, {"profiles": {"bf16": WIDE}}, {"replicas": 3},
    ]  # fmt: skip
    for rest in later:
        after = varied(nodes=[node(gpu="8")], status=status, **rest)
        assert after.plan == before.plan, rest
        assert engine(after) == engine(before)
    assert "no ConfigMap fp8" in varied(status=status, profiles={"bf16": WIDE}, nodes=[node(gpu="8")]).notes[0]
    other = {**status["plan"], "variant": "fp8"}
    assert varied(status={"plan": other}, nodes=[node(gpu="8")]).plan.variant == "fp8"


@pytest.mark.parametrize(
    "change",
    [
        {"asked": of(variant("fp8", quality="0.8"), variant("bf16", quality="0.82"))},
        {"asked": of(variant("bf16", quality="0.9"), variant("fp8", quality="0.8"))},
        {"asked": of(*BOTH["variants"], variant("third")), "profiles": {**PROFILES, "third": NARROW}},
        {"profiles": {"bf16": WIDE, "fp8": WIDE}},
        {"objective": "Latency"},
    ],
    ids=["order", "quality", "a further one", "another's profile", "objective"],
)
def test_a_change_of_what_is_asked_is_planned_anew(change: Any) -> None:
    status = {"plan": kept(varied())["plan"] | {"devicesPerReplica": 8, "tensor": 8}}
    assert varied(status=status).plan.devices_per_replica == 8
    assert varied(status=status, **change).plan == varied(**change).plan


def test_a_figure_that_is_written_otherwise_is_the_same() -> None:
    status = {"plan": kept(varied())["plan"] | {"devicesPerReplica": 8, "tensor": 8}}
    asked = of(variant("bf16", quality="0.820"), variant("fp8", quality="0.80"))
    assert varied(asked, status=status).plan.devices_per_replica == 8


def test_a_new_digest_of_the_same_shape_keeps_the_choice() -> None:
    status = {"plan": kept(varied())["plan"] | {"devicesPerReplica": 8, "tensor": 8}}
    image = {"oci": {"image": f"registry.example/bf16@sha256:{'1' * 64}"}}
    asked = of(variant("bf16", quality="0.82", source=image), variant("fp8", quality="0.8"))
    made = varied(asked, status=status)
    assert (made.plan.variant, made.plan.devices_per_replica) == ("bf16", 8)
    assert image["oci"]["image"] in str(child(made, "Deployment"))


def test_a_model_that_gets_variants_and_one_that_loses_them_are_planned_anew() -> None:
    own = {"name": "tiny", "source": PINNED["bf16"], "profile": {"configMap": "bf16"}}
    as_ever = varied(own, profiles={"": WIDE})
    assert as_ever.plan.variant is None
    assert varied(status=kept(as_ever)).plan == varied().plan
    assert varied(own, profiles={"": WIDE}, status=kept(varied())).plan == as_ever.plan


# Properties


NODES = [node("big", gpu="8", labels={"kind": "big"}), node("small", gpu="8", labels={"kind": "small"})]
KINDS = {
    name: gpus(name, **{**FIGURES, **figures}, nodeSelector={"matchLabels": {"kind": name}})
    for name, figures in {
        "big": {"memory": "192G", "bandwidth": "8T", "thermalDesignPower": 1000}, "small": {},
        "tiny": {"memory": "24G", "bandwidth": "300G", "thermalDesignPower": 72},
    }.items()
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    classes=st.permutations(sorted(KINDS)),
    order=st.permutations(["bf16", "fp8"]),
    objective=st.sampled_from(["Latency", "Energy"]),
    there=st.sets(st.sampled_from([0, 1])),
)
def test_orders_do_not_matter_where_figures_decide(
    classes: list[str], order: list[str], objective: str, there: set[int]
) -> None:
    def chosen(classes: list[str], order: list[str]) -> Any:
        quality = {"bf16": "0.82", "fp8": "0.8"}
        asked = of(*(variant(name, quality=quality[name]) for name in order))
        made = varied(
            asked, objective=objective, classes=list(KINDS.values()), nodes=[NODES[each] for each in sorted(there)],
            accelerators={"classes": classes},
        )  # fmt: skip
        return made.plan.variant, made.plan.accelerator_class, made.plan.devices_per_replica

    assert chosen(classes, order) == chosen(sorted(KINDS), ["bf16", "fp8"])


@settings(max_examples=60, deadline=None)
@given(
    qualities=st.lists(st.integers(1, 100), min_size=2, max_size=2),
    objective=st.sampled_from(["Balanced", "Latency", "Energy"]),
    devices=st.sampled_from(["auto", 1, 2, 4, 8]),
    gone=st.sampled_from([None, "bf16", "fp8"]),
)
def test_what_is_served_is_listed_good_enough_and_planned_again_as_it_is(
    qualities: list[int], objective: str, devices: Any, gone: str | None
) -> None:
    asked = of(*(variant(name, quality=str(each)) for name, each in zip(PROFILES, qualities, strict=True)))
    spec = {"objective": objective, "accelerators": {"classes": ["gpu"], "perReplica": devices}}
    made = varied(asked, nodes=[node(gpu="8")], **spec)
    if not made.verdict.allowed:
        assert made.objects == ()
        return
    quality = dict(zip(PROFILES, qualities, strict=True))[made.plan.variant]
    assert objective != "Energy" or quality >= 0.9 * max(qualities)
    profiles = {name: text for name, text in PROFILES.items() if name != gone}
    again = varied(asked, nodes=[node(gpu="8")], status=kept(made), profiles=profiles, **spec)
    assert (again.plan, again.objects) == (made.plan, made.objects)
