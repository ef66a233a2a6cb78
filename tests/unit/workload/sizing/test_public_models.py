"""Public models come out as they are published, within 5 %."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bailiwick.workload.sizing.cache import Cache, state_bytes, token_bytes
from bailiwick.workload.sizing.families import read_architecture
from bailiwick.workload.sizing.parameters import active_share, parameters
from bailiwick.workload.sizing.weights import weigh

MODELS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("models.yaml").read_text())
TOLERATED = 0.05
ONE_DEVICE = Cache(kv_type="auto", number_bytes=2, tensor=1, step_tokens=2048, block=16)

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])


def test_the_table_has_enough_models_and_says_where_each_comes_from() -> None:
    assert len(MODELS) >= 10
    assert {model["confidence"] for model in MODELS} <= {"Documented", "Reported", "Unchecked"}
    assert all(model["source"] for model in MODELS)


@every_model
def test_parameters_are_as_published(model: dict[str, Any]) -> None:
    counted = parameters(read_architecture(model["config"]))
    assert counted == pytest.approx(model["parameters"] * 1e9, rel=TOLERATED)


@every_model
def test_weights_are_as_published(model: dict[str, Any]) -> None:
    assert weigh(read_architecture(model["config"])).total == pytest.approx(model["weightBytes"], rel=TOLERATED)


@every_model
def test_the_cache_of_a_token_is_as_published(model: dict[str, Any]) -> None:
    layers = read_architecture(model["config"]).layers
    assert sum(token_bytes(layer.attention, ONE_DEVICE) for layer in layers if layer.attention) == model["tokenBytes"]
    assert sum(state_bytes(layer.mamba, ONE_DEVICE) for layer in layers if layer.mamba) == model.get("stateBytes", 0)


@pytest.mark.parametrize("model", [each for each in MODELS if "active" in each], ids=lambda model: model["name"])
def test_active_parameters_are_as_published(model: dict[str, Any]) -> None:
    """What a token passes through: layers and the head; the table of tokens is only looked up."""
    architecture = read_architecture(model["config"])
    table = architecture.vocabulary * architecture.hidden
    active = (parameters(architecture) - 2 * table) * active_share(architecture) + table
    assert active == pytest.approx(model["active"] * 1e9, rel=TOLERATED)
