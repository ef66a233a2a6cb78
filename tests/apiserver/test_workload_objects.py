"""What models become, on a real API server: taken as it is, admitted by Pod Security, and no different afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cluster.apply import ensure
from bailiwick.cluster.resources import of_kind
from e2e.client import ApiError
from tests.in_tree import skip_if_dropped
from tests.unit.workload.golden import CASES, planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.cluster.api import Api
    from e2e.client import Client

pytestmark = pytest.mark.apiserver

Raw = dict[str, Any]
OF_OTHERS = {"ScaledObject", "LeaderWorkerSet", "HTTPRoute", "InferencePool"}
"""Kinds that this server does not have; test_operator_scaling.py and those for groups and gateways have them."""
WITH_HOST_PATHS = {"nowhere", "verified"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def objects(case: str, namespace: str) -> list[Raw]:
    """The objects of a case, without the owner, which is not there."""
    made = [dict(each) for each in planned(case, namespace=namespace).objects]
    usual = [each for each in made if each["kind"] not in OF_OTHERS]
    return [{**each, "metadata": {**each["metadata"], "ownerReferences": []}} for each in usual]


def pod(workload: Raw) -> Raw:
    """A pod as the controller of a Deployment or Job would make it."""
    metadata = {"name": "a", "namespace": workload["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": workload["spec"]["template"]["spec"]}


@pytest.mark.parametrize("case", CASES)
async def test_every_object_is_taken_and_then_needs_no_second_write(api: Api, namespace: str, case: str) -> None:
    for desired in objects(case, namespace):
        resource = of_kind(desired["kind"])
        skip_if_dropped(desired.get("spec", {}).get("template", {}).get("spec", {}))
        written = await ensure(api, resource, desired, None)
        assert written
        live = await api.get(resource, desired["metadata"]["name"], namespace)
        assert await ensure(api, resource, desired, live) is None, f"{desired['kind']} differs for ever"


@pytest.mark.parametrize("case", [case for case in CASES if case not in WITH_HOST_PATHS | {"groups"}])
def test_pods_are_admitted_at_the_level_restricted(
    client: Client, new_namespace: Callable[..., str], case: str
) -> None:
    namespace = new_namespace(labels=RESTRICTED)
    *others, workload = objects(case, namespace)
    for each in others:
        client.create(each)
    runtime = workload["spec"]["template"]["spec"].get("runtimeClassName")
    if runtime:
        client.apply(
            {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": runtime}, "handler": "runc"}
        )
    admitted = client.create(pod(workload), dry_run=True)
    assert [each["name"] for each in admitted["spec"]["containers"]] == [
        each["name"] for each in pod(workload)["spec"]["containers"]
    ]
    # The control: the level is in force, and one step away from what we write is refused.
    loose = pod(workload)
    loose["spec"]["containers"][0]["securityContext"] = {"allowPrivilegeEscalation": True}
    with pytest.raises(ApiError, match="allowPrivilegeEscalation"):
        client.create(loose, dry_run=True)


def test_a_host_path_is_for_the_namespaces_own_level_to_judge(
    client: Client, new_namespace: Callable[..., str]
) -> None:
    for labels, admits in ((RESTRICTED, False), ({}, True)):
        namespace = new_namespace(labels=labels)
        *others, deployment = objects("nowhere", namespace)
        for each in others:
            client.create(each)
        if admits:
            client.create(pod(deployment), dry_run=True)
        else:
            with pytest.raises(ApiError, match="hostPath"):
                client.create(pod(deployment), dry_run=True)
