"""The operator where nothing can pin, as on Kubernetes before 1.36: MutatingAdmissionPolicy v1 is not served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.client import ApiError, eventually
from e2e.cluster.apiserver import ApiServer
from tests.apiserver.operator_process import SERVICE_ACCOUNTS, OperatorProcess
from tests.apiserver.realm import ADMISSION, GUARDS, MUTATING, OURS, VALIDATING, Policy, Realm, fresh
from tests.apiserver.terminal import bailiwick
from tests.apiserver.worlds import granted_realm, served_team
from tests.border.ground import pod, refused
from tests.in_tree import PINS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"


class Earlier(ApiServer):
    """An API server that serves no more than Kubernetes 1.35 does."""

    def _run(self, name: str, *arguments: str) -> None:
        emulating = ("--emulated-version=1.35",) if PINS and name == "kube-apiserver" else ()
        super()._run(name, *arguments, *emulating)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """The operator at work there, with the rights that the chart gives it."""
    with granted_realm(tmp_path_factory.mktemp("helm"), kind=Earlier) as realm:
        process = OperatorProcess(realm.server, "earlier", SERVICE_ACCOUNTS)
        try:
            process.until_leading()
            yield realm
        finally:
            process.stop()


def test_the_border_stands_and_says_that_pods_must_pin_themselves(earlier: Realm) -> None:
    assert MUTATING not in earlier.client.resources(ADMISSION)
    earlier.node(FRANKFURT)
    policy = earlier.policy("DE")
    namespace = earlier.namespace(policy.selects)
    eventually(lambda: policy.condition("Ready")["status"] == "True", what="the policy is ready")
    assert "pods must bring the nodeSelector themselves" in policy.condition("Ready")["message"]
    bound = earlier.client.list(ADMISSION, VALIDATING, labels=f"bailiwick.dev/policy={policy.name}")
    assert {each["spec"]["policyName"] for each in bound} == set(GUARDS)

    def unpinned() -> bool:
        with refused("bailiwick-pods", "NotPinned", f"bailiwick-pods.{policy.name}"):
            earlier.client.create(pod(namespace), dry_run=True)
        return True

    eventually(unpinned, what="pods that do not pin themselves are refused")
    earlier.client.create(pod(namespace, nodeSelector={policy.label: "resident"}), dry_run=True)
    with pytest.raises(ApiError, match="WrongPlace"):
        earlier.client.create(pod(namespace, nodeName="abroad", nodeSelector={policy.label: "resident"}), dry_run=True)


def test_what_if_counts_the_pods_that_bring_no_selector(earlier: Realm, tmp_path: Path) -> None:
    """Of what runs there today, the author of one pod has written the selector, and that of the other has not."""
    earlier.node(FRANKFURT)
    policy = Policy(earlier, fresh("law"))
    namespace = earlier.namespace(policy.selects)
    earlier.client.create(pod(namespace, "plain"))
    earlier.client.create(pod(namespace, "written", nodeSelector={policy.label: "resident"}))
    spec = {"namespaceSelector": {"matchLabels": policy.selects}, "place": {"allow": ["DE"]}}
    manifest = {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": policy.name}, "spec": spec}
    (file := tmp_path / "policy.yaml").write_text(yaml.safe_dump(manifest))
    done = bailiwick(earlier.server.kubeconfig(), "what-if", str(file), "-o", "json")
    assert done.returncode == 3, done.stderr
    (told,) = [each for each in json.loads(done.stdout)["policies"] if each["name"] == policy.name]
    assert [(each["subject"], each["reason"]) for each in told["objects"]["stopped"]] == [
        (f"Pod {namespace}/plain", "NotPinned")
    ]


def test_models_pin_their_pods_themselves(earlier: Realm) -> None:
    earlier.node(FRANKFURT)
    policy = earlier.policy("DE")
    namespace = served_team(earlier, policy)
    deployment = earlier.children(namespace)["Deployment"]
    assert deployment["spec"]["template"]["spec"]["nodeSelector"][policy.label] == "resident"
    pods = eventually(lambda: earlier.client.list("v1", "Pod", namespace), what="the pod of a model is admitted")
    assert pods[0]["spec"]["nodeSelector"][policy.label] == "resident"
