"""The file of the GGUF model image: SmolLM2-135M-Instruct as its package carries it, quantised to four bits."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from e2e.cluster import engine_files
from e2e.cluster.kept import kept
from e2e.cluster.keys import key_of
from e2e.cluster.model_files import MANIFEST, REQUIREMENTS, SOURCE
from e2e.cluster.steps import log_file, step

NAME = "model.gguf"


def gguf_key() -> str:
    """The key of the file: the package that carries it."""
    return key_of(Path(__file__).read_bytes(), REQUIREMENTS.read_bytes())


def gguf_files() -> Path:
    """The folder that is the root of the model image, made if the cache does not hold it. Raises ClusterError."""
    return kept("model", f"smollm2-135m-instruct-gguf-{gguf_key()}", _make)


def _make(files: Path) -> None:
    carrier = files.with_suffix(".carrier")
    with step("model: SmolLM2-135M-Instruct as GGUF, 98 MB to download"):
        engine_files.install(REQUIREMENTS, carrier, log_file("gguf-files"), unpacked=100_000_000)
    files.mkdir()
    shutil.copyfile(carrier / SOURCE, files / NAME)
    digest = hashlib.sha256((files / NAME).read_bytes()).hexdigest()
    (files / MANIFEST).write_text(f"{digest}  {NAME}\n")
