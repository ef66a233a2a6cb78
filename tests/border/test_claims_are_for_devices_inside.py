"""Which devices may be claimed (charts/bailiwick/policies/claims.yaml)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.border.ground import Governed, Ground, refused
from tests.border.stubs import thing

if TYPE_CHECKING:
    from collections.abc import Mapping

CLAIMS = "bailiwick-claims"
VERSION = "resource.k8s.io/v1"
ADMIN = {"resource.kubernetes.io/admin-access": "true"}


def devices(**exactly: Any) -> dict[str, Any]:
    return {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example", **exactly}}]}}


def by(governed: Governed) -> tuple[str, str, str]:
    return CLAIMS, "ClaimNotAllowed", f"{CLAIMS}.{governed.policy}"


@pytest.fixture(scope="module")
def privileged(ground: Ground) -> Governed:
    """A governed namespace in which Kubernetes itself would allow adminAccess."""
    return ground.govern(namespace=ground.namespace(ADMIN))


def test_admin_access_is_refused(ground: Ground, privileged: Governed) -> None:
    spec = devices(adminAccess=True)
    for kind, content in (("ResourceClaim", spec), ("ResourceClaimTemplate", {"spec": spec})):
        with refused(*by(privileged)):
            ground.lite.create(thing(VERSION, kind, privileged.namespace, spec=content), dry_run=True)
    free = ground.namespace(ADMIN)
    ground.lite.create(thing(VERSION, "ResourceClaim", free, spec=spec), dry_run=True)


def test_an_ordinary_claim_passes(ground: Ground, privileged: Governed) -> None:
    either = {"devices": {"requests": [{"name": "gpu", "firstAvailable": [{"name": "a", "deviceClassName": "a.b"}]}]}}
    for spec in (devices(), devices(adminAccess=False), either, {}):
        ground.lite.create(thing(VERSION, "ResourceClaim", privileged.namespace, spec=spec), dry_run=True)
        template = thing(VERSION, "ResourceClaimTemplate", privileged.namespace, spec={"spec": spec})
        ground.lite.create(template, dry_run=True)


def test_what_we_build_ourselves_passes(ground: Ground, privileged: Governed) -> None:
    """From the golden files: the claims of a model whose devices are claimed."""
    (built,) = (
        each
        for file in sorted((Path(__file__).parent.parent / "golden/workload").glob("*.output.yaml"))
        for each in yaml.safe_load_all(file.read_text())
        if each["kind"] == "ResourceClaimTemplate"
    )
    template = thing(VERSION, "ResourceClaimTemplate", privileged.namespace, spec=built["spec"])
    ground.lite.create(template, dry_run=True)
    built["spec"]["spec"]["devices"]["requests"][0]["exactly"]["adminAccess"] = True
    with refused(*by(privileged)):
        ground.lite.create(
            thing(VERSION, "ResourceClaimTemplate", privileged.namespace, spec=built["spec"]), dry_run=True
        )


def on(key: str, *values: str, fields: bool = False) -> dict[str, Any]:
    return {"matchFields" if fields else "matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}


def allocated(*terms: Mapping[str, Any]) -> dict[str, Any]:
    result = {"request": "gpu", "driver": "gpu.example", "pool": "pool", "device": "gpu-0"}
    selector = {"nodeSelector": {"nodeSelectorTerms": list(terms)}} if terms else {}
    return {"status": {"allocation": {"devices": {"results": [result]}, **selector}}}


def test_a_device_that_may_stand_elsewhere_is_not_allocated(ground: Ground, privileged: Governed) -> None:
    """Not even by the scheduler."""
    ground.lite.create(thing(VERSION, "ResourceClaim", privileged.namespace, spec=devices()))
    scheduler = ground.person("system:kube-scheduler", ["system:masters"])
    name = "metadata.name"

    def allocate(*terms: Mapping[str, Any]) -> None:
        scheduler.patch(
            VERSION, "ResourceClaim", "probe", allocated(*terms), privileged.namespace,
            subresource="status", how="merge", dry_run=True,
        )  # fmt: skip

    inside = on(name, privileged.inside, fields=True)
    for terms in (
        (),
        (on(name, privileged.abroad, fields=True),),
        (inside, on(name, privileged.abroad, fields=True)),
        (on("topology.kubernetes.io/region", "eu-central-1"),),
    ):
        with refused(*by(privileged)) as refusal:
            allocate(*terms)
        assert "gpu.example/pool/gpu-0" in refusal.message
    allocate(inside)
    allocate(on(privileged.label, "resident"))
