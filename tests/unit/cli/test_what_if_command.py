"""`bailiwick what-if` on exported files: what it says a change would stop and let in, and how it ends."""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bailiwick.cli import main
from bailiwick.cli.files.chart import CHART, open_chart
from bailiwick.cli.files.intree import in_tree
from bailiwick.cli.whatif.command import Change, what_if
from bailiwick.cli.whatif.gathering import Material, fill
from tests.unit.residency.given import FRANKFURT, NOW, VIRGINIA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bailiwick.cli.whatif.differences import Report

Raw = dict[str, Any]
OURS = "bailiwick.dev/v1alpha1"
DIGEST = "sha256:" + "0" * 64
BROUGHT = in_tree(open_chart(CHART))


def law(name: str = "health", **spec: Any) -> Raw:
    place = {"allow": ["DE"]} | spec.pop("place", {})
    whole = {"namespaceSelector": {"matchLabels": {"data": "health"}}, "place": place, **spec}
    return {"apiVersion": OURS, "kind": "ResidencyPolicy", "metadata": {"name": name}, "spec": whole}


def node(name: str, provider: str) -> Raw:
    status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "8"}}
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"providerID": provider},
        "status": status,
    }  # fmt: skip


def namespace(name: str, **labels: str) -> Raw:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(number: int, on: str = "frankfurt", image: str = "a.example/chat:1", space: str = "clinic") -> Raw:
    """One of the pods of Deployment chat, as the API server shows it."""
    token = f"kube-api-access-{number:05}"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-7f9", "controller": True}
    mounts = [{"name": token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": f"chat-7f9-{number}", "namespace": space, "labels": {"app": "chat", "pod-template-hash": "7f9"},
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": on, "volumes": [{"name": token, "projected": {"sources": []}}],
            "containers": [{"name": "main", "image": image, "volumeMounts": mounts}],
        },
        "status": {"phase": "Running"},
    }  # fmt: skip


def service(kind: str = "LoadBalancer") -> Raw:
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat", "namespace": "clinic"},
        "spec": {"type": kind, "ports": [{"port": 80}]}, "status": status,
    }  # fmt: skip


def model(space: str = "clinic") -> Raw:
    source = {"oci": {"image": f"a.example/models/tiny@{DIGEST}"}}
    return {
        "apiVersion": OURS, "kind": "SovereignModel", "metadata": {"name": "chat", "namespace": space},
        "spec": {"model": {"name": "tiny", "source": source}},
    }  # fmt: skip


NODES = (node("frankfurt", FRANKFURT), node("virginia", VIRGINIA))
SPACES = (namespace("clinic", data="health"), namespace("lab"))
EVERYTHING: tuple[Raw, ...] = (*NODES, *SPACES, pod(1), pod(2), pod(3, "virginia"), service(), model())


class Desk:
    """A folder with an exported cluster, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch

    def put(self, name: str, *manifests: Raw) -> str:
        path = self._folder / name
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        path.write_text(text if name.endswith(".json") else yaml.safe_dump_all(manifests))
        return str(path)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["bailiwick", "what-if", *arguments])
        try:
            code = main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        seen = self._capsys.readouterr()
        return code, seen.out, seen.err

    def asked(
        self, *change: Raw, there: Sequence[Raw] = (), objects: Sequence[Raw] = EVERYTHING, remove: str = ""
    ) -> tuple[int, Any]:
        """Exit code and JSON for a change of a cluster that has the policies ``there``."""
        files = [self.put("change.yaml", *change)] if change else []
        went = ["--remove", remove] if remove else []
        code, out, err = self.run(*files, *went, "--objects", self.put("all.json", *there, *objects), "-o", "json")
        assert err == ""
        return code, json.loads(out)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


IMAGES = {"registries": ["b.example/"], "requireDigest": False}


def test_pods_of_one_template_are_told_once_by_who_makes_them(desk: Desk) -> None:
    code, told = desk.asked(law(images=IMAGES), there=[law()])
    assert code == 3
    (policy,) = told["policies"]
    (stopped,) = policy["objects"]["stopped"]
    assert (stopped["subject"], stopped["pods"]) == ("Deployment clinic/chat", 3)
    assert (stopped["reason"], stopped["was"], stopped["becomes"]) == ("ImageNotAllowed", None, "Enforce")
    assert "this pod has a.example/chat:1" in stopped["message"]
    assert told["seen"]["pods"] == 3
    assert told["seen"]["templates"] == 1


def test_a_node_that_falls_out_is_told_with_its_reason_and_the_pods_on_it(desk: Desk) -> None:
    violation = {"action": "Evict", "after": "5m"}
    before = law(place={"allow": ["DE", "US"]})
    code, told = desk.asked(law(violation=violation), there=[before])
    assert code == 3
    (policy,) = told["policies"]
    (out,) = policy["nodes"]["out"]
    assert (out["node"], out["place"], out["reason"]) == ("virginia", "US", "WrongPlace")
    (running,) = policy["running"]["outside"]
    assert (running["subject"], running["count"], running["where"]) == ("Deployment clinic/chat", 1, ["virginia"])
    assert policy["running"]["follows"] == "quarantined at once, evicted after 5m"
    (moved,) = told["models"]
    assert (moved["subject"], moved["before"], moved["after"]) == ("SovereignModel clinic/chat", 2, 1)
    assert moved["why"].startswith("WrongPlace: node virginia stands in US")


def test_the_same_in_mode_audit_stops_nothing_and_says_what_enforce_would(desk: Desk) -> None:
    before = law(mode="Audit", place={"allow": ["DE", "US"]})
    code, told = desk.asked(law(mode="Audit", images=IMAGES), there=[before])
    (policy,) = told["policies"]
    assert (code, told["stops"], policy["objects"]["stopped"]) == (0, False, [])
    assert [each["becomes"] for each in policy["objects"]["recorded"]] == ["Audit"]
    assert policy["inEnforce"] == {"objects": 1, "pods": 3}
    assert policy["running"]["follows"].startswith("reported, whatever")


def test_from_audit_to_enforce_is_told_as_stopped(desk: Desk) -> None:
    code, told = desk.asked(law(images=IMAGES), there=[law(mode="Audit", images=IMAGES)])
    assert code == 3
    assert [(each["was"], each["becomes"]) for each in told["policies"][0]["objects"]["stopped"]] == [
        ("Audit", "Enforce")
    ]


def test_what_widens_is_said_loudly_and_what_it_lets_in_is_named(desk: Desk) -> None:
    network = {"services": ["ClusterIP"]}
    there = law(images=IMAGES, network=network)
    wider = law(images={**IMAGES, "registries": ["a.example/", "b.example/"]}, place={"allow": ["DE", "US"]})
    code, told = desk.asked(wider, there=[there])
    assert code == 0
    assert [each["field"] for each in told["widens"]] == [
        "spec.place",
        "spec.images.registries",
        "spec.network",
        "nodes",
    ]
    assert {each["subject"] for each in told["policies"][0]["objects"]["letIn"]} == {
        "Deployment clinic/chat", "Service clinic/chat",
    }  # fmt: skip
    _, out, _ = desk.run(desk.put("change.yaml", wider), "--objects", desk.put("all.json", there, *EVERYTHING))
    assert "and it WIDENS the border in 4 ways." in out
    assert out.index("WIDENS THE BORDER (4)") < out.index("POLICY health (changed, Enforce)")


def test_a_policy_that_goes_frees_its_namespaces_and_takes_the_place_of_models(desk: Desk) -> None:
    code, told = desk.asked(there=[law()], remove="health")
    (policy,) = told["policies"]
    assert policy["mode"] == {"before": "Enforce", "after": None}
    assert policy["namespaces"]["released"] == [{"namespace": "clinic", "pods": 3, "alone": True}]
    assert [each["field"] for each in told["widens"]] == ["spec", "spec.namespaceSelector"]
    (other,) = told["others"]
    assert (code, other["subject"], other["reason"]) == (3, "SovereignModel clinic/chat", "Ungoverned")


def test_a_new_policy_governs_closes_and_may_leave_no_node(desk: Desk) -> None:
    code, told = desk.asked(law(place={"allow": ["FR"]}, network={}), objects=(*NODES, *SPACES, pod(1)))
    (policy,) = told["policies"]
    assert policy["namespaces"]["governed"] == [{"namespace": "clinic", "pods": 1, "alone": True}]
    assert len(policy["nodes"]["out"]) == 2
    (space,) = told["namespaces"]
    assert (code, space["namespace"], space["stranded"], space["cut"]) == (3, "clinic", True, True)
    assert told["widens"] == []


def test_several_changes_are_judged_together(desk: Desk) -> None:
    elsewhere = law("open", place={"allow": ["US"]}, namespaceSelector={"matchLabels": {"data": "open"}})
    _, told = desk.asked(law(place={"allow": ["US"]}), elsewhere, there=[law(), elsewhere, law("old")], remove="old")
    assert {each["name"] for each in told["policies"]} == {"health", "old"}
    assert told["models"][0]["before"] == 1
    assert (told["models"][0]["lost"], told["models"][0]["gained"]) == (["frankfurt"], ["virginia"])


def test_the_same_policies_change_nothing(desk: Desk) -> None:
    code, out, err = desk.run(desk.put("change.yaml", law()), "--objects", desk.put("all.yaml", law(), *EVERYTHING))
    assert (code, err) == (0, "")
    assert out.startswith(
        "This change stops nothing that goes on today.\n\nlooked at: 2 nodes, 0 statements, 2 namespaces, 1 policies"
    )


def test_a_jurisdiction_that_changes_moves_every_policy_that_names_it(desk: Desk) -> None:
    group: Raw = {
        "apiVersion": OURS, "kind": "Jurisdiction", "metadata": {"name": "friends"},
        "spec": {"members": ["DE"], "asOf": "2026-11-01", "source": "a treaty"},
    }  # fmt: skip
    wider = copy.deepcopy(group)
    wider["spec"]["members"] = ["DE", "US"]
    _, told = desk.asked(wider, there=[law(place={"allow": ["FRIENDS"]}), group])
    assert [each["field"] for each in told["widens"]] == ["spec.place", "nodes"]


@pytest.mark.parametrize(
    ("objects", "told"),
    [
        pytest.param((*SPACES, pod(1)), "no Node is given", id="no nodes"),
        pytest.param(NODES, "no Namespace is given", id="no namespaces"),
        pytest.param((*NODES, *SPACES, pod(1, space="away")), "Namespace away is not there", id="one namespace"),
        pytest.param(
            (*NODES, *SPACES, {**service(), "spec": {"type": ["no", "type"], "externalIPs": 4}}),
            "Service clinic/chat: the API server would not take it", id="an object that nobody can judge",
        ),
    ],
)  # fmt: skip
def test_what_was_not_seen_is_said_and_the_exit_code_tells(desk: Desk, objects: tuple[Raw, ...], told: str) -> None:
    code, said = desk.asked(law(network={}), objects=objects)
    assert code == 1
    assert any(told in each for each in said["unseen"]), said["unseen"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["none.yaml"], "none.yaml cannot be read", id="a file that is not there"),
        pytest.param([], "give a POLICY_FILE, or --remove NAME", id="no change"),
        pytest.param(["BAD"], "is no ResidencyPolicy that a cluster would take: spec.place", id="not of the schema"),
        pytest.param(["POD"], "this is a Pod, and a change is made of ResidencyPolicies", id="another kind"),
        pytest.param(["TWICE"], "ResidencyPolicy health is given twice", id="twice"),
        pytest.param(["UNKNOWN"], "would be refused: UnknownJurisdiction: ATLANTIS", id="a name that nobody knows"),
        pytest.param(["GOOD", "--remove", "health"], "is in a file and in --remove", id="changed and removed"),
        pytest.param(["--remove", "none"], "there is no such ResidencyPolicy; there are: health", id="not there"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(desk: Desk, arguments: list[str], told: str) -> None:
    files = {
        "BAD": desk.put("bad.yaml", {**law(), "spec": {"namespaceSelector": {}}}),
        "POD": desk.put("pod.yaml", pod(1)),
        "TWICE": desk.put("twice.yaml", law(), law()),
        "UNKNOWN": desk.put("unknown.yaml", law(place={"allow": ["ATLANTIS"]})),
        "GOOD": desk.put("good.yaml", law()),
    }
    given_files = [files.get(each, each) for each in arguments]
    code, out, err = desk.run(*given_files, "--objects", desk.put("all.json", law(), *EVERYTHING))
    assert (code, out) == (2, "")
    assert told in err


def test_text_and_yaml_tell_the_same(desk: Desk) -> None:
    change, everything = desk.put("change.yaml", law(images=IMAGES)), desk.put("all.json", law(), *EVERYTHING)
    _, out, _ = desk.run(change, "--objects", everything, "-o", "yaml")
    _, told = desk.asked(law(images=IMAGES), there=[law()])
    assert yaml.safe_load(out) == told
    _, text, _ = desk.run(change, "--objects", everything)
    assert "  refused when made again (1)\n    ImageNotAllowed: policy health allows images from b.example/" in text
    assert "\n      Deployment clinic/chat (3 pods)\n" in text


def test_a_cluster_of_500_nodes_and_5000_pods_takes_less_than_ten_seconds_of_a_core(desk: Desk) -> None:
    zones = ("eu-central-1a", "eu-west-3a", "us-east-1a")
    nodes = [node(f"node-{each}", f"aws:///{zones[each % 3]}/i-{each:017x}") for each in range(500)]
    pods = [
        {**made, "metadata": {**made["metadata"], "name": f"app-{number}", "labels": {"app": str(number // 5)}}}
        for number in range(5000)
        for made in [pod(number, f"node-{number % 500}", f"a.example/app-{number // 5}:1")]
    ]
    everything = desk.put("all.json", law(place={"allow": ["EU"]}), *nodes, *SPACES, *pods)
    change = desk.put("change.yaml", law(images=IMAGES))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = ("what-if", change, "--objects", everything, "-o", "json")
    done = subprocess.run([sys.executable, "-m", "bailiwick.cli", *asked], check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(done.stdout)
    assert (done.returncode, told["seen"]["pods"], told["seen"]["templates"]) == (3, 5000, 1000)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_rules_of_the_border_read_nothing_in_which_pods_of_one_template_differ() -> None:
    """Else one of them could not stand for all."""
    rules = "".join(text.decode() for name, text in open_chart(CHART).files.items() if name.startswith("policies/pods"))
    rules = "\n".join(line for line in rules.splitlines() if not line.lstrip().startswith("#"))
    for each in ("hostname", "affinity", "claimName", "metadata.labels", "pod-template-hash"):
        assert each not in rules, each


# Properties

SPECS = st.fixed_dictionaries(
    {},
    optional={
        "place": st.fixed_dictionaries({"allow": st.lists(st.sampled_from(["DE", "US"]), unique=True)}),
        "images": st.just(IMAGES),
        "network": st.fixed_dictionaries({}, optional={"services": st.just(["LoadBalancer"])}),
        "mode": st.sampled_from(["Audit", "Warn", "Enforce"]),
        "namespaceSelector": st.sampled_from([{}, {"matchLabels": {"data": "health"}}]),
    },
)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_a_model_that_this_release_cannot_read_ends_nothing() -> None:
    """A cluster of another release may hold one; that it was not judged is told by whoever asked the cluster."""
    report = compared(
        [law(), {**model(), "metadata": {"name": "odd", "namespace": "clinic"}, "spec": {}}], [], ["health"]
    )
    assert {str(each.subject) for each in report.others} == {"SovereignModel clinic/chat"}


def compared(there: Sequence[Raw], change: Sequence[Raw], remove: Sequence[str] = ()) -> Report:
    """Without a file or a command. The model is in a namespace that is always governed."""
    found = Material()
    for kind, store in found.deciding().items():
        fill(store, [each for each in (*there, *EVERYTHING) if each["kind"] == kind])
    found.objects = [copy.deepcopy(each) for each in EVERYTHING if each["kind"] in {"Pod", "Service", "SovereignModel"}]
    policies = {each["metadata"]["name"]: each for each in change}
    return what_if(Change(policies, [], remove), found, BROUGHT, pins=True, tell=lambda _: None, now=NOW)


@QUICK
@given(st.lists(SPECS, max_size=3))
def test_what_is_there_already_changes_nothing(specs: list[Raw]) -> None:
    policies = [law(f"law-{number}", **copy.deepcopy(spec)) for number, spec in enumerate(specs)]
    report = compared(policies, policies)
    assert (report.policies, report.others, report.spaces, report.models, report.stops) == ((), (), (), (), False)


@QUICK
@given(there=SPECS, further=SPECS)
def test_a_further_policy_never_lets_more_in(there: Raw, further: Raw) -> None:
    report = compared([law(**copy.deepcopy(there))], [law("further", **copy.deepcopy(further))])
    assert report.widenings == ()
    assert not any(each.let_in or each.inside_again or each.come for each in report.policies)
    assert not any(each.gained for each in report.models)
    assert not any(each.opened for each in report.spaces)


@QUICK
@given(there=SPECS, further=SPECS)
def test_to_take_a_policy_away_is_the_reverse_of_adding_it(there: Raw, further: Raw) -> None:
    one, two = law(**copy.deepcopy(there)), law("further", **copy.deepcopy(further))
    added, removed = compared([one], [two]), compared([one, two], [], remove=["further"])
    assert {(each.subject, each.reason) for move in added.policies for each in move.stopped} == {
        (each.subject, each.reason) for move in removed.policies for each in move.let_in
    }
    assert [(each.lost, each.gained) for each in added.models] == [(each.gained, each.lost) for each in removed.models]
    assert not removed.stops
