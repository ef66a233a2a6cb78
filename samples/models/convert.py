# ruff: noqa: INP001  (a script of its own, not part of a package)
"""Write a Llama model that is stored as GGUF as bfloat16 safetensors, with its tokenizer: `convert.py FILE FOLDER`.

It needs transformers, torch, accelerate and gguf, and no network. The quantised weights are expanded, not restored:
what quantising lost stays lost, and the result is as good as the GGUF file was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM


def convert(source: Path, target: Path) -> None:
    """Write the model that `source` holds into `target`, a folder that does not exist yet."""
    quantised = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    # A model loaded from GGUF stays marked as quantised, and would be saved so: its weights move to one that is not.
    settings = quantised.config.to_dict()
    del settings["quantization_config"]
    settings.pop("_model_name_or_path", None)  # the name of an intermediate training run
    model = LlamaForCausalLM(LlamaConfig.from_dict(settings)).to(torch.bfloat16)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
    for path in target.iterdir():
        path.chmod(0o644)  # the weights are written for their owner alone, and an engine runs as somebody else


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    convert(given.source, given.target)
