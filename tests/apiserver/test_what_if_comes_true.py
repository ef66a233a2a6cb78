"""`bailiwick what-if` on a real API server: what it predicts is what operator and admission say once it is applied."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.client import ApiError, eventually
from tests.apiserver.realm import OURS, Policy, fresh
from tests.apiserver.terminal import bailiwick, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.client import Manifest
    from tests.apiserver.realm import Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
PARIS = "aws:///eu-west-3a/i-0123456789abcdef2"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef3"
STANDS = {"DE": "frankfurt", "FR": "paris", "US": "virginia"}
GOOD, FOREIGN = "registry.example/a:1", "docker.io/library/nginx:1"
LISTS = {
    "images": {"registries": ["registry.example/"], "requireDigest": False},
    "network": {"services": ["ClusterIP"]},
    "storage": {"classes": ["near"]},
}


@pytest.fixture(scope="module")
def nodes(world: Realm) -> dict[str, str]:
    """Nodes in three countries, and one of which nobody says anything, by where they are."""
    return {
        "frankfurt": world.node(FRANKFURT), "paris": world.node(PARIS), "virginia": world.node(VIRGINIA),
        "attic": world.node(),
    }  # fmt: skip


def pod_spec(image: str) -> Manifest:
    return {"automountServiceAccountToken": False, "containers": [{"name": "main", "image": image}]}


@dataclass(frozen=True)
class Scene:
    """A namespace with all kinds of objects in it, and the one policy that may govern it."""

    world: Realm
    policy: Policy
    space: str
    folder: Path

    def spec(self, *allow: str, **more: Any) -> Manifest:
        place = {"allow": list(allow), "assurance": "Declared"}
        return {"namespaceSelector": {"matchLabels": self.policy.selects}, "place": place, **more}

    def manifest(self, spec: Manifest) -> Manifest:
        name = {"name": self.policy.name}
        return {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": name, "spec": spec}

    def apply(self, spec: Manifest | None) -> None:
        """Make the policy so; None: without it."""
        there = self.world.find("ResidencyPolicy", self.policy.name)
        if spec is None:
            self.policy.delete()
        elif there:
            self.world.client.replace({**there, "spec": spec})
        else:
            self.world.create(self.manifest(spec))

    def asked(self, spec: Manifest | None, *, code: int) -> Any:
        """What the command says of the change."""
        change = ["--remove", self.policy.name]
        if spec is not None:
            file = self.folder / "policy.yaml"
            file.write_text(yaml.safe_dump(self.manifest(spec)))
            change = [str(file)]
        done = bailiwick(self.world.server.kubeconfig(), "what-if", *change, "-o", "json")
        assert (done.returncode, done.stderr) == (code, ""), done.stdout
        return json.loads(done.stdout)

    def objects(self) -> dict[str, Manifest]:
        """By whom the command names: what is made again, by whoever made it."""
        good, foreign = ({**pod_spec(image), **self.policy.brought} for image in (GOOD, FOREIGN))
        return {
            f"Pod {self.space}/good": self._made("v1", "Pod", good),
            f"Pod {self.space}/foreign": self._made("v1", "Pod", foreign),
            f"Pod {self.space}/rooted": self._made("v1", "Pod", {**good, "hostNetwork": True}),
            f"Deployment {self.space}/web": self._made("v1", "Pod", foreign),
            f"Service {self.space}/plain": self._made("v1", "Service", {"ports": [{"port": 80}]}),
            f"Service {self.space}/open": self._made(
                "v1", "Service", {"type": "LoadBalancer", "ports": [{"port": 80}]}
            ),
            f"PersistentVolumeClaim {self.space}/near": self._made("v1", "PersistentVolumeClaim", claim("near")),
            f"PersistentVolumeClaim {self.space}/far": self._made("v1", "PersistentVolumeClaim", claim("far")),
        }

    def _made(self, api_version: str, kind: str, spec: Manifest) -> Manifest:
        metadata = {"name": fresh("again"), "namespace": self.space}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}

    def refused(self) -> dict[str, str]:
        """What the API server refuses to make again at this moment, and by which reason."""
        found = {}
        for name, manifest in self.objects().items():
            try:
                self.world.client.create(manifest, dry_run=True)
            except ApiError as error:
                found[name] = error.message.partition("denied request: ")[2].partition(": ")[0] or error.message
        return found

    def settled(self, *, enforced: bool) -> bool:
        """Whether the guard of pods is in force, or not to be, and then (pins come last) pods are pinned, too."""
        assert (f"Pod {self.space}/rooted" in self.refused()) is enforced
        return f"Pod {self.space}/good" not in self.refused()


def claim(storage: str) -> Manifest:
    return {
        "storageClassName": storage, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }  # fmt: skip


@pytest.fixture
def scene(world: Realm, nodes: dict[str, str], tmp_path: Path) -> Iterator[Scene]:
    """Everything is there before any policy governs it."""
    name = fresh("law")
    policy = Policy(world, name)
    space = world.namespace(policy.selects)
    made = Scene(world, policy, space, tmp_path)
    on = {"good": nodes["frankfurt"], "foreign": nodes["virginia"], "rooted": nodes["paris"]}
    for subject, manifest in made.objects().items():
        kind, _, whose = subject.partition(" ")
        called = whose.partition("/")[2]
        there = {**manifest, "metadata": {"name": called, "namespace": space}}
        if kind == "Deployment":
            labels = {"app": called}
            template = {"metadata": {"labels": labels}, "spec": manifest["spec"]}
            spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
            there |= {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
        elif kind == "Pod":
            there["spec"] = {**manifest["spec"], "nodeName": on[called]}
        world.client.create(there)
    eventually(lambda: len(world.client.list("v1", "Pod", space)) == 5, what="the Deployment has its pods")
    yield made
    world.client.delete("apps/v1", "Deployment", "web", space)
    for each in ("good", "foreign", "rooted"):
        world.client.delete("v1", "Pod", each, space, grace_seconds=0)  # there is no kubelet to end it
    for each in ("near", "far"):  # nor a controller that lets claims go
        world.client.patch("v1", "PersistentVolumeClaim", each, {"metadata": {"finalizers": None}}, space)


def stands(scene: Scene, inside: set[str], violations: int) -> bool:
    """Whether the operator has this Territory, and its audit so many pods outside."""
    assert scene.policy.inside() == inside
    assert scene.policy.status()["counts"]["violations"] == violations
    return True


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        pytest.param(None, (["DE"], LISTS), 3, id="a first policy"),
        pytest.param((["DE", "FR", "US"], {}), (["DE", "FR"], LISTS), 3, id="a tighter one"),
        pytest.param((["DE"], LISTS), (["DE", "FR", "US"], {"images": LISTS["images"]}), 0, id="a wider one"),
        pytest.param((["DE"], {"mode": "Audit", **LISTS}), (["DE"], LISTS), 3, id="from Audit to Enforce"),
        pytest.param((["DE"], LISTS), (["DE"], {"mode": "Audit", **LISTS}), 0, id="from Enforce to Audit"),
        pytest.param((["DE"], LISTS), None, 0, id="no policy any more"),
    ],
)
def test_what_it_predicts_comes_true(
    scene: Scene, nodes: dict[str, str], before: tuple[list[str], Manifest] | None,
    after: tuple[list[str], Manifest] | None, code: int,
) -> None:  # fmt: skip
    specs = [None if each is None else scene.spec(*each[0], **each[1]) for each in (before, after)]
    was_inside = set(nodes.values())
    if before and specs[0]:
        scene.apply(specs[0])
        was_inside = {nodes[where] for place, where in STANDS.items() if place in before[0]}
        eventually(lambda: scene.policy.inside() == was_inside, what="the first Territory")
        enforced = before[1].get("mode") != "Audit"
        eventually(lambda: scene.settled(enforced=enforced), what="the first policy is in force")
    refused_before = scene.refused()
    told = scene.asked(specs[1], code=code)
    (policy,) = [each for each in told["policies"] if each["name"] == scene.policy.name]

    scene.apply(specs[1])

    # Nodes, and pods that run where they may not.
    come, go = ({each["node"] for each in policy["nodes"][way]} for way in ("in", "out"))
    if specs[1] is None:
        scene.policy.withdrawn()
    else:
        inside = (was_inside - go) | come
        assert policy["nodes"]["after"] == len(inside)
        eventually(partial(stands, scene, inside, policy["running"]["after"]), what="the Territory is as predicted")

    # What is refused, and why.
    stopped, let_in = (
        {each["subject"]: each["reason"] for each in policy["objects"][way] if not each["besides"]}
        for way in ("stopped", "letIn")
    )
    predicted = {name for name in refused_before if name not in let_in} | stopped.keys()

    def true() -> bool:
        refused = scene.refused()
        assert refused.keys() == predicted
        assert all(refused[name] == reason for name, reason in stopped.items() if once(policy, name))
        return True

    eventually(true, what="the API server refuses what was predicted")
    assert (stopped or let_in) != {}
    assert bool(told["widens"]) is (code == 0)


def once(policy: dict[str, Any], subject: str) -> bool:
    """Whether an object is stopped by one rule alone: of several, the API server tells any."""
    stopped: list[str] = [each["subject"] for each in policy["objects"]["stopped"]]
    return stopped.count(subject) == 1


def test_who_may_not_see_everything_is_told_what_was_not_judged(scene: Scene) -> None:
    rbac, role = "rbac.authorization.k8s.io/v1", fresh("some")
    every = {"verbs": ["get", "list"]}
    rules = [
        {"apiGroups": ["bailiwick.dev"], "resources": ["*"], **every},
        {"apiGroups": [""], "resources": ["nodes", "namespaces", "pods"], **every},
    ]
    group = rbac.partition("/")[0]
    scene.world.create({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules})
    bound = {"metadata": {"name": role}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role}}
    subjects = [{"apiGroup": group, "kind": "User", "name": role}]
    scene.world.create({"apiVersion": rbac, "kind": "ClusterRoleBinding", **bound, "subjects": subjects})
    file = scene.folder / "policy.yaml"
    file.write_text(yaml.safe_dump(scene.manifest(scene.spec("DE", **LISTS))))
    somebody = scene.world.server.kubeconfig(role, ())

    def told() -> Any:
        done = bailiwick(somebody, "what-if", str(file), "-o", "json")
        assert done.returncode == 1
        return json.loads(done.stdout or "null")

    seen = eventually(told, what="the role counts")
    assert "you may not list services; ask for the ClusterRole bailiwick-auditor" in seen["unseen"]
    assert {each["subject"] for each in seen["policies"][0]["objects"]["stopped"]} == {
        f"Deployment {scene.space}/web", f"Pod {scene.space}/foreign", f"Pod {scene.space}/rooted",
    }  # fmt: skip
    nobody = bailiwick(scene.world.server.kubeconfig(fresh("nobody"), ()), "what-if", str(file))
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "you may not list residencypolicies; ask for the ClusterRole bailiwick-viewer" in nobody.stderr


def test_a_terminal_gets_colour_and_progress_that_leaves_nothing_behind(scene: Scene) -> None:
    scene.apply(scene.spec("DE", **LISTS))
    scene.policy.in_force()
    with terminal(scene.world.server.kubeconfig(), "what-if", "--remove", scene.policy.name) as screen:
        written = screen.until(lambda text: "looked at: " in text)
        assert screen.process.wait(30) == 0
    assert "\r\033[Kpods: " in written
    assert "\r\033[K\033[31mThis change stops nothing that goes on today; and it WIDENS the border" in written
    assert "\033[31mWIDENS THE BORDER (2)\033[0m" in written
