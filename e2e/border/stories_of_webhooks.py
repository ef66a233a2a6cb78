"""The webhook that judges what needs lookups: dead, called by strangers, and asked to lend the operator's hand."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from e2e.border.attempts import NAMESPACE, passes, pod, pods, refused, thing
from e2e.border.stage import Story
from e2e.cluster import cluster
from e2e.demo import scenes
from e2e.demo.attacks import ABROAD
from e2e.demo.install import SYSTEM
from e2e.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2e.border.attempts import Manifest
    from e2e.border.stage import Stage

WEBHOOK = ("deployment", "bailiwick-admission", "-n", SYSTEM)
SERVES_MODELS = "mia"
"""She may serve models in the namespace, and read nothing else of it."""


def webhooks() -> Iterable[Story]:
    """Rows 30, 42 and 46."""
    yield Story(30, "a webhook that is down", _down)
    yield Story(42, "a model that lends the operator's hand", _deputy)
    yield Story(46, "a webhook that strangers call", _strangers)


def model(**source: object) -> Manifest:
    """A model with such a source."""
    spec = {"model": {"name": "m", "source": source, "digest": "sha256:" + "0" * 64}}
    return thing("bailiwick.dev/v1alpha1", "SovereignModel", spec=spec)


WEIGHTS = {"claimName": "weights", "path": "m"}


def _down(stage: Stage) -> None:
    """What it would judge is refused, the core goes on, and others do not notice."""
    for each in stage.kubectl.get("validatingwebhookconfiguration", "bailiwick-admission")["webhooks"]:
        assert each["failurePolicy"] == "Fail"
        assert each["timeoutSeconds"] <= 3
    served = passes("a model", model(persistentVolumeClaim=WEIGHTS))
    stage.passes(served)
    with _no_webhook(stage):
        stage.refused(
            *pods("nodeName", "WrongPlace", [pod(nodeName=ABROAD)]),
            refused("a model", model(persistentVolumeClaim=WEIGHTS), "failed calling webhook", "models.bailiwick.dev"),
        )
        elsewhere = {"metadata": {"name": "probe", "namespace": "default"}}
        stage.passes(
            passes("a pod that asks for nothing", pod()),
            passes("a claim without a volume", thing("v1", "PersistentVolumeClaim", spec={
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "standard",
            })),
            passes("a pod of an ungoverned namespace", {**pod(nodeName=ABROAD), **elsewhere}, who="admin"),
        )  # fmt: skip
    stage.passes(served)


def _deputy(stage: Stage) -> None:
    """What a model refers to is of its own namespace, and its author may read it."""
    serves = thing(
        "rbac.authorization.k8s.io/v1", "RoleBinding", metadata={"name": SERVES_MODELS},
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bailiwick-model-editor"},
        subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": SERVES_MODELS}],
    )  # fmt: skip
    image = {"image": f"localhost/bailiwick/none@sha256:{'0' * 64}"}
    with stage.there(serves):
        stage.refused(
            refused(
                "weights of another namespace", model(persistentVolumeClaim={**WEIGHTS, "namespace": "clinic"}),
                "unknown field", "persistentVolumeClaim.namespace",
            ),
            *(
                refused(name, model(**source), 'webhook "models.bailiwick.dev" denied', "AccessDenied", SERVES_MODELS)
                for name, source in (
                    ("weights that she may not read", {"persistentVolumeClaim": WEIGHTS}),
                    ("a secret that she may not read", {"oci": {**image, "pullSecrets": ["registry"]}}),
                )
            ),
        )  # fmt: skip
        stage.passes(
            passes("weights that the editor may read", model(persistentVolumeClaim=WEIGHTS)),
            passes("an image without a secret", model(oci=image), who=SERVES_MODELS),
        )


def _strangers(stage: Stage) -> None:
    """Governed pods do not reach it, and whoever does gets a verdict, of which nothing comes."""
    if cluster.external():
        return
    address = _address(stage)
    calls = f'(exec 3<>"/dev/tcp/{address}/8443") 2>/dev/null && said=reached || said=shut'
    tries = f"exec {{silence}}<> <(:); while :; do {calls}; echo $said; read -rt 0.2 -u $silence; done"
    with stage.there(pod("calls", container={"command": ["bash", "-c", tries]})):
        begin = time.monotonic()

        def said() -> str:
            return (stage.kubectl.run(["logs", "calls", "-n", NAMESPACE]).text.splitlines() or [""])[-1]

        wait_until(lambda: said() == "shut", what="a governed pod does not reach the webhook")
        stage.tell("the NetworkPolicy `bailiwick-closed`", time.monotonic() - begin)
    begin = time.monotonic()
    answer, status = _post(address, json.dumps(_review(pod(nodeName=ABROAD))))
    assert status == "200", answer
    assert json.loads(answer)["response"]["allowed"] is False, answer
    assert not stage.kubectl.get("pod", "probe", "-n", NAMESPACE), "nothing comes of a review"
    assert _post(address, "{}")[1] == "400"
    stage.tell("the webhook: its answer is a verdict, and nothing comes of it", time.monotonic() - begin)


def _post(address: str, body: str) -> tuple[str, str]:
    """What the webhook answers to a node abroad, and the status."""
    post = ("curl", "-sk", "-w", " %{http_code}", "-H", "Content-Type: application/json", "--data-binary")
    answer, _, status = cluster.engine().inside(ABROAD, *post, body, f"https://{address}:8443/validate").rpartition(" ")
    return answer, status.strip()


def _review(manifest: Manifest) -> Manifest:
    """What the API server would ask, forged."""
    request: dict[str, Any] = {
        "uid": "0" * 8, "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": NAMESPACE, "name": "probe", "userInfo": {"username": "system:admin", "groups": ["system:masters"]},
        "object": manifest, "oldObject": None, "dryRun": False,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _address(stage: Stage) -> str:
    (first, *_) = stage.kubectl.items("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=admission")
    return str(first["status"]["podIP"])


@contextmanager
def _no_webhook(stage: Stage) -> Iterator[None]:
    """Nobody answers, while this holds."""
    stage.kubectl.must("scale", *WEBHOOK, "--replicas=0")
    wait_until(
        lambda: not stage.kubectl.items("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=admission"),
        what="no replica of the webhook is left",
    )  # fmt: skip
    try:
        yield
    finally:
        stage.kubectl.must("scale", *WEBHOOK, "--replicas=2")
        stage.kubectl.must("rollout", "status", *WEBHOOK, "--timeout=120s", timeout=130)
        scenes.webhook_answers(stage.kubectl)
