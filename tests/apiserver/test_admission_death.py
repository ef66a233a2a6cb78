"""Row 30: every replica of the webhook is dead."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from e2e.client import ApiError, eventually
from tests.apiserver.realm import OURS, Realm, fresh
from tests.apiserver.webhook import claim, policy, standing, volume

if TYPE_CHECKING:
    from e2e.client import Manifest
    from tests.apiserver.operator_process import OperatorProcess
    from tests.chart.helm import Helm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
CLOSED = "failed calling webhook"


def pod(namespace: str, node: str) -> Manifest:
    container = {"name": "main", "image": "registry.example/image"}
    metadata = {"name": "pod", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [container]},
    }


def refused_by_core(realm: Realm, namespace: str, node: str) -> bool:
    try:
        realm.client.create(pod(namespace, node), dry_run=True)
    except ApiError as error:
        return "'bailiwick-pods'" in error.message and "WrongPlace: " in error.message
    return False


def test_row_30_the_core_goes_on_and_what_only_the_webhook_judges_is_refused(
    realm: Realm, operator: OperatorProcess, helm: Helm
) -> None:
    with standing(realm, helm) as webhook:
        inside, outside = realm.node(FRANKFURT), realm.node(VIRGINIA)
        law = realm.policy("DE").in_force()
        law.holds(inside)
        clinic, free = realm.namespace(law.selects), realm.namespace()
        eventually(partial(realm.marked, clinic), what="the namespace is governed")
        model = realm.model(clinic)
        create = partial(realm.client.create, dry_run=True)
        eventually(lambda: refused_by_core(realm, clinic, outside), what="the border is active")
        for each in webhook.replicas:
            each.kill()
        # The core.
        assert refused_by_core(realm, clinic, outside)
        # Whoever is not concerned: other namespaces, and what is not judged by it.
        create(pod(free, outside))
        create(claim(free, "somewhere"))
        create(claim(clinic))
        create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": clinic}})
        labelled: Manifest = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/a"]}}
        realm.client.patch(OURS, "SovereignModel", "chat", labelled, clinic, dry_run=True)
        realm.client.patch(OURS, "ResidencyPolicy", law.name, {"metadata": {"labels": {"a": "b"}}}, dry_run=True)
        # What nobody judges now.
        realm.create(volume(name := fresh("v"), node=inside))
        unjudged = [claim(clinic, name), policy("DE"), {**model, "metadata": {"name": "other", "namespace": clinic}}]
        for manifest in unjudged:
            manifest.pop("status", None)
            with pytest.raises(ApiError, match=CLOSED):
                create(manifest)
        with pytest.raises(ApiError, match=CLOSED):
            realm.client.patch(OURS, "SovereignModel", "chat", {"spec": {"replicas": 2}}, clinic, dry_run=True)
        with pytest.raises(ApiError, match=CLOSED):
            realm.client.delete(OURS, "ResidencyPolicy", law.name)
