"""Every CustomResourceDefinition is accepted by a real API server, and behaves as users of Kubernetes expect."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.resource import API_VERSION, Part
from bailiwick.api.schema import KINDS
from e2e.client import ApiError, Client, Manifest, documents
from e2e.cluster.binaries import binary
from tests.unit.api.objects import COMPLETE, CONDITION, SOURCES, changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from bailiwick.api.resource import Resource
    from e2e.cluster.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

FILES = sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))
CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def complete(client: Client, kind: type[Resource]) -> Iterator[Manifest]:
    """The complete object of a kind as the server returns it, status included."""
    yield from exists(client, COMPLETE[kind.__name__])


@pytest.fixture
def model(client: Client) -> Iterator[Manifest]:
    yield from exists(client, COMPLETE["SovereignModel"])


def exists(client: Client, manifest: Manifest) -> Iterator[Manifest]:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    created = client.create(manifest, namespace="default" if kind == "SovereignModel" else None)
    if "status" in manifest:
        created = client.replace({**created, "status": manifest["status"]}, subresource="status")
    yield created
    client.delete(API_VERSION, kind, name, "default")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_definition_is_established_and_structural(client: Client, file: Path) -> None:
    (definition,) = documents(file)
    conditions = {c["type"]: c for c in client.get(*CRD, definition["metadata"]["name"])["status"]["conditions"]}
    assert conditions["Established"]["status"] == "True"
    assert conditions["NamesAccepted"]["status"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_applying_a_definition_again_changes_nothing(client: Client, file: Path) -> None:
    (definition,) = documents(file)
    before = client.get(*CRD, definition["metadata"]["name"])["metadata"]
    after = client.apply(definition)["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_server_keeps_a_definition_as_it_was_written(client: Client, file: Path) -> None:
    """It drops keys that it does not know, silently unless asked."""
    (definition,) = documents(file)
    spec = client.get(*CRD, definition["metadata"]["name"])["spec"]
    assert spec["versions"] == definition["spec"]["versions"]
    assert {key: spec[key] for key in definition["spec"]} == definition["spec"]


def test_kinds_are_found_by_short_name_and_category(client: Client) -> None:
    served = client.request("GET", f"/apis/{API_VERSION}").json()["resources"]
    found = {r["kind"]: r for r in served if "/" not in r["name"]}
    for kind in KINDS:
        assert tuple(found[kind.__name__]["shortNames"]) == kind.presents.short_names
        assert found[kind.__name__]["categories"] == ["bailiwick"]


@by_kind
def test_a_complete_object_comes_back_whole_and_is_read(kind: type[Resource], complete: Manifest) -> None:
    sent = COMPLETE[kind.__name__]
    assert complete["spec"] == sent["spec"]
    assert complete.get("status") == sent.get("status")
    assert kind.read(complete).spec == kind.read(sent).spec  # type: ignore[attr-defined]


@by_kind
def test_every_column_shows_a_value(client: Client, kind: type[Resource], complete: Manifest) -> None:
    path = client.path(API_VERSION, kind.__name__, complete["metadata"].get("namespace"), complete["metadata"]["name"])
    table = client.request("GET", path, accept=TABLE).json()
    cells = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert list(cells) == ["Name", *(column.name for column in kind.presents.columns)]
    assert [name for name, cell in cells.items() if cell in (None, "", "<none>", "<unknown>", "<invalid>")] == []


@by_kind
def test_explain_is_readable(apiserver: ApiServer, kind: type[Resource]) -> None:
    said = explain(apiserver, f"{kind.presents.plural}.spec")
    description = kind.model_fields["spec"].description
    assert description
    assert description in " ".join(said.split())
    assert ("-required-" in said) == any(field.is_required() for field in spec_fields(kind))


def test_explain_names_the_choices(apiserver: ApiServer) -> None:
    said = " ".join(explain(apiserver, "respol.spec.place.assurance").split())
    assert "ENUM: Declared Asserted Verified Attested" in said
    assert "How well a node's place must be vouched for" in said


def spec_fields(kind: type[Resource]) -> list[FieldInfo]:
    spec = kind.model_fields["spec"].annotation
    assert isinstance(spec, type)
    assert issubclass(spec, Part)
    return list(spec.model_fields.values())


def explain(apiserver: ApiServer, field: str) -> str:
    where = [f"--kubeconfig={apiserver.kubeconfig()}", f"--cache-dir={apiserver.folder}/kubectl"]
    return subprocess.run(
        [binary("kubectl"), "explain", field, *where], capture_output=True, text=True, check=True
    ).stdout


@by_kind
def test_a_misspelt_field_is_refused_under_strict_validation_and_pruned_otherwise(
    client: Client, kind: type[Resource]
) -> None:
    misspelt = changed(kind.__name__, {"spec.fromTheFuture": 1})
    namespace = "default" if kind.presents.namespaced else None
    with pytest.raises(ApiError, match=r'unknown field "spec\.fromTheFuture"'):
        client.create(misspelt, namespace=namespace, dry_run=True)
    created = client.create(misspelt, namespace=namespace, dry_run=True, validation="Ignore")
    assert created["spec"] == COMPLETE[kind.__name__]["spec"]


def test_defaults_appear_also_inside_parts_that_were_left_out(client: Client) -> None:
    model = {
        "apiVersion": API_VERSION,
        "kind": "SovereignModel",
        "metadata": {"name": "plain"},
        "spec": {"model": {"name": "m", "source": {"persistentVolumeClaim": {"claimName": "weights"}}}},
    }
    spec = client.create(model, namespace="default", dry_run=True)["spec"]
    assert spec["engine"] == {"name": "vllm"}
    assert spec["accelerators"] == {"classes": ["cpu"], "perReplica": "auto"}
    assert (spec["replicas"], spec["objective"]) == (1, "Balanced")
    assert {"context", "serving", "residency"}.isdisjoint(spec)


def test_a_null_means_absent(client: Client) -> None:
    spec = client.create(changed("ResidencyPolicy", {"spec.control": None, "spec.mode": None}), dry_run=True)["spec"]
    assert "control" not in spec
    assert spec["mode"] == "Enforce"


def test_the_status_is_another_door_than_the_spec(client: Client, model: Manifest) -> None:
    changed_both: Manifest = {
        **model,
        "spec": {**model["spec"], "replicas": 7},
        "status": {**model["status"], "readyReplicas": 2},
    }
    by_status = client.replace(changed_both, subresource="status")
    assert (by_status["spec"]["replicas"], by_status["status"]["readyReplicas"]) == (2, 2)
    by_spec = client.replace({**changed_both, "metadata": by_status["metadata"], "status": {}})
    assert (by_spec["spec"]["replicas"], by_spec["status"]["readyReplicas"]) == (7, 2)
    assert by_spec["metadata"]["generation"] == model["metadata"]["generation"] + 1


def test_a_model_is_scaled_through_its_subresource(client: Client, model: Manifest) -> None:
    path = (API_VERSION, "SovereignModel", model["metadata"]["name"])
    scale = client.get(*path, "default", subresource="scale")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 2, "selector": "bailiwick.dev/model=assistant"}
    client.patch(*path, {"spec": {"replicas": 5}}, "default", subresource="scale")
    assert client.get(*path, "default")["spec"]["replicas"] == 5


def test_conditions_of_two_writers_stand_side_by_side(client: Client, model: Manifest) -> None:
    def status(manager: str, *conditions: Manifest) -> Manifest:
        head = {key: model[key] for key in ("apiVersion", "kind")}
        name = {key: model["metadata"][key] for key in ("name", "namespace")}
        wanted = {**head, "metadata": name, "status": {"conditions": list(conditions)}}
        applied: Manifest = client.apply(wanted, manager=manager, subresource="status", force=False)["status"]
        return applied

    status("first", {**CONDITION, "type": "Planned"})
    status("second", {**CONDITION, "type": "Placed"})
    types = [c["type"] for c in status("first", {**CONDITION, "type": "Planned", "reason": "Other"})["conditions"]]
    assert types == ["Ready", "Planned", "Placed"]
    assert [c["type"] for c in status("second")["conditions"]] == ["Ready", "Planned"]


def test_adapters_of_two_writers_stand_side_by_side(client: Client, model: Manifest) -> None:
    def adapters(manager: str, *names: str) -> list[str]:
        head = {key: model[key] for key in ("apiVersion", "kind")}
        name = {key: model["metadata"][key] for key in ("name", "namespace")}
        source = {"persistentVolumeClaim": SOURCES["persistentVolumeClaim"]}
        given = [{"name": adapter, "source": source} for adapter in names]
        minimal = {"name": "skt/A.X-K1", "source": {"oci": SOURCES["oci"]}}
        wanted = {**head, "metadata": name, "spec": {"model": minimal, "adapters": given}}
        return [adapter["name"] for adapter in client.apply(wanted, manager=manager, force=False)["spec"]["adapters"]]

    assert adapters("first", "a", "b") == ["legal", "a", "b"]
    assert adapters("second", "c") == ["legal", "a", "b", "c"]
    assert adapters("first", "b") == ["legal", "b", "c"]


def test_two_conditions_of_one_type_are_refused(client: Client, model: Manifest) -> None:
    with pytest.raises(ApiError, match="Duplicate value") as refused:
        client.replace({**model, "status": {"conditions": [CONDITION, CONDITION]}}, subresource="status")
    assert refused.value.causes[0].field == "status.conditions[1]"


@pytest.mark.parametrize(("kind", "field"), [("ResidencyWaiver", "reason"), ("WaiverApproval", "comment")])
def test_what_people_approve_of_cannot_be_changed(client: Client, kind: str, field: str) -> None:
    """In no word: an approval is for what was read. Labels are free."""
    name = COMPLETE[kind]["metadata"]["name"]
    client.create(COMPLETE[kind])
    try:
        with pytest.raises(ApiError, match="cannot be changed once it is made; delete the object and make a new one"):
            client.patch(API_VERSION, kind, name, {"spec": {field: "another"}})
        client.patch(API_VERSION, kind, name, {"metadata": {"labels": {"team": "a"}}})
    finally:
        client.delete(API_VERSION, kind, name)


def test_statements_are_found_by_the_node_they_speak_of(client: Client) -> None:
    names = ["one", "two"]
    for name in names:
        client.create(changed("NodeStatement", {"metadata.name": f"about-{name}", "spec.node.name": name}))
    listed = client.request(
        "GET", client.path(API_VERSION, "NodeStatement"), params={"fieldSelector": "spec.node.name=two"}
    ).json()["items"]
    for name in names:
        client.delete(API_VERSION, "NodeStatement", f"about-{name}")
    assert [item["metadata"]["name"] for item in listed] == ["about-two"]


def largest() -> Iterator[tuple[str, dict[str, Any]]]:
    """The most work that objects can make for the rules: the server stops a rule that costs too much, and refuses."""
    group = "G" * 63
    everywhere = {
        "allow": [f"{group[:-3]}{n:03}" for n in range(300)],
        "deny": [f"{group[:-4]}X{n:03}" for n in range(300)],
    }
    origin = dict.fromkeys(("brand", "manufacture", "design"), everywhere)
    yield "Territory", {"spec.nodes": {f"worker-{n:05}.zone.example": "DE-BY" for n in range(20000)}}
    yield "ResidencyPolicy", {"spec.place": everywhere, "spec.control": everywhere, "spec.origin": origin}
    yield "Jurisdiction", {"spec.members": everywhere["allow"]}
    adapters = [{"name": f"adapter-{n}", "source": {"oci": {"image": "r" * 512}}} for n in range(64)]
    arguments = ["--dtype=" + "a_" * 508] * 64
    residency = {"place": everywhere, "control": everywhere, "origin": origin}
    yield "SovereignModel", {"spec.adapters": adapters, "spec.engine.arguments": arguments, "spec.residency": residency}
    environment = [{"name": f"V{n}" + "_" * 200, "value": "v" * 2000} for n in range(64)]
    yield "AcceleratorClass", {"spec.engines.0.environment": environment}


LARGEST = dict(largest())


@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_objects_stay_within_the_budget_of_rules(client: Client, kind: str) -> None:
    namespace = "default" if kind == "SovereignModel" else None
    assert client.create(changed(kind, LARGEST[kind]), namespace=namespace, dry_run=True)["kind"] == kind
