"""What `helm template` makes of the values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.control.stores import Stores
from e2e.client import documents
from e2e.cluster.digests import NAMES
from e2e.cluster.digests import values as pinned
from tests.chart.helm import CHART, NAMESPACE, Helm, HelmError

if TYPE_CHECKING:
    from e2e.client import Manifest

pytestmark = pytest.mark.apiserver  # they need Helm, which is built like the servers

ROOT = Path(__file__).parents[2]
KEEP = "helm.sh/resource-policy"
DIGEST = "sha256:" + "a" * 64


def of_kind(rendered: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {document["metadata"]["name"]: document for document in rendered if document["kind"] == kind}


def policies(rendered: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(d["kind"], d["metadata"]["name"]): d for d in rendered if "AdmissionPolicy" in d["kind"]}


def container(rendered: list[Manifest]) -> Manifest:
    pod: Manifest = of_kind(rendered, "Deployment")["bailiwick-operator"]["spec"]["template"]["spec"]
    (only,) = pod["containers"]
    found: Manifest = only
    return found


def test_lint_finds_nothing(helm: Helm) -> None:
    said = helm.run("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def test_the_policies_are_rendered_as_they_stand(helm: Helm) -> None:
    """With the default names, what Helm installs is what the auditor read."""
    files = [document for file in (CHART / "policies").glob("*.yaml") for document in documents(file)]
    assert policies(helm.template()) == policies(files)


def test_only_namespace_and_service_account_are_replaced(helm: Helm) -> None:
    text = helm.run(
        "template", "x", str(CHART), "--namespace=bailiwick-system-two", "--show-only=templates/policies.yaml",
        serviceAccount={"name": "warden"},
    )  # fmt: skip
    plain = "".join(file.read_text() for file in (CHART / "policies").glob("*.yaml"))
    assert "bailiwick-operator" not in text
    operator = "system:serviceaccount:bailiwick-system-two:warden"
    assert text.count(operator) == plain.count("system:serviceaccount:bailiwick-system:bailiwick-operator") > 0
    assert text.count("bailiwick-system-two") == plain.count("bailiwick-system")
    assert text.count("bailiwick-system") == plain.count("bailiwick-system")


def test_the_operator_runs_as_the_account_that_the_policies_name(helm: Helm) -> None:
    rendered = helm.template(serviceAccount={"name": "warden"})
    assert set(of_kind(rendered, "ServiceAccount")) == {"warden", "bailiwick-admission"}
    assert (
        of_kind(rendered, "Deployment")["bailiwick-operator"]["spec"]["template"]["spec"]["serviceAccountName"]
        == "warden"
    )
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = of_kind(rendered, kind)["bailiwick-operator"]["subjects"]
        assert (subject["name"], subject["namespace"]) == ("warden", NAMESPACE)


def test_a_laboratory_may_serve_ungoverned_models(helm: Helm) -> None:
    everywhere = policies(helm.template()).keys()
    laboratory = policies(helm.template(ungoverned="Allow")).keys()
    assert {name for _, name in everywhere - laboratory} == {"bailiwick-models-governed"}
    environment = {entry["name"]: entry.get("value") for entry in container(helm.template(ungoverned="Allow"))["env"]}
    assert environment["BAILIWICK_UNGOVERNED"] == "Allow"


def ways_out(rendered: list[Any]) -> list[Any]:
    """What the operator's NetworkPolicy lets it reach, but for the API server."""
    allowed: list[Any] = of_kind(rendered, "NetworkPolicy")["bailiwick-operator"]["spec"]["egress"]
    return allowed[1:]


def test_traces_go_to_pods_of_the_cluster_alone_and_only_where_a_collector_is_named(helm: Helm) -> None:
    assert not [each for each in container(helm.template())["env"] if each["name"].startswith("OTEL_")]
    assert ways_out(helm.template()) == []
    rendered = helm.template(tracing={"endpoint": "http://collector.monitoring.svc:4318", "ratio": 0.1})
    environment = {entry["name"]: entry.get("value") for entry in container(rendered)["env"]}
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring.svc:4318"
    assert environment["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    (way,) = ways_out(rendered)
    assert way["to"] == [{"namespaceSelector": {}}]
    assert [(port["protocol"], port["port"]) for port in way["ports"]] == [("TCP", 4318), ("UDP", 53), ("TCP", 53)]


@pytest.mark.parametrize("tracing", [{"endpoint": "http://collector"}, {"endpoint": "collector:4318"}, {"ratio": 2}])
def test_an_endpoint_without_its_port_is_refused(helm: Helm, tracing: dict[str, Any]) -> None:
    with pytest.raises(HelmError, match="tracing"):
        helm.template(tracing=tracing)


def test_without_reports_nobody_is_granted_any(helm: Helm) -> None:
    without = helm.template(reports={"enabled": False})
    environment = {entry["name"]: entry.get("value") for entry in container(without)["env"]}
    assert environment["BAILIWICK_REPORTS"] == "false"
    assert "report" not in "".join(
        str(each["rules"]) for each in without if each["kind"] == "ClusterRole" and each.get("rules")
    )
    with pytest.raises(HelmError, match="maxResults"):
        helm.template(reports={"maxResults": 501})


@pytest.mark.parametrize(
    ("arguments", "values", "pinned"),
    [
        ((), {}, True),
        ((), {"pin": False}, False),
        (("--kube-version=1.35.4",), {}, False),
        (("--kube-version=1.35.4", "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"), {}, True),
        (("--kube-version=1.36.3",), {}, True),
    ],
)
def test_the_convenience_comes_where_its_api_is(
    helm: Helm, arguments: tuple[str, ...], values: dict[str, Any], *, pinned: bool
) -> None:
    assert ("bailiwick-pin" in of_kind(helm.template(*arguments, **values), "MutatingAdmissionPolicy")) == pinned


def test_a_cluster_that_is_too_old_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.34"):
        helm.template("--kube-version=1.33.9")


def test_our_kinds_are_the_generated_ones_and_stay_when_the_release_goes(helm: Helm) -> None:
    rendered = of_kind(helm.template(), "CustomResourceDefinition")
    for file in (ROOT / "crds").glob("*.yaml"):
        (generated,) = documents(file)
        crd = rendered.pop(generated["metadata"]["name"])
        assert crd["metadata"].pop("annotations") == {KEEP: "keep"}
        assert crd == generated
    assert rendered == {}


def test_on_a_cluster_without_our_kinds_our_objects_come_last(helm: Helm) -> None:
    """Helm looks up every kind before it creates anything, so on the first installation they have to be hooks."""
    rendered = helm.template()
    for name, ours in (of_kind(rendered, "Jurisdiction") | of_kind(rendered, "AcceleratorClass")).items():
        annotations = ours["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "post-install,post-upgrade", name
        assert annotations["meta.helm.sh/release-name"] == "bailiwick"
        assert annotations["meta.helm.sh/release-namespace"] == NAMESPACE
        assert ours["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_on_a_cluster_with_our_kinds_our_objects_are_ordinary(helm: Helm) -> None:
    rendered = of_kind(helm.template("--api-versions=bailiwick.dev/v1alpha1/Jurisdiction"), "Jurisdiction")
    assert "eu" in rendered
    for jurisdiction in rendered.values():
        assert "helm.sh/hook" not in jurisdiction["metadata"]["annotations"]
        assert jurisdiction["metadata"]["annotations"][KEEP] == "keep"


def test_jurisdictions_are_rendered_as_they_stand(helm: Helm) -> None:
    rendered = of_kind(helm.template(), "Jurisdiction")
    files = [document for file in (CHART / "jurisdictions").glob("*.yaml") for document in documents(file)]
    assert {name: document["spec"] for name, document in rendered.items()} == {
        document["metadata"]["name"]: document["spec"] for document in files
    }


def test_jurisdictions_can_be_left_to_their_owner(helm: Helm) -> None:
    omitted = of_kind(helm.template(jurisdictions={"omit": ["gdpr-adequate"]}), "Jurisdiction")
    assert "gdpr-adequate" not in omitted
    assert "eu" in omitted
    assert of_kind(helm.template(jurisdictions={"install": False}), "Jurisdiction") == {}


def test_the_class_of_plain_cpus_is_rendered_as_it_stands_but_for_its_image(helm: Helm) -> None:
    (expected,) = documents(CHART / "acceleratorclasses/cpu.yaml")
    rendered = of_kind(helm.template(), "AcceleratorClass")["cpu"]
    assert rendered["spec"] == expected["spec"]
    images = {"vllm": f"registry.example/vllm@{DIGEST}", "llama.cpp": f"registry.example/llama@{DIGEST}"}
    values = {"cpu": {"image": images["vllm"], "llamaCpp": {"image": images["llama.cpp"]}}}
    engines = of_kind(helm.template(acceleratorClasses=values), "AcceleratorClass")["cpu"]["spec"]["engines"]
    assert {engine["name"]: engine["image"] for engine in engines} == images
    assert of_kind(helm.template(acceleratorClasses={"cpu": {"install": False}}), "AcceleratorClass") == {}


def test_families_of_the_catalogue_are_rendered_as_they_stand_but_for_the_registry(helm: Helm) -> None:
    files = sorted(path for path in (CHART / "acceleratorclasses").glob("*.yaml") if path.stem != "cpu")
    values = {"cpu": {"install": False}, "families": [path.stem for path in files], "registry": "mirror.example/ai"}
    rendered = of_kind(helm.template(acceleratorClasses=values), "AcceleratorClass")
    expected = {document["metadata"]["name"]: document["spec"] for path in files for document in documents(path)}
    moved = json.loads(json.dumps(expected).replace("registry.example/", "mirror.example/ai/"))
    assert {name: each["spec"] for name, each in rendered.items()} == moved
    assert set(of_kind(helm.template(), "AcceleratorClass")) == {"cpu"}
    with pytest.raises(HelmError, match="families"):
        helm.template(acceleratorClasses={"families": ["abacus"]})


def test_resources_are_called_as_the_nodes_call_them(helm: Helm) -> None:
    values: dict[str, Any] = {
        "families": ["nvidia", "amd"],
        "resources": {"nvidia.com/gpu": "nvidia.com/gpu.shared", "absent.example/x": "a/b"},
    }  # fmt: skip
    rendered = of_kind(helm.template(acceleratorClasses=values), "AcceleratorClass")
    assert rendered["nvidia-h100"]["spec"]["resources"] == ["nvidia.com/gpu.shared"]
    assert rendered["amd-mi300x"]["spec"]["resources"] == ["amd.com/gpu"]
    assert "resources" not in rendered["cpu"]["spec"]
    with pytest.raises(HelmError, match="resources"):
        helm.template(acceleratorClasses={"resources": {"nvidia.com/gpu": "gpu"}})


def test_a_digest_is_what_counts(helm: Helm) -> None:
    assert container(helm.template())["image"] == "localhost/bailiwick/operator:dev"
    image = {"repository": "registry.example/bailiwick", "tag": "1.0", "digest": DIGEST}
    assert container(helm.template(image=image))["image"] == f"registry.example/bailiwick@{DIGEST}"


@pytest.mark.parametrize(
    ("loose", "named"),
    [
        ({"image": {"digest": ""}}, "image.digest"),
        ({"gate": {"image": "registry.example/gate:1"}}, "gate.image"),
        ({"weights": {"image": "registry.example/operator:1"}}, "weights.image"),
        ({"acceleratorClasses": {"cpu": {"image": "registry.example/vllm:1"}}}, "acceleratorClasses.cpu.image"),
        (
            {"acceleratorClasses": {"cpu": {"llamaCpp": {"image": "registry.example/l:1"}}}},
            "acceleratorClasses.cpu.llamaCpp.image",
        ),
    ],
    ids=str,
)
def test_where_digests_are_required_a_tag_is_refused_by_name(
    helm: Helm, tmp_path: Path, loose: dict[str, Any], named: str
) -> None:
    files = tmp_path / "pinned.yaml", tmp_path / "loose.yaml"
    for file, values in zip(files, (pinned("registry.example", dict.fromkeys(NAMES, DIGEST)), loose), strict=True):
        file.write_text(json.dumps(values))
    helm.template(f"--values={files[0]}")
    with pytest.raises(HelmError, match=rf"NotPinned: .* found none in {re.escape(named)};"):
        helm.template(*(f"--values={file}" for file in files))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"imgae": {}}, "imgae"),
        ({"ungoverned": "Maybe"}, "ungoverned"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"gate": {"image": "registry.example/gate@sha256:12"}}, "gate"),
        ({"weights": {"image": f"registry.example/a@{DIGEST}@{DIGEST}"}}, "weights"),
        ({"acceleratorClasses": {"cpu": {"image": "registry.example/vllm@sha256:12"}}}, "cpu"),
        ({"operator": {"replicas": -1}}, "replicas"),
        ({"networkPolicy": {"apiServer": {"cidrs": []}}}, "cidrs"),
        ({"serviceAccount": {"name": "Warden"}}, "serviceAccount"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, values: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        helm.template(**values)


def test_every_value_can_be_set(helm: Helm) -> None:
    rendered = helm.template(
        imagePullSecrets=[{"name": "registry"}],
        operator={
            "replicas": 1,
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "control", "operator": "Exists"}],
            "affinity": {"podAffinity": {}},
            "podAnnotations": {"a": "b"},
            "podLabels": {"team": "platform", "app.kubernetes.io/name": "other"},
        },
        admission={"replicas": 1},
        networkPolicy={"metricsFrom": [], "apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]}},
        serviceAccount={"name": "bailiwick-operator", "annotations": {"c": "d"}},
    )
    deployment = of_kind(rendered, "Deployment")["bailiwick-operator"]["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["replicas"] == 1
    assert of_kind(rendered, "PodDisruptionBudget") == {}, "a budget for one replica would hold up every drain"
    assert deployment["template"]["metadata"]["annotations"] == {"a": "b"}
    assert deployment["template"]["metadata"]["labels"]["team"] == "platform"
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert (pod["priorityClassName"], pod["nodeSelector"]) == ("system-cluster-critical", {"disk": "ssd"})
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["tolerations"] == [{"key": "control", "operator": "Exists"}]
    assert pod["affinity"] == {"podAffinity": {}}
    network = of_kind(rendered, "NetworkPolicy")["bailiwick-operator"]["spec"]
    assert network["ingress"] == []
    assert network["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"protocol": "TCP", "port": 6443}]}
    ]
    assert of_kind(rendered, "ServiceAccount")["bailiwick-operator"]["metadata"]["annotations"] == {"c": "d"}


def test_built_in_roles_get_nothing_unless_asked(helm: Helm) -> None:
    def built_in(rendered: list[Manifest]) -> set[str]:
        roles = of_kind(rendered, "ClusterRole").values()
        labels = (label for role in roles for label in role["metadata"]["labels"])
        return {label for label in labels if label.startswith("rbac.authorization.k8s.io/")}

    assert built_in(helm.template()) == set()
    assert built_in(helm.template(rbac={"aggregateToBuiltIn": True})) == {
        f"rbac.authorization.k8s.io/aggregate-to-{role}" for role in ("view", "edit", "admin")
    }


def test_a_policy_administrators_rights_never_go_to_a_built_in_role(helm: Helm) -> None:
    roles = of_kind(helm.template(rbac={"aggregateToBuiltIn": True}), "ClusterRole")
    for role in roles.values():
        if any("assign" in rule["verbs"] for rule in role.get("rules", ())):
            assert not any(label.startswith("rbac.authorization.k8s.io/") for label in role["metadata"]["labels"])


def test_the_operator_may_write_what_models_become_and_only_watch_the_rest_of_other_projects(helm: Helm) -> None:
    stores = Stores()
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in of_kind(helm.template(), "ClusterRole")["bailiwick-operator"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for store in stores.children:
        everything = {"get", "list", "watch", "create", "patch", "delete"}
        assert rights[store.resource.group, store.resource.plural] == everything
    for store in (stores.gateways, stores.profiles):
        assert rights[store.resource.group, store.resource.plural] == {"list", "watch"}
