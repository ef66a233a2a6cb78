"""What the keeper puts back, when it keeps quiet about it, and what it makes of a ConfigMap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from bailiwick.cluster import exact
from bailiwick.cluster.errors import NotFound, refusal
from bailiwick.control.chart import NAME, read_chart
from bailiwick.control.keeper import Installed, KeeperLoop
from bailiwick.control.stores import Stores
from bailiwick.control.world import World
from bailiwick.control.writer import Writer

Raw = dict[str, Any]
ADMISSION = "admissionregistration.k8s.io/v1"
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def policy(expression: str = "true", name: str = "bailiwick-pods") -> Raw:
    spec = {"validations": [{"expression": expression}]}
    return {"apiVersion": ADMISSION, "kind": POLICY, "metadata": {"name": name}, "spec": spec}


def config_map(*documents: Raw, version: str = "1", **data: str) -> Raw:
    files = {f"{each['metadata']['name']}.yaml": yaml.safe_dump(each) for each in documents} | data
    written = [{"manager": "helm", "operation": "Apply", "fieldsV1": {"f:data": {}}}]
    metadata = {"name": NAME, "resourceVersion": version, "managedFields": written}
    return {"metadata": metadata | {"labels": {"app.kubernetes.io/managed-by": "Helm", "team": "a"}}, "data": files}


class Scene:
    """One ConfigMap, and an API server that makes what it is asked."""

    def __init__(self) -> None:
        self.installed: Raw | None = config_map(policy())
        self.stores = Stores()
        self.applied: list[tuple[str, str, Raw]] = []
        self.told: list[tuple[str, str]] = []
        self.refuses = False
        self._version = 1
        world = World(self.stores, clock=lambda: datetime(2026, 11, 21, tzinfo=UTC), exempt=frozenset())
        self.loop = KeeperLoop(
            installed=Installed(api=self, namespace="bailiwick-system"),  # type: ignore[arg-type]
            world=world,
            writer=Writer(api=self, stores=self.stores),  # type: ignore[arg-type]
            alarm=self,  # type: ignore[arg-type]
        )

    async def get(self, resource: Any, name: str, *_: Any) -> Raw:
        found = self.installed if name == NAME else self.stores.of(resource).get(("", name))
        if found is None:
            raise NotFound(f"get {name}", status=404, reason="NotFound", message="gone")
        return found

    async def apply(self, _: Any, manifest: Raw, *, manager: str) -> Raw:
        if self.refuses:
            raise refusal("apply", 403, b"{}")
        self.applied.append((manager, manifest["metadata"]["name"], manifest["metadata"].get("labels", {})))
        return self.seen(manifest)

    async def patch_json(self, _: Any, name: str, __: None, operations: list[Raw]) -> Raw:
        changes = {each["path"]: each["value"] for each in operations}
        self.applied.append(("patch", name, changes))
        return self.seen(policy() | {"spec": changes["/spec"]})

    def seen(self, manifest: Raw) -> Raw:
        """As the API server has it."""
        self._version += 1
        head = {**manifest["metadata"], "uid": str(self._version), "resourceVersion": str(self._version)}
        return {**manifest, "metadata": head}

    def there(self, manifest: Raw | None) -> None:
        """A policy is on the server as given, or not there."""
        happens = "MODIFIED" if manifest else "DELETED"
        live = self.seen(manifest or policy())
        if manifest is None and (known := self.stores.validating_policies.get(("", "bailiwick-pods"))):
            live["metadata"]["uid"] = known["metadata"]["uid"]
        self.stores.validating_policies.apply_event(happens, live)

    def repaired(self, manifest: Raw, fault: exact.Fault, _: Any) -> None:
        self.told.append((manifest["metadata"]["name"], str(fault)))

    def failed(self, manifest: Raw, fault: exact.Fault, error: Exception, _: Any) -> None:
        assert error
        self.told.append((manifest["metadata"]["name"], f"{fault}, still"))


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.there(policy())
    return made


async def test_what_is_as_the_chart_has_it_is_left_alone(scene: Scene) -> None:
    assert await scene.loop.reconcile("keeper") == 60
    assert scene.applied == []
    assert scene.told == []


async def test_what_is_gone_is_made_as_its_installer_made_it(scene: Scene) -> None:
    scene.there(None)
    await scene.loop.reconcile("keeper")
    assert scene.applied == [("helm", "bailiwick-pods", {"app.kubernetes.io/managed-by": "Helm"})]
    assert scene.told == [("bailiwick-pods", "was gone")]
    await scene.loop.reconcile("keeper")
    assert len(scene.applied) == 1


async def test_what_was_edited_is_replaced(scene: Scene) -> None:
    scene.there(policy("false"))
    await scene.loop.reconcile("keeper")
    (patched,) = scene.applied
    assert patched[2]["/spec"] == policy()["spec"]
    assert scene.told == [("bailiwick-pods", "was changed")]


async def test_a_newer_chart_is_followed_without_an_alarm(scene: Scene) -> None:
    await scene.loop.reconcile("keeper")
    scene.installed = config_map(policy("1 == 1"), policy(name="bailiwick-new"), version="2")
    await scene.loop.reconcile("keeper")
    assert len(scene.applied) == 2
    assert scene.told == []


async def test_an_edit_during_an_upgrade_is_an_edit(scene: Scene) -> None:
    await scene.loop.reconcile("keeper")
    scene.installed = config_map(policy("1 == 1"), version="2")
    scene.there(policy("false"))
    await scene.loop.reconcile("keeper")
    assert scene.told == [("bailiwick-pods", "was changed")]


async def test_what_cannot_be_mended_is_told_once_and_tried_again(scene: Scene) -> None:
    scene.there(None)
    scene.refuses = True
    assert await scene.loop.reconcile("keeper") == 5
    assert await scene.loop.reconcile("keeper") == 5
    assert scene.told == [("bailiwick-pods", "was gone, still")]
    scene.refuses = False
    assert await scene.loop.reconcile("keeper") == 60
    assert scene.told[1:] == [("bailiwick-pods", "was gone")]


@pytest.mark.parametrize("why", ["gone", "no YAML", "foreign", "empty", "other kind"])
async def test_without_a_chart_nothing_is_put_back(scene: Scene, why: str) -> None:
    await scene.loop.reconcile("keeper")
    scene.there(None)
    foreign = policy(name="somebody-elses")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bailiwick-x"}, "spec": {"a": 1}}
    scene.installed = {
        "gone": None,
        "no YAML": config_map(policy(), version="2", bad="{{{"),
        "foreign": config_map(policy(), foreign, version="2"),
        "empty": config_map(version="2"),
        "other kind": config_map(policy(), secret, version="2"),
    }[why]
    assert await scene.loop.reconcile("keeper") == 60
    assert scene.applied == []
    assert scene.told == []


def test_a_chart_knows_who_wrote_it_and_what_it_binds() -> None:
    bound = {"apiVersion": ADMISSION, "kind": BINDING, "metadata": {"name": "bailiwick-nodes"}}
    chart = read_chart(config_map(policy(), bound | {"spec": {"policyName": "bailiwick-nodes"}}))
    assert chart.manager == "helm"
    assert chart.static == {"bailiwick-nodes"}


@pytest.mark.parametrize(
    ("live", "same"),
    [
        ({"validations": [{"expression": "a"}], "failurePolicy": "Fail", "matchConstraints": {}}, True),
        ({"validations": [{"expression": "a"}], "matchConstraints": {"matchPolicy": "Equivalent"}}, True),
        ({"validations": [{"expression": "a"}], "failurePolicy": "Ignore"}, False),
        ({"validations": [{"expression": "a"}], "matchConditions": [{"name": "n", "expression": "false"}]}, False),
        ({"validations": [{"expression": "a"}, {"expression": "b"}]}, False),
        ({"validations": []}, False),
        ({}, False),
    ],
)
def test_only_what_the_api_server_adds_is_no_difference(live: Raw, same: bool) -> None:
    wanted = {"metadata": {}, "spec": {"validations": [{"expression": "a"}]}}
    assert exact.same({"metadata": {}, "spec": live}, wanted) == same


def test_labels_that_are_wanted_must_be_there() -> None:
    wanted: Raw = {"metadata": {"labels": {"a": "b"}}, "spec": {}}
    assert exact.same({"metadata": {"labels": {"a": "b", "c": "d"}}, "spec": {}}, wanted)
    assert not exact.same({"metadata": {}, "spec": {}}, wanted)
