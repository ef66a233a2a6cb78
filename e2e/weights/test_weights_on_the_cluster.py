"""A model from a bucket: a Job fetches it into a claim inside, and a changed byte keeps the engine from starting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.weights import folder, manifest
from e2e.cluster import cluster
from e2e.cluster.gguf_files import NAME, gguf_files
from e2e.cluster.services import STORAGE, STORAGE_KEYS, put_object
from e2e.demo.attacks import INSIDE
from e2e.demo.install import reference
from e2e.demo.scenes import condition, govern, is_ready
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.kubectl import Kubectl

pytestmark = pytest.mark.skipif(bool(cluster.external()), reason="a given cluster has no disk that a test may write")

GROUND = Path(__file__).with_name("ground.yaml")
NAMESPACE = MODEL = "weights"
DISK = "/var/local/weights"


@pytest.fixture(scope="module")
def bucket(kubectl: Kubectl) -> Iterator[None]:
    """The model's file in a bucket."""
    with STORAGE.running(kubectl):
        with STORAGE.reached(kubectl) as address:
            put_object(f"http://{address}", "models")
            put_object(f"http://{address}", f"models/tiny/{NAME}", (gguf_files() / NAME).read_bytes())
        yield


@pytest.fixture(scope="module")
def served(kubectl: Kubectl, bucket: None) -> Iterator[Mapping[str, Any]]:
    """The model, serving what was in the bucket."""
    govern(kubectl)
    on_the_node(f"rm -rf {DISK} && mkdir {DISK}")
    kubectl.must("apply", "--server-side", "-f", str(GROUND))
    access, secret = STORAGE_KEYS
    kubectl.apply(
        _volume(),
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "storage", "namespace": NAMESPACE},
            "stringData": {"accessKeyId": access, "secretAccessKey": secret},
        },
    )  # fmt: skip
    model = json.dumps(_model(f"http://{STORAGE.name}"))
    wait_until(
        lambda: kubectl.run(["apply", "--server-side", "-f", "-"], standard_input=model).accepted,
        what="the model is admitted",
    )
    yield ready(kubectl)
    kubectl.must("delete", "smodel", MODEL, "-n", NAMESPACE)
    kubectl.must("delete", "pod", "--all", "-n", NAMESPACE, "--force")  # nobody asks any more
    kubectl.must("delete", "-f", str(GROUND), "--wait=true", timeout=180)
    kubectl.must("delete", "pv", MODEL)
    on_the_node(f"rm -rf {DISK}")


def on_the_node(command: str) -> str:
    """What a person with root on the node inside does."""
    return cluster.engine().inside(INSIDE, "sh", "-c", command)


def ready(kubectl: Kubectl) -> Mapping[str, Any]:
    return wait_until(
        lambda: seen if is_ready(seen := kubectl.get("smodel", MODEL, "-n", NAMESPACE)) else None,
        what=f"model {MODEL} is ready (kubectl describe smodel {MODEL} -n {NAMESPACE})",
        seconds=180,
    )


def _volume() -> Mapping[str, Any]:
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [INSIDE]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": MODEL},
        "spec": {
            "storageClassName": "inside",
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": DISK},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        },
    }


def _model(endpoint: str) -> Mapping[str, Any]:
    bucket = {"endpoint": endpoint, "bucket": "models", "prefix": "tiny", "credentialsSecret": "storage"}
    source = {"s3": {**bucket, "into": {"claimName": "weights"}}}
    return {
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "SovereignModel",
        "metadata": {"name": MODEL, "namespace": NAMESPACE},
        "spec": {
            "model": {"name": MODEL, "source": source, "digest": manifest.digest(folder.digests(gguf_files(), [NAME]))},
            "engine": {"name": "llama.cpp", "image": reference("llama-cpp")},
            "accelerators": {"classes": ["cpu"]},
            "context": {"maxLength": 1024, "maxSequences": 2},
        },
    }


def test_it_was_imported_and_verified_inside(kubectl: Kubectl, served: Mapping[str, Any]) -> None:
    (told,) = served["status"]["imports"]
    size = (gguf_files() / NAME).stat().st_size
    assert told["source"] == "spec.model.source"
    assert (told["bytes"], told["ofBytes"]) == (size, size)
    assert condition(served, "Imported")["status"] == "True"
    assert condition(served, "Verified")["reason"] == "FilesVerified"
    importing = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/import={MODEL}")
    assert {each["spec"]["nodeName"] for each in importing} == {INSIDE}


def test_a_changed_byte_stops_the_model_until_it_is_put_right(kubectl: Kubectl, served: Mapping[str, Any]) -> None:
    file = on_the_node(f"find {DISK} -name {NAME}").strip()
    where = 1_000_000
    kept = (gguf_files() / NAME).read_bytes()[where]

    def write(byte: int) -> None:
        on_the_node(rf"printf '\{byte:o}' | dd of={file} bs=1 seek={where} conv=notrunc status=none")

    write(kept ^ 1)
    try:
        kubectl.must("delete", "pod", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}", "--force")
        told = wait_until(
            lambda: (
                seen
                if condition(seen := kubectl.get("smodel", MODEL, "-n", NAMESPACE), "Verified").get("status") == "False"
                else None
            ),
            what="the change is told",
        )
        assert condition(told, "Verified")["reason"] == "DigestDiffers"
        assert condition(told, "Ready")["status"] == "False"
        assert served["spec"]["model"]["digest"] in condition(told, "Verified")["message"]
        pods = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
        (pod,) = (each for each in pods if "deletionTimestamp" not in each["metadata"])
        (engine,) = pod["status"]["containerStatuses"]
        assert engine["restartCount"] == 0
        assert "running" not in engine["state"]
    finally:
        write(kept)
    ready(kubectl)
