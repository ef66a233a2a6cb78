"""Which ways into a running pod are open (charts/bailiwick/policies/access.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.client import ApiError
from tests.border.ground import Governed, Ground, refused

if TYPE_CHECKING:
    from e2e.client import Client

ACCESS = "bailiwick-access"
CLOSED = dict.fromkeys(("exec", "attach", "portForward", "proxy", "ephemeralContainers"), "Deny")
WAYS = {
    "exec": "pods/chat/exec?command=ls&stdout=true",
    "attach": "pods/chat/attach?stdout=true",
    "portForward": "pods/chat/portforward?ports=80",
    "proxy": "pods/chat/proxy/",
}
NOT_FOUND = 404


@pytest.fixture(scope="module")
def closed(ground: Ground) -> Governed:
    return ground.govern(access=CLOSED)


@pytest.fixture(scope="module")
def by_way(ground: Ground) -> dict[str, Governed]:
    """For each way a policy that opens no other."""
    return {way: ground.govern(access=CLOSED | {way: "Allow"}) for way in ("exec", "portForward")}


def connect(who: Client, namespace: str, url: str) -> None:
    who.request("GET", f"/api/v1/namespaces/{namespace}/{url}")


@pytest.mark.parametrize("url", WAYS.values(), ids=WAYS)
def test_a_closed_way_is_refused(ground: Ground, closed: Governed, free: str, url: str) -> None:
    """There need not be a pod: who may connect is asked before anybody looks for it."""
    for who in (ground.editor, ground.lite):
        with refused(ACCESS, "AccessDenied", f"{ACCESS}.{closed.policy}") as refusal:
            connect(who, closed.namespace, url)
        assert "spec.access" in refusal.message
    with pytest.raises(ApiError) as passed:
        connect(ground.editor, free, url)
    assert passed.value.code == NOT_FOUND


def test_a_service_is_a_way_in(ground: Ground, closed: Governed, free: str) -> None:
    with refused(ACCESS, "AccessDenied", f"{ACCESS}.{closed.policy}"):
        connect(ground.lite, closed.namespace, "services/https:chat:443/proxy/v1/models")
    with pytest.raises(ApiError, match="not found"):
        connect(ground.lite, free, "services/https:chat:443/proxy/v1/models")


def test_what_the_policy_opens_is_open_and_no_more(ground: Ground, by_way: dict[str, Governed]) -> None:
    for opened, governed in by_way.items():
        for way, url in WAYS.items():
            if way == opened:
                with pytest.raises(ApiError, match='pods "chat" not found'):
                    connect(ground.editor, governed.namespace, url)
            else:
                with refused(ACCESS, "AccessDenied", f"{ACCESS}.{governed.policy}"):
                    connect(ground.editor, governed.namespace, url)


@pytest.mark.parametrize("name", ["{}", "{}:10250", "https:{}:10250"])
@pytest.mark.parametrize(
    "path", ["", "exec/a/b/c", "run/a/b/c", "containerLogs/a/b/c", "logs/", "metrics/../exec/a/b/c"]
)
def test_the_kubelet_inside_is_no_way_around(ground: Ground, closed: Governed, name: str, path: str) -> None:
    url = f"/api/v1/nodes/{name.format(closed.inside)}/proxy/{path}"
    with pytest.raises(ApiError, match=f"ValidatingAdmissionPolicy '{ACCESS}' .* denied request: AccessDenied: "):
        ground.lite.request("GET", url)


def test_monitoring_reads_the_kubelets_figures(ground: Ground, closed: Governed) -> None:
    for path in ("metrics", "metrics/cadvisor", "stats/summary"):
        passes(ground, f"/api/v1/nodes/{closed.inside}/proxy/{path}")
    passes(ground, f"/api/v1/nodes/{closed.abroad}/proxy/exec/a/b/c")


def passes(ground: Ground, url: str) -> None:
    """Admitted: it is the kubelet that does not answer."""
    with pytest.raises(ApiError) as answer:
        ground.lite.request("GET", url)
    assert ACCESS not in answer.value.message
