"""`bailiwick check`: what it finds, where, how it tells it, and how it ends."""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.cli import COMMANDS, main
from bailiwick.cli.files.located import documents
from bailiwick.cli.files.manifests import UnusableError
from bailiwick.cli.offline.violations import taken_apart
from bailiwick.residency.verdict import Reason
from e2e.client import documents as manifests_of

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests/border/corpus"
POLICY = """\
apiVersion: bailiwick.dev/v1alpha1
kind: ResidencyPolicy
metadata: {name: health}
spec:
  mode: MODE
  namespaceSelector: {matchLabels: {data: health}}
  place: {allow: [EU]}
  images: {registries: [registry.example/], requireDigest: false}
  network: {services: [ClusterIP]}
  storage: {classes: [frankfurt]}
---
apiVersion: v1
kind: Namespace
metadata: {name: clinic, labels: {data: health}}
"""
CHAT = """\
# A comment, so that lines are those of the file.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: chat
  namespace: clinic
spec:
  selector: {matchLabels: {app: chat}}
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers:
        - name: main
          image: registry.example/chat:1
        - name: second
          image: docker.io/library/nginx:1
---
apiVersion: v1
kind: Service
metadata: {name: chat, namespace: clinic}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
"""


class Desk:
    """A folder of manifests, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.policy = self.put("policy.yaml", POLICY.replace("MODE", "Enforce"))

    def put(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return str(path)

    def check(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["bailiwick", "check", *arguments])
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = main()
        seen = self._capsys.readouterr()
        return code, seen.out, seen.err

    def found(self, *arguments: str, given: str = "") -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.check(*arguments, "-o", "json", given=given)[1])
        return told


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def test_each_violation_names_its_line_its_rule_and_what_to_do(desk: Desk) -> None:
    chat = desk.put("chat.yaml", CHAT)
    code, out, _ = desk.check(chat, "--with", desk.policy)
    assert code == 1
    image, service = desk.found(chat, "--with", desk.policy)["violations"]
    assert image == {
        "file": chat, "line": 16, "level": "error",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "clinic", "name": "chat", "line": 2},
        "policy": "health", "guard": "bailiwick-pods", "rule": "ImageNotAllowed",
        "expected": "policy health allows images from registry.example/",
        "seen": "this pod has docker.io/library/nginx:1", "remedy": "name a copy in an allowed registry, in full",
    }  # fmt: skip
    assert (service["line"], service["rule"], service["seen"]) == (22, "ServiceNotAllowed", "spec.type is LoadBalancer")
    assert f"{chat}:16: error: Deployment clinic/chat: ImageNotAllowed (bailiwick-pods, policy health)\n" in out
    assert "    remedy    name a copy in an allowed registry, in full\n" in out
    assert out.endswith("2 objects judged: 2 errors\n")


def test_what_is_fine_ends_with_0(desk: Desk) -> None:
    fine = CHAT.replace("docker.io/library", "registry.example").replace("LoadBalancer", "ClusterIP")
    code, out, err = desk.check(desk.put("chat.yaml", fine), "--with", desk.policy)
    assert (code, out, err) == (0, "2 objects judged: no violation\n", "")


def test_standard_input_folders_and_lists_are_read_alike(desk: Desk) -> None:
    objects = list(yaml.safe_load_all(CHAT))
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects})
    desk.put("deep/er/chat.yaml", CHAT)
    expected = {("ImageNotAllowed", "Deployment"), ("ServiceNotAllowed", "Service")}
    for arguments, given_text in ((["-"], CHAT), (["-"], listed), ([str(desk.folder / "deep")], "")):
        told = desk.found(*arguments, "--with", desk.policy, given=given_text)
        assert {(each["rule"], each["object"]["kind"]) for each in told["violations"]} == expected
    lines = listed.splitlines()
    told = desk.found("-", "--with", desk.policy, given=listed)
    assert [lines[each["line"] - 1].strip() for each in told["violations"]] == [
        "- image: docker.io/library/nginx:1", "type: LoadBalancer",
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "level"), [("Warn", "warning"), ("Audit", "note")])
def test_a_policy_that_refuses_nothing_fails_nothing_but_when_asked(desk: Desk, mode: str, level: str) -> None:
    chat, policy = desk.put("chat.yaml", CHAT), desk.put("policy.yaml", POLICY.replace("MODE", mode))
    assert desk.check(chat, "--with", policy)[0] == 0
    assert desk.check(chat, "--with", policy, "--strict")[0] == 1
    assert {each["level"] for each in desk.found(chat, "--with", policy)["violations"]} == {level}


def test_a_namespace_that_is_not_given_is_not_judged_but_by_assumption(desk: Desk) -> None:
    alone = desk.put("alone.yaml", POLICY.partition("---")[0].replace("MODE", "Enforce"))
    chat = desk.put("chat.yaml", CHAT)
    code, out, _ = desk.check(chat, "--with", alone)
    assert code == 0
    assert "not judged: whether it governs namespace clinic (give the Namespace, or --governed-by): 2 objects" in out
    assert desk.check(chat, "--with", alone, "--governed-by", "health")[0] == 1
    code, _, err = desk.check(chat, "--with", alone, "--governed-by", "wealth")
    assert code == 2
    assert "--governed-by names wealth, and no such ResidencyPolicy is given; there are: health" in err


def test_nodes_are_known_by_a_territory_and_by_nothing_else(desk: Desk) -> None:
    spec = {"containers": [{"name": "a", "image": "registry.example/a:1"}], "nodeName": "laptop"}
    pod = desk.put("pod.yaml", yaml.safe_dump({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "clinic"}, "spec": spec,
    }))  # fmt: skip
    territory = {
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Territory", "metadata": {"name": "health"},
        "spec": {
            "policy": "health", "digest": "", "nodes": {"desk": "DE"}, "nodeSelector": {}, "namespaceLabels": [],
            "schedulers": ["default-scheduler"],
        },
    }  # fmt: skip
    told = desk.put("territory.yaml", yaml.safe_dump(territory))
    code, out, _ = desk.check(pod, "--with", desk.policy)
    assert code == 0
    assert "not judged: which nodes are inside" in out
    (violation,) = desk.found(pod, "--with", desk.policy, "--with", told)["violations"]
    assert (violation["rule"], violation["line"]) == (
        "WrongPlace",
        Path(pod).read_text().splitlines().index("  nodeName: laptop") + 1,
    )
    # In a pull request it is what nobody may write, and tells nothing.
    (violation,) = desk.found(told, pod, "--with", desk.policy)["violations"]
    assert (violation["rule"], violation["policy"]) == ("OperatorOnly", None)


def test_the_version_that_is_judged_counts_and_not_the_one_behind(desk: Desk) -> None:
    wider = POLICY.replace("MODE", "Enforce").replace("registry.example/]", "registry.example/, docker.io/]")
    told = desk.found(desk.put("new.yaml", wider), desk.put("chat.yaml", CHAT), "--with", desk.policy)
    assert [each["rule"] for each in told["violations"]] == ["ServiceNotAllowed"]


def test_overlays_may_hold_a_model_twice_but_not_a_policy(desk: Desk) -> None:
    model = "apiVersion: bailiwick.dev/v1alpha1\nkind: SovereignModel\nmetadata: {name: a, namespace: clinic}\n"
    model += "spec: {model: {name: a, source: {oci: {image: registry.example/a:1}}}}\n"
    twice = [desk.put("one.yaml", model), desk.put("two.yaml", model)]
    assert desk.check(*twice, "--with", desk.policy)[0] == 0
    again = desk.put("again.yaml", POLICY.replace("MODE", "Audit"))
    code, _, err = desk.check(desk.policy, again)
    assert code == 2
    assert "ResidencyPolicy health is given twice; which of them counts?" in err


def test_a_policy_that_names_nothing_known_is_found(desk: Desk) -> None:
    text = POLICY.replace("MODE", "Enforce").replace("[EU]", "[EU, BALTICS]")
    (violation,) = desk.found(desk.put("new.yaml", text))["violations"]
    assert (violation["rule"], violation["line"]) == ("UnknownJurisdiction", 7)
    baltics = "apiVersion: bailiwick.dev/v1alpha1\nkind: Jurisdiction\nmetadata: {name: baltics}\n"
    spec = "spec: {description: d, asOf: '2026-01-01', source: 'https://a.example', members: [EE, LV, LT]}\n"
    assert desk.check(desk.put("new.yaml", text), "--with", desk.put("baltics.yaml", baltics + spec))[0] == 0


@pytest.mark.parametrize("default", ["frankfurt", "abroad", None])
def test_a_claim_without_a_class_is_of_the_default_one(desk: Desk, default: str | None) -> None:
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, namespace: clinic}\nspec: {}\n"
    known = ["--with", desk.policy]
    if default:
        annotation = "storageclass.kubernetes.io/is-default-class: 'true'"
        made = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\n"
        made += f"metadata: {{name: {default}, annotations: {{{annotation}}}}}\n"
        known += ["--with", desk.put("class.yaml", made)]
    told = desk.found(desk.put("claim.yaml", claim), *known)
    assert [each["rule"] for each in told["violations"]] == (["ClassNotAllowed"] if default == "abroad" else [])
    assert bool(told["notJudged"]) is (default is None)


def test_without_the_pin_pods_must_pin_themselves(desk: Desk) -> None:
    fine = desk.put("chat.yaml", CHAT.partition("---")[0].replace("docker.io/library", "registry.example"))
    assert desk.check(fine, "--with", desk.policy)[0] == 0
    (violation,) = desk.found(fine, "--with", desk.policy, "--no-pin")["violations"]
    assert violation["rule"] == "NotPinned"


def test_who_asks_for_a_waiver_is_compared_only_where_it_is_known(desk: Desk) -> None:
    waiver = desk.put("approval.yaml", """\
apiVersion: bailiwick.dev/v1alpha1
kind: WaiverApproval
metadata: {name: a}
spec: {waiver: w, waiverUID: u, requester: anna, approver: bert}
""")  # fmt: skip
    rules = [
        [each["rule"] for each in desk.found(waiver, *who)["violations"]]
        for who in ([], ["--as", "bert"], ["--as", "carl"])
    ]
    assert rules == [[], [], ["ForgedName"]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "is not YAML, line "),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 5, generateName: a}\n", "Pod has no metadata.name"),
        ("replicas: 1\n", "no apiVersion and kind, so it is no manifest"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}\n", "Pod has no metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: 1}}\n", "must hold texts alone; quote numbers"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: clinic}\nspec: {containers: x}\n", "not take it"),
        (POLICY.replace("MODE", "Sometimes"), "no ResidencyPolicy that a cluster would take: spec.mode"),
        ("a: &a [*a]\n", "contains itself"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)), "more than 1000000"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_ends_with_2_and_says_why(desk: Desk, text: str, why: str) -> None:
    code, _, err = desk.check(desk.put("bad.yaml", text), desk.put("chat.yaml", CHAT), "--with", desk.policy)
    assert code == 2
    assert why in err
    assert "Traceback" not in err


def test_one_bad_file_hides_nothing_of_the_others(desk: Desk) -> None:
    told = desk.found(desk.put("bad.yaml", "a: ["), desk.put("chat.yaml", CHAT), "--with", desk.policy)
    assert len(told["violations"]) == 2
    assert [each["file"] for each in told["unusable"]] == [str(desk.folder / "bad.yaml")]


def test_folders_may_hold_what_is_no_manifest(desk: Desk) -> None:
    desk.put("app/values.yaml", "replicas: 1\n")
    desk.put("app/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n")
    desk.put("app/chat.yaml", CHAT)
    code, out, _ = desk.check(str(desk.folder / "app"), "--with", desk.policy)
    assert code == 1
    assert "values.yaml:1 was left out: this has no apiVersion and kind" in out
    assert "kustomization" not in out


def test_sarif_is_as_code_scanning_reads_it(desk: Desk) -> None:
    chat = desk.put("a b.yaml", CHAT)
    sarif = json.loads(desk.check(chat, desk.put("bad.yaml", "a: ["), "--with", desk.policy, "-o", "sarif")[1])
    (run,) = sarif["runs"]
    assert sarif["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert {Reason(rule) for rule in rules} == {Reason.IMAGE_NOT_ALLOWED, Reason.SERVICE_NOT_ALLOWED}
    first = run["results"][0]
    assert rules[first["ruleIndex"]] == first["ruleId"] == "ImageNotAllowed"
    where = first["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"].endswith("/a%20b.yaml")
    assert where["region"] == {"startLine": 16}
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "is not YAML" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_junit_has_a_test_for_each_object(desk: Desk) -> None:
    odd = CHAT.replace("nginx:1", "a<b&c\\u0001").replace("image: docker.io/library/", 'image: "docker.io/library/', 1)
    odd = odd.replace("c\\u0001", 'c\\u0001"')
    out = desk.check(desk.put("chat.yaml", odd), "--with", desk.policy, "-o", "junit")[1]
    suites = ET.fromstring(out)  # noqa: S314 - our own
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("2", "2", "0")
    failures = suites.findall("testsuite/testcase/failure")
    assert [each.get("type") for each in failures] == ["ImageNotAllowed", "ServiceNotAllowed"]
    assert "a<b&c" in (failures[0].text or "")


def test_a_message_is_taken_apart() -> None:
    told = "Rule: policy p allows a, but the pod has b; c; leave it out"
    assert taken_apart(told) == ("Rule", "policy p allows a", "the pod has b; c", "leave it out")
    assert taken_apart("Rule: leave; it") == ("Rule", "leave", "", "it")
    assert taken_apart("Rule: a, but b") == ("Rule", "a", "b", "")


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*'\"!|>\n ", max_size=60))
def test_no_text_is_read_with_another_error(text: str) -> None:
    try:
        for each in documents(text.encode(errors="replace"), "any"):
            assert each.line >= 1
            each.line_of(("metadata", "name"), "any")
    except UnusableError:
        return


def test_a_thousand_manifests_take_less_than_three_seconds(tmp_path: Path) -> None:
    """Of a processor, whatever else it does; a machine of half the speed may take twice as long."""
    many = [each for file in sorted(CORPUS.glob("*.yaml")) for each in manifests_of(file)]
    count = 0
    while count < 1000:
        for each in many:
            each["metadata"]["namespace"] = "clinic"
        (tmp_path / f"{count}.yaml").write_text(
            yaml.dump_all(many, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
        )
        count += len(many)
    (tmp_path / "policy.yaml").write_text(POLICY.replace("MODE", "Enforce"))
    code, seconds = _processor_time("check", str(tmp_path), "-o", "json")
    assert code == 1
    assert seconds < 6


def test_help_takes_less_than_150_milliseconds() -> None:
    """Of a processor; here with room for one of half the speed. It imports nothing that it does not need."""
    assert min(_processor_time("--help")[1] for _ in range(3)) < 0.3
    asked = "import sys; sys.argv = ['bailiwick', '--version']\nfrom bailiwick.cli import main\n"
    told = "try: main()\nexcept SystemExit: print(sorted({name.partition('.')[0] for name in sys.modules}))"
    seen = subprocess.run([sys.executable, "-c", asked + told], check=True, capture_output=True, text=True).stdout
    assert not {
        name for name in ("pydantic", "yaml", "aiohttp", "kopf", "kubernetes", "asyncio") if f"'{name}'" in seen
    }


def _processor_time(*arguments: str) -> tuple[int, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-m", "bailiwick.cli", *arguments], check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.returncode, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_package_carries_the_whole_chart() -> None:
    """So that a pre-commit hook, which installs the package alone, judges by the policies of its release."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        data = tomllib.load(file)["tool"]["setuptools"]["data-files"]
    carried = {
        f"{folder}/{path.name}"
        for folder, patterns in data.items()
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file()
    }
    chart = ROOT / "charts/bailiwick"
    assert carried == {
        f"share/bailiwick/chart/{path.relative_to(chart)}" for path in chart.rglob("*") if path.is_file()
    }


def test_the_hook_runs_a_command_that_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"].split() == ["bailiwick", "check"]
    assert "check" in COMMANDS


def test_a_model_that_is_served_outside_is_judged_by_its_endpoint_and_the_statement_is_an_object_as_others(
    desk: Desk,
) -> None:
    outside = (ROOT / "samples/sovereignmodel-external.yaml").read_text()
    namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: office, labels: {data: office}}\n"
    whole = desk.put("outside.yaml", outside + namespace)
    code, out, _ = desk.check(whole)
    assert (code, out.splitlines()[-1]) == (0, "4 objects judged: no violation")
    other = desk.put("other.yaml", outside.replace('"endpoint://mac-1"', '"endpoint://mac-2"') + namespace)
    (found,) = desk.found(other)["violations"]
    assert (found["object"]["kind"], found["rule"]) == ("SovereignModel", "SourceNotAllowed")
    wrong = desk.put("wrong.yaml", outside.replace("serverName: mac-1.models.example", "serverNam: x"))
    code, _, err = desk.check(wrong)
    assert code == 2
    assert "EndpointStatement" in err


def test_a_model_is_not_called_ungoverned_where_no_policy_is_given_but_where_those_that_are_govern_others(
    desk: Desk,
) -> None:
    model = str(ROOT / "samples/models/variants.yaml")
    code, out, _ = desk.check(model)
    assert (code, out.splitlines()[-1]) == (0, "3 objects judged: no violation")
    assert "not judged: whether a policy governs namespace clinic (give the ResidencyPolicies): 1 object" in out
    elsewhere = POLICY.replace("MODE", "Enforce").replace("data: health", "data: other", 1)
    given = desk.put("elsewhere.yaml", elsewhere)
    assert [each["rule"] for each in desk.found(model, "--with", given)["violations"]] == ["Ungoverned"]
