"""Who could act as somebody else, or past the API server."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.border.attempts import ADMINISTRATOR, CREATE, EDITOR, LABEL, NAMESPACE, bind, pod, thing
from e2e.border.models import IDLE
from e2e.border.stage import Story
from e2e.cluster import cluster
from e2e.demo.attacks import ABROAD, INSIDE, Attempt
from e2e.demo.install import SYSTEM
from e2e.kubectl import Kubectl, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2e.border.stage import Stage

PIPELINE = "pipeline"
"""A service account to which the platform team gave the right to edit the namespace."""
PROXY = {"*", "*/proxy", "nodes/*", "nodes/proxy"}


def rights() -> Iterable[Story]:
    """Rows 43 and 44."""
    yield Story(43, "tokens of every service account", _tokens)
    yield Story(44, "through the kubelet", _kubelet)


def _tokens(stage: Stage) -> None:
    """The role edit mints them; each is refused what its owner would be."""
    account = thing("v1", "ServiceAccount", metadata={"name": PIPELINE})
    edits = thing(
        "rbac.authorization.k8s.io/v1", "RoleBinding", metadata={"name": PIPELINE},
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        subjects=[{"kind": "ServiceAccount", "name": PIPELINE, "namespace": NAMESPACE}],
    )  # fmt: skip
    with stage.there(account, edits):

        def accounts() -> set[str]:
            return {each["metadata"]["name"] for each in stage.kubectl.items("serviceaccounts", "-n", NAMESPACE)}

        wait_until(lambda: {"default", IDLE, PIPELINE} <= accounts(), what="the service accounts")
        for name in sorted(accounts()):
            with _token(stage, name) as bearer:
                stage.refused(*_replays(name), by=bearer)


def _replays(name: str) -> Iterable[Attempt]:
    """Rows 1 to 3 and 20, with whatever credentials."""
    edits = name == PIPELINE
    by_name = ("bailiwick-pods", "WrongPlace") if edits else ("is forbidden", 'cannot create resource "pods"')
    label = json.dumps({"metadata": {"labels": {LABEL: "resident"}}})
    bindings = [
        replace(
            bind(url, ABROAD), stopped_by="is forbidden", reason=f'cannot create resource "{url.replace("/held", "")}"'
        )
        for url in ("pods/held/binding", "bindings")
    ]
    deeds = (
        Attempt(
            name="a pod that names a foreign node", who="admin", command=CREATE, manifest=pod(nodeName=ABROAD),
            stopped_by=by_name[0], reason=by_name[1],
        ),
        *bindings,
        Attempt(
            name="the label of a node", who="admin", command=("patch", "node", ABROAD, "--dry-run=server", "-p", label),
            stopped_by="is forbidden", reason='resource "nodes"',
        ),
    )  # fmt: skip
    for deed in deeds:
        yield replace(deed, name=f"{name}: {deed.name}", who="admin", prepare=())


@contextmanager
def _token(stage: Stage, name: str) -> Iterator[Kubectl]:
    """Kubectl with nothing but a token that the editor made."""
    made = stage.as_(EDITOR, "create", "token", name, "-n", NAMESPACE, "--duration=10m")
    assert made.accepted, made.text
    seen = json.loads(stage.kubectl.must("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    seen["users"] = [{"name": seen["users"][0]["name"], "user": {"token": made.text}}]
    with tempfile.TemporaryDirectory(prefix="bailiwick-token-") as folder:
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.write_text(json.dumps(seen))
        yield Kubectl(stage.kubectl.binary, kubeconfig)


def _kubelet(stage: Stage) -> None:
    """Through the API server the border judges it; the kubelet's own door opens for nodes/proxy alone."""
    commands: list[tuple[str, ...]] = [
        ("get", "--raw", f"/api/v1/nodes/{node}/proxy/{way}/{NAMESPACE}/open/main?command=true")
        for node in (INSIDE, f"https:{INSIDE}:10250")
        for way in ("exec", "attach", "portForward")
    ]
    commands.append(("create", "--raw", f"/api/v1/nodes/{INSIDE}/proxy/run/{NAMESPACE}/open/main?cmd=true", "-f", "-"))
    stage.refused(*(
        Attempt(name=" ".join(command[:3]), who=ADMINISTRATOR, command=command, manifest={"any": "thing"},
                stopped_by="bailiwick-access", reason="AccessDenied")
        for command in commands
    ))  # fmt: skip
    stage.passes(Attempt(
        name="its health", who=ADMINISTRATOR, command=("get", "--raw", f"/api/v1/nodes/{INSIDE}/proxy/healthz"),
        stopped_by="", reason="",
    ))  # fmt: skip
    holders = _holders(stage)
    assert ADMINISTRATOR in holders, f"the control: the administrator has nodes/proxy, but {sorted(holders)}"
    for name in holders:
        assert not name.startswith((f"system:serviceaccount:{SYSTEM}:", f"system:serviceaccount:{NAMESPACE}:")), name
    if cluster.external():
        return
    (address,) = (
        each["address"]
        for each in stage.kubectl.get("node", INSIDE)["status"]["addresses"]
        if each["type"] == "InternalIP"
    )
    token = stage.as_(EDITOR, "create", "token", "default", "-n", NAMESPACE).text
    url = f"https://{address}:10250/exec/{NAMESPACE}/open/main?command=true"
    said = cluster.engine().inside(ABROAD, "curl", "-sk", "-H", f"Authorization: Bearer {token}", url)
    assert "Forbidden" in said, said
    assert "nodes" in said, said


def _holders(stage: Stage) -> set[str]:
    """Who may do anything with nodes/proxy, by a role of the cluster."""
    kubectl = stage.kubectl
    roles = {
        role["metadata"]["name"]
        for role in kubectl.items("clusterroles")
        for rule in role.get("rules") or ()
        if {"", "*"} & set(rule.get("apiGroups", ())) and PROXY & set(rule.get("resources", ()))
    }
    return {
        ":".join(("system:serviceaccount", subject["namespace"], subject["name"]))
        if subject["kind"] == "ServiceAccount"
        else subject["name"]
        for binding in kubectl.items("clusterrolebindings")
        if binding["roleRef"]["name"] in roles
        for subject in binding.get("subjects") or ()
    }
