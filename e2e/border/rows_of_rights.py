"""Who may change what the border rests on, and who could act as whom."""

from collections.abc import Iterable

from e2e.border.attempts import ADMINISTRATOR, EDITOR, NAMESPACE, Row, passes, pod, refused, thing
from e2e.demo.attacks import ABROAD, Attempt
from e2e.demo.install import SYSTEM

EXEMPT = ("kube-system", "kube-public", "kube-node-lease", SYSTEM)


def rights() -> Iterable[Row]:
    """Rows 34 and 35."""
    yield from _namespaces()
    yield from _launch_pads()


def _namespaces() -> Iterable[Row]:
    leave = ("label", "--dry-run=server", "namespace", NAMESPACE, "data-")
    born = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "born", "labels": {"data": NAMESPACE}}}
    yield Row(
        34, "a namespace that leaves its policy",
        (
            Attempt(
                name="leave", who=ADMINISTRATOR, command=leave, stopped_by="bailiwick-namespaces",
                reason="ProtectedLabel",
            ),
            refused("join", born, "bailiwick-namespaces", "ProtectedLabel", who=ADMINISTRATOR),
        ),
        (Attempt(
            name="another label", who=ADMINISTRATOR, stopped_by="", reason="",
            command=("label", "--dry-run=server", "namespace", NAMESPACE, "team=a"),
        ),),
    )  # fmt: skip


def _launch_pads() -> Iterable[Row]:
    """A namespace that no policy judges: a tenant has no rights there, and nobody becomes the operator."""
    there = {
        namespace: {**pod(nodeName=ABROAD), "metadata": {"name": "probe", "namespace": namespace}}
        for namespace in EXEMPT
    }
    as_operator = {**pod(serviceAccountName="bailiwick-operator"), "metadata": {"name": "probe", "namespace": SYSTEM}}
    token = thing(
        "authentication.k8s.io/v1",
        "TokenRequest",
        metadata={"name": "bailiwick-operator", "namespace": SYSTEM},
        spec={},
    )
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/bailiwick-operator/token?dryRun=All"
    yield Row(
        35, "an exempt namespace as a launch pad",
        (
            *(
                refused(f"a tenant in {namespace}", manifest, f'"{EDITOR}" cannot create resource "pods"', namespace)
                for namespace, manifest in there.items()
            ),
            refused("a pod as the operator", as_operator, "bailiwick-tokens", "OperatorOnly", who=ADMINISTRATOR),
            Attempt(
                name="a token of the operator", who=ADMINISTRATOR, command=("create", "--raw", path, "-f", "-"),
                manifest=token, stopped_by="bailiwick-tokens", reason="OperatorOnly",
            ),
        ),
        (
            passes("an administrator repairs the system", there["kube-system"], who=ADMINISTRATOR),
            passes("a pod as itself", {**pod(), "metadata": {"name": "probe", "namespace": SYSTEM}}, who=ADMINISTRATOR),
        ),
    )  # fmt: skip
