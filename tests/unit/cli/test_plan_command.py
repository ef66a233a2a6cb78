"""`bailiwick plan`: what it prints, how it ends, and what it says of what cannot be used."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.cli import main
from bailiwick.workload.starting import start
from tests.unit.workload.sizing.given import LLAMA_8B, PUBLIC, changed

API = "bailiwick.dev/v1alpha1"
SMALL: dict[str, Any] = changed(
    LLAMA_8B, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=64, tie_word_embeddings=True, max_position_embeddings=1024,
)  # fmt: skip
SHAPES = {
    "model.layers.0.mlp.down_proj.weight": [64, 128], "model.layers.0.mlp.gate_proj.weight": [128, 64],
    "model.layers.0.mlp.up_proj.weight": [128, 64], "model.layers.0.self_attn.k_proj.weight": [32, 64],
    "model.layers.0.self_attn.o_proj.weight": [64, 64], "model.layers.0.self_attn.q_proj.weight": [64, 64],
    "model.layers.0.self_attn.v_proj.weight": [32, 64], "model.embed_tokens.weight": [64, 64],
}  # fmt: skip
BYTES = 2 * sum(height * width for height, width in SHAPES.values())


def safetensors(shapes: dict[str, list[int]]) -> bytes:
    """A file with these tensors in 16 bits."""
    entries, end = {}, 0
    for name, (height, width) in shapes.items():
        entries[name] = {"dtype": "BF16", "shape": [height, width], "data_offsets": [end, end + 2 * height * width]}
        end += 2 * height * width
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(end)


class Desk:
    """A folder with a manifest and files of models, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.manifest = self.model()

    def put(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def model(self, **spec: Any) -> str:
        whole = {
            "model": {"name": "m", "source": {"hostPath": {"path": "/m"}}},
            "accelerators": {"classes": ["nvidia-h100"]},
            **spec,
        }
        manifest = {"apiVersion": API, "kind": "SovereignModel", "metadata": {"name": "m"}, "spec": whole}
        return self.put("model.yaml", yaml.safe_dump(manifest))

    def files(self, name: str = "files", config: Any = SMALL, files: dict[str, bytes] | None = None) -> str:
        self.put(f"{name}/config.json", config)
        for file, content in ({"model.safetensors": safetensors(SHAPES)} if files is None else files).items():
            self.put(f"{name}/{file}", content)
        return str(self.folder / name)

    def says(self, *arguments: str, code: int = 0) -> str:
        self._monkeypatch.setattr(sys, "argv", ["bailiwick", "plan", self.manifest, *arguments])
        assert main() == code
        out, error = self._capsys.readouterr()
        assert bool(error) == (code == 2)
        return error or out

    def plan(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.says(*arguments, "--output=json", code=code))
        return told


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def test_a_folder_and_the_catalogue_are_enough(desk: Desk) -> None:
    told = desk.plan("--model", desk.files())
    assert told["fits"] is True
    assert told["acceleratorClass"] == "nvidia-h100"
    assert (told["devicesPerReplica"], told["nodesPerReplica"], told["resource"]) == (1, 1, "nvidia.com/gpu")
    assert told["weightBytes"] == BYTES
    assert told["tokenBytes"] == 2 * 2 * 16 * 2
    assert told["context"] == {"maxLength": 1024, "maxSequences": 1, "longestThatFits": 1024}
    assert told["notes"] == []


def test_people_read_the_same(desk: Desk) -> None:
    text = desk.says("--model", desk.files())
    assert text.startswith("m on nvidia-h100\n  devices      1 x nvidia.com/gpu on 1 node\n")
    assert "  why          m on 1 x nvidia-h100 is the first in order of preference that fits" in text


def test_a_configuration_alone_is_enough_where_it_tells_the_weights(desk: Desk) -> None:
    desk.manifest = desk.model(accelerators={"classes": ["nvidia-h200"]})
    told = desk.plan("--config", desk.put("config.json", PUBLIC["DeepSeek-V3"]))
    assert told["parallelism"] == {"tensor": 8, "pipeline": 1, "data": 1, "expert": False}
    assert told["notes"] == ["weights are computed from config.json; headers of the files make them exact"]


def test_beginnings_of_files_and_their_index_are_enough(desk: Desk) -> None:
    names = list(SHAPES)
    shards = {"1.safetensors": names[:4], "2.safetensors": names[4:]}
    files = [desk.put(file, safetensors({name: SHAPES[name] for name in held})[:-100]) for file, held in shards.items()]
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    given = ["--config", desk.put("config.json", SMALL), "--headers", *files]
    assert desk.plan(*given, "--index", desk.put("index.json", index))["weightBytes"] == BYTES
    told = desk.plan(*given[:-1], "--index", desk.put("index.json", index), code=1)
    assert told["reason"] == "MalformedWeights"
    assert "4 tensors of the index are missing" in told["message"]


def test_files_of_a_folder_are_whole(desk: Desk) -> None:
    told = desk.plan("--model", desk.files(files={"model.safetensors": safetensors(SHAPES)[:-1]}), code=1)
    assert told["reason"] == "MalformedWeights"
    assert "it is cut off or padded" in told["message"]


def test_files_that_the_index_does_not_name_are_left_alone(desk: Desk) -> None:
    index = {"weight_map": dict.fromkeys(SHAPES, "model.safetensors")}
    folder = desk.files(files={
        "model.safetensors": safetensors(SHAPES), "consolidated.safetensors": b"?",
        "model.safetensors.index.json": json.dumps(index).encode(),
    })  # fmt: skip
    assert desk.plan("--model", folder)["weightBytes"] == BYTES


def test_variants_are_chosen_by_objective(desk: Desk) -> None:
    desk.manifest = desk.model(objective="Energy", accelerators={"classes": ["nvidia-l4", "nvidia-h100"]})
    config = desk.put("config.json", LLAMA_8B)
    small = desk.files("small", changed(LLAMA_8B, quantization_config={"quant_method": "fp8"}), files={})
    given = ["--config", config, "--variant", f"fp8={small}"]
    assert "nobody declared that of m, fp8" in desk.plan(*given, code=1)["message"]
    declared = [*given, "--quality", "m=0.8", "--quality", "fp8=0.79"]
    assert desk.plan(*declared)["variant"] == "fp8"
    measured = [
        f"{place}/{name}={cost}"
        for place, name, cost in (
            ("nvidia-l4", "m", 1),
            ("nvidia-l4", "fp8", 2),
            ("nvidia-h100", "m", 3),
            ("nvidia-h100", "fp8", 4),
        )
    ]
    told = desk.plan(*declared, *(f"--joules={each}" for each in measured))
    assert (told["variant"], told["acceleratorClass"]) == ("m", "nvidia-l4")
    assert "as measured" in told["why"]


def test_a_refusal_says_what_to_do_and_ends_with_one(desk: Desk) -> None:
    config = desk.put("config.json", changed(SMALL, model_type="abacus"))
    assert desk.says("--config", config, code=1).startswith("m: UnknownArchitecture: model_type 'abacus'")
    told = desk.plan("--config", config, code=1)
    assert (told["fits"], told["reason"]) == (False, "UnknownArchitecture")


def test_a_class_of_ones_own_is_read(desk: Desk) -> None:
    desk.manifest = desk.model(accelerators={"classes": ["mine"]})
    spec = {"resources": ["v.example/d"], "memory": "16G", "engines": [{"name": "vllm", "image": "i"}]}
    own = {"apiVersion": API, "kind": "AcceleratorClass", "metadata": {"name": "mine"}, "spec": spec}
    told = desk.plan("--model", desk.files(), "--classes", desk.put("mine.yaml", own))
    assert told["acceleratorClass"] == "mine"
    assert told["notes"] == ["the class gives no devicesPerNode, so only one device was tried"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give either --model FOLDER, or --config"),
        (["--model", "{folder}", "--config", "c"], "give either --model FOLDER, or --config"),
        (["--model", "nowhere"], "give the model's config.json"),
        (["--config", "{folder}/model.safetensors"], "is not JSON"),
        (["--model", "{folder}", "--variant", "fp8"], "is not NAME=VALUE"),
        (["--model", "{folder}", "--quality", "other=1"], "is no variant"),
        (["--model", "{folder}", "--quality", "m=nan"], "is no positive number"),
        (["--model", "{folder}", "--joules", "m=1"], "is not CLASS/NAME"),
        (["--model", "{folder}", "--classes", "{folder}/config.json"], "holds 0 objects AcceleratorClass"),
    ],
)
def test_what_cannot_be_used_is_named_and_ends_with_two(desk: Desk, arguments: list[str], why: str) -> None:
    folder = desk.files()
    assert why in desk.says(*(each.format(folder=folder) for each in arguments), code=2)


def test_a_class_that_is_not_there_is_named(desk: Desk) -> None:
    desk.manifest = desk.model(accelerators={"classes": ["abacus"]})
    assert "abacus, and there is no such class" in desk.says("--model", desk.files(), code=2)


def test_a_class_without_the_engine_is_no_choice(desk: Desk) -> None:
    desk.manifest = desk.model(accelerators={"classes": ["furiosa-rngd"]})
    told = desk.plan("--model", desk.files(), code=1)
    assert told["reason"] == "NoAccelerator"
    assert "engine vllm is served by none of the accelerator classes furiosa-rngd" in told["message"]


def test_adapters_are_not_passed_over(desk: Desk) -> None:
    adapter = {"name": "a", "source": {"hostPath": {"path": "/a"}}}
    desk.manifest = desk.model(adapters=[adapter])
    assert "memory of adapters is not counted" in desk.says("--model", desk.files(), code=2)


def test_of_what_is_served_outside_nothing_is_sized(desk: Desk) -> None:
    spec = {"model": {"name": "m", "source": {"endpoint": {"statement": "mac-1"}}}, "engine": {"name": "external"}}
    manifest = {"apiVersion": API, "kind": "SovereignModel", "metadata": {"name": "m"}, "spec": spec}
    desk.manifest = desk.put("outside.yaml", yaml.safe_dump(manifest))
    assert "there is nothing to size" in desk.says("--model", desk.files(), code=2)


def test_help_is_there_without_a_cluster() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bailiwick.cli", "plan", "--help"], capture_output=True, text=True, check=True
    )
    assert "manifest of a SovereignModel" in ran.stdout


# Profiles


def test_a_profile_tells_the_same_as_the_files_that_it_was_written_from(desk: Desk) -> None:
    folder, profile = desk.files(), str(desk.folder / "profile.yaml")
    told = desk.plan("--model", folder, "--write-profile", profile)
    manifest = yaml.safe_load((desk.folder / "profile.yaml").read_text())
    assert manifest["kind"] == "ConfigMap"
    assert manifest["metadata"] == {"name": "m-profile", "labels": {"bailiwick.dev/profile": "true"}}
    assert desk.plan("--profile", profile) == told
    config = (desk.folder / "files/config.json").read_bytes()
    held = json.loads(manifest["data"]["profile.json"])
    assert held["files"] == {"config.json": f"sha256:{hashlib.sha256(config).hexdigest()}"}
    again = str(desk.folder / "again.yaml")
    desk.plan("--model", folder, "--write-profile", again)
    assert (desk.folder / "again.yaml").read_text() == (desk.folder / "profile.yaml").read_text()


def test_a_profile_is_written_where_the_model_looks_for_it(desk: Desk) -> None:
    where = {"configMap": "shape", "key": "shape.json"}
    source = {"hostPath": {"path": "/m"}}
    desk.manifest = desk.model(model={"name": "m", "source": source, "profile": where})
    profile = str(desk.folder / "profile.yaml")
    said = desk.says("--model", desk.files(), "--write-profile", profile)
    assert "spec.model.profile: { configMap: shape, key: shape.json }" in said
    manifest = yaml.safe_load((desk.folder / "profile.yaml").read_text())
    assert (manifest["metadata"]["name"], list(manifest["data"])) == ("shape", ["shape.json"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata": {"name": "m-profile"}}, 'label bailiwick.dev/profile: "true"; add it'),
        ({"data": {"other": "{}"}}, "has no key profile.json"),
        ({"kind": "Secret"}, "holds 0 objects ConfigMap"),
    ],
)
def test_a_file_that_the_operator_would_not_read_is_no_profile(desk: Desk, changes: Any, says: str) -> None:
    labels = {"bailiwick.dev/profile": "true"}
    metadata = {"name": "m-profile", "labels": labels}
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"profile.json": "{}"},
        **changes,
    }
    assert says in desk.says("--profile", desk.put("profile.yaml", yaml.safe_dump(manifest)), code=2)


def test_one_source_of_knowledge_is_enough(desk: Desk) -> None:
    profile = str(desk.folder / "profile.yaml")
    desk.plan("--model", desk.files(), "--write-profile", profile)
    assert "give either --model" in desk.says("--model", desk.files(), "--profile", profile, code=2)


def test_what_a_class_says_was_measured_counts_for_energy(desk: Desk) -> None:
    classes = []
    for name, joules in (("a", "3.5"), ("b", "0.35")):
        spec = {
            "resources": ["vendor.example/gpu"], "memory": "80G", "bandwidth": "1T", "thermalDesignPower": 100,
            "devicesPerNode": 1, "engines": [{"name": "vllm", "image": "i"}],
            "measurements": [{"model": "m", "joulesPerToken": joules, "source": "my meter"}],
        }  # fmt: skip
        classes.append({"apiVersion": API, "kind": "AcceleratorClass", "metadata": {"name": name}, "spec": spec})
    file = desk.put("classes.yaml", yaml.safe_dump_all(classes))
    desk.manifest = desk.model(objective="Energy", accelerators={"classes": ["a", "b"]})
    told = desk.plan("--model", desk.files(), "--classes", file)
    assert told["acceleratorClass"] == "b"
    assert "0.35 J per token as measured" in told["why"]
    assert desk.plan("--model", desk.files(), "--classes", file, "--joules", "b/m=9")["acceleratorClass"] == "a"


def test_the_sample_with_a_profile_is_planned_as_it_says(desk: Desk) -> None:
    sample = Path(__file__).parents[3] / "samples/sovereignmodel-sized.yaml"
    desk.manifest = str(sample)
    told = desk.plan("--profile", str(sample))
    assert (told["acceleratorClass"], told["devicesPerReplica"]) == ("nvidia-h100", 4)
    assert told["weightBytes"] == pytest.approx(141e9, rel=0.01)


# Variants that the manifest lists


def listed(desk: Desk, **spec: Any) -> list[str]:
    """A manifest with two variants, of which the first is the better and the second the smaller, and their files."""
    variants = [
        {
            "name": name,
            "quality": quality,
            "source": {"hostPath": {"path": "/m"}},
            "profile": {"configMap": f"m-{name}"},
        }
        for name, quality in (("bf16", "0.82"), ("fp8", "0.8"))
    ]
    desk.manifest = desk.model(**{"model": {"name": "m", "variants": variants}, **spec})
    narrow = changed(SMALL, quantization_config={"quant_method": "fp8"})
    configs = {"bf16": SMALL, "fp8": narrow}
    return [f"--variant={name}={desk.files(name, config, files={})}" for name, config in configs.items()]


def test_variants_of_the_manifest_are_chosen_from(desk: Desk) -> None:
    files = listed(desk)
    told = desk.plan(*files)
    assert told["variant"] == "bf16"
    assert told["why"].startswith("m:bf16 on 1 x nvidia-h100 is the first in order of preference")
    files = listed(desk, objective="Energy")
    assert desk.plan(*files)["variant"] == "fp8"
    assert desk.plan(*files, "--quality=fp8=0.5")["variant"] == "bf16"
    measured = ["--joules=nvidia-h100/bf16=1", "--joules=nvidia-h100/fp8=2"]
    told = desk.plan(*files, *measured)
    assert (told["variant"], "as measured" in told["why"]) == ("bf16", True)


def test_profiles_of_variants_are_written_and_read_together(desk: Desk) -> None:
    files, profile = listed(desk, objective="Energy"), str(desk.folder / "profiles.yaml")
    said = desk.says(*files, "--write-profile", profile)
    assert "profile: { configMap: m-bf16, key: profile.json }" in said
    assert "profile: { configMap: m-fp8, key: profile.json }" in said
    written = list(yaml.safe_load_all((desk.folder / "profiles.yaml").read_text()))
    assert [each["metadata"]["name"] for each in written] == ["m-bf16", "m-fp8"]
    assert desk.plan("--profile", profile) == desk.plan(*files)
    assert desk.plan("--profile", profile, files[1]) == desk.plan(*files)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "say what variant bf16 is made of: give --variant bf16=FOLDER"),
        (["{bf16}"], "say what variant fp8 is made of"),
        (["{bf16}", "{fp8}", "--variant=other=x"], "--variant names other, which spec.model.variants does not list"),
        (["{bf16}", "{fp8}", "--model=x"], "spec.model.variants lists several sets of files"),
        (["{bf16}", "{fp8}", "--quality=m=1"], "--quality names m, which is no variant; variants: bf16, fp8"),
        (["{fp8}", "--profile={one}"], "holds 0 ConfigMaps m-bf16, which spec.model.variants[bf16].profile names"),
    ],
)
def test_what_is_missing_of_variants_is_named(desk: Desk, arguments: list[str], why: str) -> None:
    bf16, fp8 = listed(desk)
    metadata = {"name": "m-other", "labels": {"bailiwick.dev/profile": "true"}}
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"profile.json": "{}"}}
    given = {"bf16": bf16, "fp8": fp8, "one": desk.put("one.yaml", yaml.safe_dump(one))}
    assert why in desk.says(*(each.format(**given) for each in arguments), code=2)


def test_a_variant_that_nobody_can_size_is_named(desk: Desk) -> None:
    bf16, _ = listed(desk)
    strange = desk.files("strange", changed(SMALL, model_type="abacus"), files={})
    told = desk.plan(bf16, f"--variant=fp8={strange}", code=1)
    assert (told["fits"], told["reason"]) == (False, "UnknownArchitecture")
    assert told["message"].startswith("m:fp8: model_type 'abacus'")


def test_the_sample_with_variants_is_planned_as_it_says(desk: Desk) -> None:
    sample = Path(__file__).parents[3] / "samples/models/variants.yaml"
    desk.manifest = str(sample)
    told = desk.plan("--profile", str(sample))
    assert (told["variant"], told["acceleratorClass"], told["devicesPerReplica"]) == ("fp8", "nvidia-h100", 2)
    assert desk.plan("--profile", str(sample), "--quality=fp8=0.7")["devicesPerReplica"] == 4
    (model,) = (each for each in yaml.safe_load_all(sample.read_text()) if each["kind"] == "SovereignModel")
    weights = SovereignModel.read(model).spec.model.every[1]
    assert start(weights, told["weightBytes"]).seconds == 32 * 60
