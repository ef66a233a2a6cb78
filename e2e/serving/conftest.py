"""Two replicas of a model on two nodes, on the real cluster, and clients with API keys that never stop asking."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster import cluster, images
from e2e.cluster.load import load_image
from e2e.demo.attacks import ABROAD
from e2e.demo.install import LARGE
from e2e.demo.scenes import govern, is_ready
from e2e.engines.vllm_process import QUICK
from e2e.kubectl import wait_until
from tests.gate.shown import AUDIENCE, ISSUER, jwk, jwks, rsa_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

GROUND = Path(__file__).with_name("ground.yaml")
NAMESPACE = MODEL = "serving"
KEYS, LOGIN = "serving-keys", "serving-login"
"""Secrets: the API keys of callers, and the public keys of a token issuer."""
FORMER_KEY, KEY = "of-the-load-" + 20 * "1", "of-the-load-" + 20 * "2"
SIGNER = rsa_key()


@pytest.fixture(scope="package")
def served(installed: Installed, kubectl: Kubectl) -> Iterator[Mapping[str, Any]]:
    """The model, answering; everything goes when the last test of this folder ends."""
    if not cluster.external():
        for image in LARGE:  # the demo has them on the node inside alone
            load_image(images.archive(image), (ABROAD,))
    govern(kubectl)  # the statements about the nodes
    kubectl.must("apply", "--server-side", "-f", str(GROUND))
    kubectl.apply(secret(KEYS, load=FORMER_KEY), secret(LOGIN, **{"jwks.json": jwks(jwk(SIGNER, "e2e"))}))
    manifest = json.dumps(_model(installed))
    wait_until(
        lambda: kubectl.run(["apply", "--server-side", "-f", "-"], standard_input=manifest).accepted,
        what="the model is admitted",
    )
    yield ready(kubectl)
    kubectl.must("delete", "smodel", MODEL, "-n", NAMESPACE)
    kubectl.must("delete", "-f", str(GROUND), "--ignore-not-found", "--wait=true", timeout=180)


def secret(name: str, **values: str) -> Mapping[str, Any]:
    """A Secret of the model's namespace, which takes the place of one before: `stringData` would only add to it."""
    metadata = {"name": name, "namespace": NAMESPACE}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def ready(kubectl: Kubectl) -> Mapping[str, Any]:
    """The model, once it serves as its spec says now."""
    return wait_until(
        lambda: seen if is_ready(seen := kubectl.get("smodel", MODEL, "-n", NAMESPACE)) else None,
        what=f"model {MODEL} is ready (kubectl describe smodel {MODEL} -n {NAMESPACE})",
        seconds=400,
    )


def _model(installed: Installed) -> Mapping[str, Any]:
    source = {"oci": {"image": installed.model_image, "pullPolicy": "Never"}}
    return {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": MODEL, "namespace": NAMESPACE},
        "spec": {
            "model": {"name": MODEL, "source": source},
            "engine": {"arguments": [QUICK]},
            "replicas": 2,
            "context": {"maxLength": 1024, "maxSequences": 8},
            "serving": {
                "authentication": {
                    "apiKeysSecret": KEYS,
                    "tokenIssuer": {"issuer": ISSUER, "audiences": [AUDIENCE], "keysSecret": LOGIN},
                }
            },
        },
    }
