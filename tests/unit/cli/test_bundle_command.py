"""`bailiwick bundle`: what it lists, what it says is missing, and how it ends."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bailiwick import __version__
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli import main
from bailiwick.cli.files.chart import families, is_image, open_chart
from bailiwick.cli.files.manifests import UnusableError
from bailiwick.cli.files.values import Values
from bailiwick.cli.offline.bundle import digest_of, to_copy
from bailiwick.cli.offline.contents import Given
from bailiwick.workload.sized import basis
from bailiwick.workload.sizing.profile import digest
from tests.unit.workload.sizing.given import LLAMA_8B

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/bailiwick"
API = "bailiwick.dev/v1alpha1"
DIGEST = "sha256:" + "a" * 64
OPERATOR, GATE = "localhost/bailiwick/operator:dev", "localhost/bailiwick/gate:dev"
VLLM, LLAMA_CPP = "localhost/bailiwick/vllm-cpu:dev", "localhost/bailiwick/llama-cpp:dev"
WEIGHTS = f"registry.example/models/m@{DIGEST}"
PINNED = {
    "image": {"repository": "mirror.example/operator", "digest": DIGEST},
    "gate": {"image": f"mirror.example/gate@{DIGEST}"},
    "weights": {"image": f"mirror.example/weights@{DIGEST}"},
    "acceleratorClasses": {"cpu": {
        "image": f"mirror.example/vllm@{DIGEST}", "llamaCpp": {"image": f"mirror.example/llama@{DIGEST}"},
    }},
}  # fmt: skip


def model(name: str = "m", *, source: Any = None, told: Any = None, **spec: Any) -> dict[str, Any]:
    """``clinic/NAME``, by default on class cpu with weights in an image by digest; ``told`` is said of the weights."""
    what = {"name": "m", "source": source or {"oci": {"image": WEIGHTS}}, **(told or {})}
    return {
        "apiVersion": API, "kind": "SovereignModel", "metadata": {"name": name, "namespace": "clinic"},
        "spec": {"model": what, **spec},
    }  # fmt: skip


def on(*classes: str, **more: Any) -> dict[str, Any]:
    return {"accelerators": {"classes": list(classes), **more}}


def accelerator(name: str, **spec: Any) -> dict[str, Any]:
    engines = [{"name": "vllm", "image": f"registry.example/{name}@{DIGEST}"}]
    return {
        "apiVersion": API, "kind": "AcceleratorClass", "metadata": {"name": name}, "spec": {"engines": engines, **spec},
    }  # fmt: skip


def profile(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"profile.json": text},
        "metadata": {"name": "p", "namespace": "clinic", "labels": {"bailiwick.dev/profile": "true"}},
    }  # fmt: skip


class Desk:
    """A folder with manifests and values, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self._count = 0

    def put(self, *objects: Any, name: str = "") -> str:
        self._count += 1
        path = self.folder / (name or f"{self._count}.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(objects[0] if isinstance(objects[0], str) else yaml.safe_dump_all(objects))
        return str(path)

    def says(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self._monkeypatch.setattr(sys, "argv", ["bailiwick", "bundle", *arguments])
        assert main() == code
        out, error = self._capsys.readouterr()
        assert bool(error) == bool(code)
        return out, error

    def lists(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.says(*arguments, "-o", "json", code=code)[0])
        return told

    def images(self, *objects: Any, values: Any = None, code: int = 0) -> set[str]:
        """The images of a bundle for some objects."""
        arguments = [self.put(*objects)] if objects else []
        arguments += ["-f", self.put(values)] if values else []
        return {each["reference"] for each in self.lists(*arguments, code=code)["images"]}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


# Which images


NVIDIA = "registry.example/vllm/vllm-openai:v0.33.0"
FAMILIES = {"acceleratorClasses": {"families": ["nvidia", "arm"]}}


@pytest.mark.parametrize("with_profiles", [False, True])
def test_every_variant_is_listed_for_any_may_be_chosen(desk: Desk, with_profiles: bool) -> None:
    images = {name: f"registry.example/models/{name}@{DIGEST}" for name in ("whole", "fp8")}
    variants = [
        {"name": name, "source": {"oci": {"image": image}}, "profile": {"configMap": "p"}}
        for name, image in images.items()
    ]
    manifest = model(**on("large"))
    manifest["spec"]["model"] = {"name": "m", "variants": variants}
    large = accelerator("large", resources=["a.example/b"], memory="80G", devicesPerNode=1)
    text = json.dumps({"version": 1, "files": {}, "config": LLAMA_8B})
    assert set(images.values()) <= desk.images(manifest, large, *([profile(text)] if with_profiles else []))


def test_what_is_said_of_one_variant_names_it(desk: Desk) -> None:
    """A bucket without a claim to import into is not served; beside another that is, only a note tells of it."""
    bucket = {"s3": {"endpoint": "https://s.example", "bucket": "models"}}
    image = {"oci": {"image": WEIGHTS}}
    manifest = model()

    def varied(**sources: Any) -> Any:
        forms = [{"name": name, "source": of, "profile": {"configMap": "p"}} for name, of in sources.items()]
        return {**manifest, "spec": {**manifest["spec"], "model": {"name": "m", "variants": forms}}}

    (note,) = (each for each in desk.lists(desk.put(varied(whole=image, fp8=bucket)))["notes"] if "served" in each)
    assert note.startswith("clinic/m is not served as fp8 on cpu: ")
    refused = desk.put(varied(whole=bucket, fp8=bucket))
    assert [each["variant"] for each in desk.lists(refused, code=1)["problems"]] == ["fp8", "whole"]
    _, error = desk.says(refused, "-o", "images", code=1)
    assert "not complete: clinic/m as fp8 on cpu: UnsupportedSource: " in error


@pytest.mark.parametrize(
    ("objects", "values", "more"),
    [
        ([], {}, {VLLM, LLAMA_CPP}),
        ([], {"acceleratorClasses": {"cpu": {"install": False}}}, set()),
        ([], {"acceleratorClasses": {"families": ["furiosa-rngd"], "registry": "mirror.example:5000/ai"}},
         {VLLM, LLAMA_CPP, "mirror.example:5000/ai/furiosaai/furiosa-llm:2026.4.0"}),
        ([model()], {}, {VLLM, WEIGHTS}),
        ([model(engine={"name": "llama.cpp"})], {}, {LLAMA_CPP, WEIGHTS}),
        ([model(engine={"image": "mirror.example/own:1"})], {}, {"mirror.example/own:1", WEIGHTS}),
        ([model(**on("nvidia-h100", "nvidia-l4"))], FAMILIES, {NVIDIA, WEIGHTS}),
        ([model(**on("nvidia-h100", "cpu"))], FAMILIES, {NVIDIA, VLLM, WEIGHTS}),
        ([model(engine={"name": "llama.cpp"}, **on("nvidia-h100", "cpu"))], FAMILIES, {LLAMA_CPP, WEIGHTS}),
        ([model(**on("gpu")), accelerator("gpu")], {}, {f"registry.example/gpu@{DIGEST}", WEIGHTS}),
        ([model(), accelerator("cpu")], {}, {f"registry.example/cpu@{DIGEST}", WEIGHTS}),
        ([model(**on("big", perReplica=16)), accelerator("big", resources=["a.example/b"], devicesPerNode=8)], {},
         {f"registry.example/big@{DIGEST}", WEIGHTS}),
        ([model(source={"hostPath": {"path": "/m"}})], {}, {VLLM}),
        ([model(adapters=[{"name": "a", "source": {"oci": {"image": "mirror.example/a:1"}}}])], {},
         {VLLM, WEIGHTS, "mirror.example/a:1"}),
    ],
    ids=[
        "the chart alone: engines of every class it installs", "no class, no engine", "a family, where it is mirrored",
        "a model: the engine that it names, and its weights", "another engine", "an image of its own",
        "classes that share an image", "each class that it may take", "a class without its engine is not taken",
        "a class from a file", "a class from a file counts more than the chart's", "groups of nodes",
        "weights that are no image", "adapters",
    ],
)  # fmt: skip
def test_it_lists_what_is_needed_and_nothing_else(desk: Desk, objects: Any, values: Any, more: set[str]) -> None:
    assert desk.images(*objects, values=values) == {OPERATOR, GATE} | more


def test_every_class_can_be_listed_beside_what_models_need(desk: Desk) -> None:
    values = desk.put(FAMILIES)
    told = desk.lists(desk.put(model()), "-f", values, "--all-classes")
    assert {NVIDIA, VLLM, LLAMA_CPP} < {each["reference"] for each in told["images"]}


def test_later_values_win_and_null_takes_a_value_away(desk: Desk) -> None:
    first = desk.put({"gate": {"image": "a.example/gate:1"}, "image": {"repository": "a.example/o", "tag": "1"}})
    second = desk.put({"image": {"tag": "2"}})
    images = {each["reference"] for each in desk.lists("-f", first, "-f", second)["images"]}
    assert {"a.example/gate:1", "a.example/o:2"} < images
    _, error = desk.says("-f", first, "-f", desk.put({"gate": {"image": None}}), code=2)
    assert "gate.image must be text, and is absent" in error


def test_it_says_who_needs_an_image_and_what_for(desk: Desk) -> None:
    bucket = {"s3": {"endpoint": "https://s.example", "bucket": "models", "into": {"claimName": "c"}}}
    told = desk.lists(desk.put(model(source=bucket)), "-f", desk.put(PINNED))
    needs = {
        each["reference"].partition("@")[0]: {(need["kind"], need["name"], need["use"]) for need in each["neededBy"]}
        for each in told["images"]
    }
    assert needs == {
        "mirror.example/operator": {("Chart", "bailiwick", "image")},
        "mirror.example/gate": {
            ("Chart", "bailiwick", "gate.image"), ("SovereignModel", "clinic/m", "gate"),
            ("SovereignModel", "clinic/m", "seal"),
        },
        "mirror.example/weights": {
            ("Chart", "bailiwick", "weights.image"), ("SovereignModel", "clinic/m", "import"),
            ("SovereignModel", "clinic/m", "verify"),
        },
        "mirror.example/vllm": {("SovereignModel", "clinic/m", "engine")},
    }  # fmt: skip
    engine = next(each for each in told["images"] if "vllm" in each["reference"])
    assert engine["neededBy"][0]["acceleratorClasses"] == ["cpu"]


def test_a_profile_leaves_out_a_class_on_which_the_model_does_not_fit(desk: Desk) -> None:
    small = accelerator("small", resources=["a.example/b"], memory="4G", devicesPerNode=1)
    large = accelerator("large", resources=["a.example/b"], memory="80G", devicesPerNode=1)
    asked = model(told={"profile": {"configMap": "p"}}, **on("small", "large"))
    images = desk.images(asked, small, large, profile(json.dumps({"version": 1, "files": {}, "config": LLAMA_8B})))
    assert f"registry.example/large@{DIGEST}" in images
    assert f"registry.example/small@{DIGEST}" not in images
    told = desk.lists(desk.put(asked, small, large))
    assert len(told["images"]) == 5, "without the profile nobody knows, so both are listed"
    assert "clinic/m: its profile, ConfigMap p, is not given" in told["notes"][0]


def test_a_plan_of_before_does_not_count(desk: Desk) -> None:
    """As `kubectl get -o yaml` writes it, in a List, with a status: the next cluster knows nothing of it."""
    text = json.dumps({"version": 1, "files": {}, "config": LLAMA_8B})
    asked = model(told={"profile": {"configMap": "p"}}, **on("small"))
    standing = {
        "engine": "vllm", "image": "old", "acceleratorClass": "small", "devicesPerReplica": 1, "nodesPerReplica": 1,
        "tensor": 1, "pipeline": 1, "basis": basis(SovereignModel.read(asked)), "profile": digest(text),
    }  # fmt: skip
    items = [
        asked | {"status": {"plan": standing}}, profile(text),
        accelerator("small", resources=["a.example/b"], memory="4G", devicesPerNode=1),
    ]  # fmt: skip
    told = desk.lists(desk.put({"apiVersion": "v1", "kind": "List", "items": items}), code=1)
    assert [each["reason"] for each in told["problems"]] == ["DoesNotFit"]


def test_standard_input_and_folders_are_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump(model("piped")).encode())))
    desk.put(model("filed"), name="folder/a.yaml")
    desk.put(accelerator("gpu"), name="folder/b.yml")
    desk.put("nothing", name="folder/notes.txt")
    told = desk.lists("-", str(desk.folder / "folder"))
    assert [each["model"] for each in told["weights"]] == ["clinic/piped", "clinic/filed"]


# Digests


@pytest.mark.parametrize(
    ("reference", "digest", "copied"),
    [
        ("a.example/b:1", None, "a.example/b:1"),
        (f"a.example/b@{DIGEST}", DIGEST, f"a.example/b@{DIGEST}"),
        (f"a.example/b:1@{DIGEST}", DIGEST, f"a.example/b@{DIGEST}"),
        (f"a.example:5000/b/c:1@{DIGEST}", DIGEST, f"a.example:5000/b/c@{DIGEST}"),
        (f"b:1@{DIGEST}", DIGEST, f"b@{DIGEST}"),
        ("a.example:5000/b", None, "a.example:5000/b"),
    ],
)
def test_an_image_is_copied_by_its_digest_alone(reference: str, digest: str | None, copied: str) -> None:
    assert (digest_of(reference), to_copy(reference)) == (digest, copied)
    assert is_image(copied)


def test_one_image_a_line_for_programs_that_copy(desk: Desk) -> None:
    tagged = f"mirror.example/own:1@{DIGEST}"
    out, _ = desk.says(desk.put(model(engine={"image": tagged})), "-f", desk.put(PINNED), "-o", "images")
    assert out.splitlines() == [
        f"mirror.example/gate@{DIGEST}", f"mirror.example/operator@{DIGEST}", f"mirror.example/own@{DIGEST}",
        f"mirror.example/weights@{DIGEST}", WEIGHTS,
    ]  # fmt: skip


def test_whoever_wants_digests_is_told_what_has_none_and_where_to_write_it(desk: Desk) -> None:
    values = desk.put(PINNED)
    assert desk.lists(desk.put(model()), "-f", values, "--require-digests")["complete"] is True
    plain = desk.put(model(source={"persistentVolumeClaim": {"claimName": "c"}}, engine={"image": "a.example/own:1"}))
    assert desk.says(plain, "-f", values)
    _, error = desk.says(plain, "--require-digests", code=1)
    lines = error.splitlines()
    assert len(lines) == 4
    assert f"image {GATE}: name it by digest in gate.image of the chart's values" in error
    assert (
        "image a.example/own:1: name it by digest in spec.engines of AcceleratorClass cpu, or in spec.engine" in error
    )
    assert "clinic/m: nothing says what the files of spec.model.source must hold" in error


@pytest.mark.parametrize(
    ("source", "told", "stated", "recognised"),
    [
        ({"oci": {"image": WEIGHTS}}, {}, {"imageDigest": DIGEST}, True),
        ({"oci": {"image": "a.example/m:1"}}, {}, {}, False),
        ({"oci": {"image": "a.example/m:1"}}, {"digest": DIGEST}, {"digest": DIGEST}, True),
        ({"hostPath": {"path": "/m"}}, {"manifest": {"configMap": "f"}},
         {"manifest": "ConfigMap f, key SHA256SUMS"}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, {}, {}, False),
        ({"huggingFace": {"repository": "a/b", "revision": "1" * 40, "into": {"claimName": "c"}}}, {},
         {"commit": "1" * 40}, False),
        ({"s3": {"endpoint": "https://s.example", "bucket": "models", "into": {"claimName": "c"}}},
         {"digest": DIGEST}, {"digest": DIGEST}, True),
    ],
    ids=[
        "an image by digest", "an image by tag", "an image by tag with a digest of its files", "a manifest",
        "a claim and nothing", "a commit is the hub's word", "a bucket with a digest",
    ],
)  # fmt: skip
def test_of_weights_it_lists_the_source_and_what_is_stated(
    desk: Desk, source: Any, told: Any, stated: Any, *, recognised: bool
) -> None:
    (weights,) = desk.lists(desk.put(model(source=source, told=told)))["weights"]
    assert (weights["model"], weights["field"], weights["source"]) == ("clinic/m", "spec.model", source)
    assert (weights["stated"], weights["recognised"]) == (stated, recognised)
    assert any("nothing says what the files must hold" in note for note in weights["notes"]) is not recognised


def test_a_signature_needs_its_authority_beside_it(desk: Desk) -> None:
    authority = {
        "apiVersion": API, "kind": "Authority", "metadata": {"name": "lab"},
        "spec": {"publicKeys": [{"pem": (
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA4t2IyAZXgPSyXVuEVlohme4dTuq+jMwLZ0linbw/snk=\n"
            "-----END PUBLIC KEY-----\n"
        )}], "mayVouchFor": ["models"], "jurisdictions": ["DE"]},
    }  # fmt: skip
    signed = model(told={"signature": {"authority": "lab"}})
    (weights,) = desk.lists(desk.put(signed, authority))["weights"]
    assert weights["stated"]["signature"] == "of Authority lab, model.sig beside the files"
    (problem,) = desk.lists(desk.put(signed), code=1)["problems"]
    assert problem["reason"] == "AuthorityUnknown"


def test_of_a_model_that_is_served_outside_the_gate_is_listed(desk: Desk) -> None:
    told = desk.lists(desk.put(model(source={"endpoint": {"statement": "mac-1"}}, engine={"name": "external"})))
    needs = {each["reference"]: [need["name"] for need in each["neededBy"]] for each in told["images"]}
    assert needs == {OPERATOR: ["bailiwick", "bailiwick"], GATE: ["bailiwick", "clinic/m"]}
    assert told["weights"] == []
    assert "served outside the cluster" in told["notes"][0]


# What is missing


@pytest.mark.parametrize(
    ("objects", "reason", "says"),
    [
        ([model(**on("nvidia-h100"))], "NoAccelerator", "neither the chart installs with these values"),
        ([model(**on("cpu", "nvidia-h100"))], "NoAccelerator", "so the image of its engine is not listed"),
        ([model(engine={"name": "furiosa-llm"})], "NoAccelerator", "is served by none of the accelerator classes"),
        ([model(autoscaling={"minReplicas": 0, "maxReplicas": 1})], "NotInstalled", "set autoscaling.prometheus"),
        ([model(source={"s3": {"endpoint": "https://s.example", "bucket": "models"}})], "UnsupportedSource", "into"),
        ([model(), {"apiVersion": API, "kind": "ResidencyPolicy", "metadata": {"name": "p"}, "spec": {
            "namespaceSelector": {}, "place": {"allow": ["DE"]}, "mode": "Enforce",
            "models": {"sources": ["oci://registry.example/"], "licences": ["MIT"]}}},
          {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clinic"}}],
         "LicenceNotAllowed", "policy p allows the licences MIT"),
    ],
    ids=[
        "a class that nobody described", "one of several", "an engine that no class offers",
        "what the installation lacks", "a source that cannot be mounted", "a policy of its namespace",
    ],
)  # fmt: skip
def test_a_list_that_is_not_complete_says_why_and_fails(desk: Desk, objects: Any, reason: str, says: str) -> None:
    told = desk.lists(desk.put(*objects), code=1)
    assert told["complete"] is False
    (problem,) = told["problems"]
    assert (problem["model"], problem["reason"]) == ("clinic/m", reason)
    assert says in problem["message"]
    _, error = desk.says(desk.put(*objects), "-o", "images", code=1)
    assert f"not complete: clinic/m on {problem['acceleratorClass']}: {reason}: {problem['message']}" in error


def test_a_policy_whose_namespace_is_not_given_is_not_asked_and_it_says_so(desk: Desk) -> None:
    policy = {
        "apiVersion": API, "kind": "ResidencyPolicy", "metadata": {"name": "p"},
        "spec": {"namespaceSelector": {}, "place": {"allow": ["DE"]}, "models": {"licences": ["MIT"]}},
    }  # fmt: skip
    told = desk.lists(desk.put(model(), policy))
    assert told["notes"] == [
        "clinic/m: its Namespace is not given, so no policy was asked whether the model may be served"
    ]


def test_what_other_projects_must_bring_is_named(desk: Desk) -> None:
    group = model(**on("nvidia-h200", perReplica=16))
    values = {"acceleratorClasses": {"families": ["nvidia"]}, "admission": {"certificates": "cert-manager"}}
    told = desk.lists(desk.put(group), "-f", desk.put(values))
    assert {each["what"]: each["neededBy"] for each in told["others"]} == {
        "LeaderWorkerSet": ["clinic/m"],
        "a device plug-in for nvidia.com/gpu (class nvidia-h200)": ["clinic/m"],
        "the RuntimeClass nvidia (class nvidia-h200)": ["clinic/m"],
        "cert-manager": ["the chart"],
    }


def test_objects_that_it_does_not_look_at_are_counted(desk: Desk) -> None:
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    told = desk.lists(desk.put(model(), other, {**other, "kind": "Job", "apiVersion": "batch/v1"}, other))
    assert told["notes"] == ["not looked at, because Bailiwick does not make pods of them: 2 Deployment, 1 Job"]


# People read the same


def test_people_read_which_images_are_not_pinned_and_which_no_registry_has(desk: Desk) -> None:
    named = model(engine={"image": "vllm/vllm-openai:latest"}, **on("cpu"))
    out, _ = desk.says(desk.put(named, model("n")))
    assert "images: 5, of which 1 are pinned by a digest" in out
    assert "    for   SovereignModel clinic/m, clinic/n: gate, seal\n" in out
    assert (
        "  vllm/vllm-openai:latest\n    for   SovereignModel clinic/m: engine on cpu\n"
        "    note  not pinned: the tag can come to mean another image\n    note  it names no registry"
    ) in out
    assert "    note  no registry has it: build it" in out
    assert f"  clinic/n, spec.model: {WEIGHTS}\n    imageDigest  {DIGEST}\n" in out


# The chart


def archive(more: dict[str, bytes] | None = None, without: str = "") -> bytes:
    """The chart as a package, with other files, or without one."""
    found = {str(path.relative_to(CHART)): path.read_bytes() for path in sorted(CHART.rglob("*")) if path.is_file()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as target:
        for name, text in (found | (more or {})).items():
            if name != without:
                member = tarfile.TarInfo(f"bailiwick/{name}")
                member.size = len(text)
                target.addfile(member, io.BytesIO(text))
    return packed.getvalue()


def test_a_package_is_known_by_its_own_digest_and_lists_the_same(desk: Desk) -> None:
    path = desk.folder / f"bailiwick-{__version__}.tgz"
    path.write_bytes(archive())
    packed, folder = desk.lists("--chart", str(path)), desk.lists()
    assert packed["chart"] == {
        "name": "bailiwick", "version": __version__, "appVersion": __version__, "digestOf": "package",
        "digest": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
    }  # fmt: skip
    assert packed["images"] == folder["images"]


def test_the_digest_of_a_folder_is_that_of_its_files(desk: Desk) -> None:
    listed = desk.lists()["chart"]
    assert listed["digestOf"] == "files"
    files = [path for path in CHART.rglob("*") if path.is_file() and path.name != ".helmignore"]
    lines = sorted(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(CHART)}\n" for each in files)
    sums = "".join(sorted(lines, key=lambda line: line[66:].encode()))
    assert listed["digest"] == f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}"


def test_what_helm_would_not_pack_is_not_counted(tmp_path: Path) -> None:
    for path in CHART.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(CHART)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    before = open_chart(tmp_path).digest
    assert before == open_chart(CHART).digest
    for name in (".cache/x", "templates/a.yaml~", "values.yaml.orig"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert open_chart(tmp_path).digest == before
    (tmp_path / "values.yaml").write_text("")
    assert open_chart(tmp_path).digest != before


def test_helm_leaves_out_nothing_but_by_simple_names() -> None:
    """Other patterns of .helmignore (with slashes, negated, comments) are not read."""
    assert not set("/!#") & set((CHART / ".helmignore").read_text())


def test_its_templates_name_no_image_that_is_not_listed() -> None:
    """A new one belongs into cli/chart.py; tests/chart compares with what Helm renders."""
    named = [
        line.strip()
        for path in sorted((CHART / "templates").rglob("*"))
        if path.is_file() and path.name != "pinned.yaml"  # which installs nothing
        for line in path.read_text().splitlines()
        if re.search(r"\bimage\b|_IMAGE|\.image\b|Image\b", line) and "imagePull" not in line
    ]
    operators = [
        "{{- with .Values.image }}",
        "image: {{ if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end }}",
    ]
    assert sorted(named) == sorted([
        *operators, *operators,
        "- name: BAILIWICK_GATE_IMAGE", "value: {{ .Values.gate.image | quote }}",
        "- name: BAILIWICK_WEIGHTS_IMAGE", "value: {{ .Values.weights.image | quote }}",
        '{{- $_ := set (index $class.spec.engines 0) "image" .image }}',
        '{{- $_ := set (index $class.spec.engines 1) "image" .llamaCpp.image }}',
    ])  # fmt: skip


# What cannot be used


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("just text", "holds something without apiVersion and kind"),
        ("{kind: X}", "holds something without apiVersion and kind"),
        ("{apiVersion: v1, kind: List, items: [1]}", "holds something without apiVersion and kind"),
        ("{apiVersion: v1, kind: Secret}", "Secret has no metadata.name"),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: []}}",
            "metadata.namespace of ConfigMap a is no",
        ),
        ("&a {apiVersion: v1, kind: List, items: [*a]}", "holds something that contains itself"),
        ("{apiVersion: bailiwick.dev/v2, kind: SovereignModel, metadata: {name: a}}", "is of bailiwick.dev/v2"),
        (f"{{apiVersion: {API}, kind: SoverignModel, metadata: {{name: a}}}}", "has no kind SoverignModel"),
        (f"{{apiVersion: {API}, kind: SovereignModel, metadata: {{name: a}}}}", "(SovereignModel a) is no Sovereign"),
        ((ROOT / "samples/jurisdiction-baltics.yaml").read_text(), "no SovereignModel is there; give some"),
        (f"{{apiVersion: {API}, kind: Jurisdiction, metadata: {{name: a}}}}", "(Jurisdiction a) is no Jurisdiction"),
        (yaml.safe_dump(model(engine={"name": "vlm"})), "spec.engine.name: Input should be 'vllm'"),
        (yaml.safe_dump_all([model(), model()]), "SovereignModel m is given twice"),
        (
            yaml.safe_dump(accelerator("a", engines=[{"name": "vllm", "image": "A B"}])),
            "the image 'A B' of engine vllm",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named_with_its_field(desk: Desk, text: str, says: str) -> None:
    path = desk.put(text)
    out, error = desk.says(path, code=2)
    assert out == ""
    assert error.startswith(f"bailiwick bundle: {path}")
    assert says in error


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("[1]", "is no file of values: one map is wanted"),
        ("operator: &a {podLabels: *a}", "holds something that contains itself"),
        ("imgae: {}", "imgae is no value of the chart; values there: acceleratorClasses,"),
        ("gate: {img: a}", "gate.img is no value of the chart; values there: image"),
        ("gate: {image: 1}", "gate.image must be text, and is 1"),
        ("gate: {image: {a: b}}", "gate.image must be text, and is {'a': 'b'}"),
        ("gate: nothing", "gate.image must be text, and is absent"),
        ("gate: {image: 'a b'}", "gate.image 'a b' is no image"),
        ("image: {digest: sha256:1}", "image 'localhost/bailiwick/operator@sha256:1' is no image"),
        ("acceleratorClasses: {families: nvidia}", "acceleratorClasses.families must be a list"),
        ("acceleratorClasses: {families: [cpu]}", "acceleratorClasses.families names 'cpu'; the chart has: amd, arm,"),
        ("acceleratorClasses: {cpu: {install: 1}}", "acceleratorClasses.cpu.install must be true or false"),
        ("acceleratorClasses: {cpu: {image: UPPER}}", "AcceleratorClass cpu: the image 'UPPER' of engine vllm"),
        ("acceleratorClasses: {families: [amd], registry: a//b}", "AcceleratorClass amd-mi300x: the image 'a//b/vllm"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_file(desk: Desk, values: str, says: str) -> None:
    path = desk.put(values)
    _, error = desk.says("-f", path, code=2)
    assert error.startswith(f"bailiwick bundle: {path}")
    assert says in error


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda _: None, "cannot be read: No such file"),
        (lambda path: path.write_text("no archive"), "is neither a folder nor a package"),
        (lambda path: path.write_bytes(archive()[:20_000]), "is neither a folder nor a package"),
        (lambda path: path.write_bytes(archive(without="Chart.yaml")), "is not Bailiwick's chart"),
        (lambda path: path.write_bytes(archive(without="values.yaml")), "has no values.yaml"),
        (lambda path: path.write_bytes(archive({"x": bytes(33 << 20)})), "holds more than"),
        (lambda path: path.write_bytes(archive({"acceleratorclasses/cpu.yaml": b"spec: 1"})), "cpu.yaml is no file of"),
        (lambda path: path.write_bytes(archive({"values.schema.json": b"{"})), "is not JSON"),
        (lambda path: path.mkdir(), "is not Bailiwick's chart"),
    ],
    ids=[
        "nothing", "text", "a part", "without Chart.yaml", "without values", "too much", "another catalogue",
        "another schema", "a folder",
    ],
)  # fmt: skip
def test_a_chart_that_cannot_be_used_is_named(desk: Desk, write: Callable[[Path], None], says: str) -> None:
    path = desk.folder / "chart.tgz"
    write(path)
    _, error = desk.says("--chart", str(path), code=2)
    assert error.startswith(f"bailiwick bundle: {path}")
    assert says in error


PACKED = archive()
WORDS = st.sampled_from([
    "apiVersion", "kind", "metadata", "name", "namespace", "labels", "items", "spec", "data", "gate", "image",
    "operator", "acceleratorClasses", "families", API, "v1", "List", "ConfigMap", "Namespace", "SovereignModel",
    "ResidencyPolicy", "bailiwick.dev/profile", "true",
])  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=12,
)
NAMED = st.fixed_dictionaries({"name": st.just("a")}, optional={"namespace": ANYTHING, "labels": ANYTHING})
MANIFESTS = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from([API, "v1"]), "metadata": NAMED | ANYTHING,
        "kind": st.sampled_from(["List", "ConfigMap", "Namespace", "SovereignModel", "AcceleratorClass", "Authority"]),
    },
    optional={"spec": ANYTHING, "data": ANYTHING, "items": ANYTHING},
)  # fmt: skip


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=len(PACKED)))
@settings(max_examples=60, deadline=None)
def test_whatever_a_package_holds_it_is_read_or_refused(noise: bytes, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bailiwick.cli.files.chart.content", lambda _: PACKED[:at] + noise + PACKED[at + len(noise) :])
        with suppress(UnusableError):
            assert open_chart(Path("chart.tgz")).version


@given(MANIFESTS | ANYTHING)
@settings(max_examples=100, deadline=None)
def test_whatever_a_manifest_holds_it_is_read_or_refused(raw: Any) -> None:
    with suppress(UnusableError):
        Given().add(raw, "somewhere")


@given(ANYTHING)
@settings(max_examples=100, deadline=None)
def test_whatever_values_hold_they_are_read_or_refused(raw: Any) -> None:
    layers = {"chart": (CHART / "values.yaml").read_bytes(), "given": yaml.safe_dump(raw).encode()}
    with suppress(UnusableError):
        values = Values.read(layers, schema=(CHART / "values.schema.json").read_bytes())
        assert values.at("gate.image", str)


def test_without_a_chart_beside_it_one_must_be_given(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHART", "_INSTALLED"):
        monkeypatch.setattr(f"bailiwick.cli.files.chart.{name}", desk.folder / "absent")
    assert "no chart is beside this program; give --chart" in desk.says(code=2)[1]


# Offline


def test_it_opens_no_connection(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    hub = {"huggingFace": {"repository": "a/b", "revision": "1" * 40, "into": {"claimName": "c"}}}
    desk.says(desk.put(model(source=hub)), "--all-classes")


def test_the_catalogue_has_the_families_that_values_may_name() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    named = schema["properties"]["acceleratorClasses"]["properties"]["families"]["items"]["enum"]
    assert families(open_chart(CHART)) == sorted(named)


@pytest.mark.parametrize("folder", ["accelerators", "engines", "scaling", "weights"])
def test_every_sample_can_be_bundled(desk: Desk, folder: str) -> None:
    values = {
        "acceleratorClasses": {"families": families(open_chart(CHART))},
        "autoscaling": {"prometheus": "http://prometheus.example", "wakeQuery": "vector(1)"},
    }
    told = desk.lists(str(ROOT / "samples" / folder), "-f", desk.put(values))
    assert (told["complete"], told["problems"]) == (True, [])
