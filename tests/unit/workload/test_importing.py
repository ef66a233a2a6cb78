"""What is fetched before a model is served: Jobs, their way out, what waits for them, and what is said of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.workload.imported import Awaited, done, imported, progress
from tests.unit.workload.given import DIGEST, IMAGE, child, gpus, model, plan, pod, policy

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.residency.policies import CompiledPolicy
    from bailiwick.workload.plan import WorkloadPlan

COMMIT = "a" * 40


def s3(endpoint: str = "https://storage.example:9000", *, into: Any = None, **more: Any) -> dict[str, Any]:
    kept = {"into": into or {"claimName": "weights", "path": "here"}}
    return {"s3": {"endpoint": endpoint, "bucket": "models", "prefix": "tiny", **kept, **more}}


def hub(**more: Any) -> dict[str, Any]:
    source = {"repository": "skt/tiny", "revision": COMMIT, "into": {"claimName": "weights"}, **more}
    return {"huggingFace": source}


def of(source: Any, **said: Any) -> SovereignModel:
    return model(model={"name": "tiny", "source": source, **said})


def jobs(made: WorkloadPlan) -> list[dict[str, Any]]:
    return [each for each in made.objects if each["kind"] == "Job"]


def arguments(source: Any, **said: Any) -> list[str]:
    (job,) = jobs(plan(of(source, **said)))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def argument(name: str, source: Any, **said: Any) -> str | None:
    return next((each.partition("=")[2] for each in arguments(source, **said) if each.startswith(f"--{name}=")), None)


def test_a_source_without_a_claim_is_refused_with_what_to_do() -> None:
    verdict = plan(of({"s3": {"endpoint": "https://storage.example", "bucket": "models"}})).verdict
    assert verdict.reason == "UnsupportedSource"
    assert "in spec.model.source.s3.into" in verdict.message


def test_a_model_that_imports_nothing_has_no_job_and_waits_for_none() -> None:
    made = plan(of(IMAGE))
    assert not jobs(made)
    assert made.due(()) == made.objects
    assert [each["metadata"]["name"] for each in made.objects if each["kind"] == "NetworkPolicy"] == ["chat"]


def test_what_serves_waits_until_the_job_is_done() -> None:
    made = plan(of(s3()))
    (job,) = jobs(made)
    assert {each["kind"] for each in made.due(())} == {"NetworkPolicy", "ServiceAccount", "Job"}
    assert made.due({job["metadata"]["name"]}) == made.objects
    assert made.awaited == (Awaited("spec.model.source", job["metadata"]["name"]),)


def test_the_engine_reads_what_the_import_writes() -> None:
    source = s3()
    made = plan(of(source))
    (mount,) = (each for each in pod(made)["containers"][0]["volumeMounts"] if each["name"] == "model")
    assert mount["subPath"] == f"here/{argument('name', source)}"
    assert mount["readOnly"] is True
    assert argument("into", source) == "/import/here"
    assert argument("into", hub()) == "/import"
    (volume,) = (each for each in pod(made)["volumes"] if each["name"] == "model")
    assert volume["persistentVolumeClaim"] == {"claimName": "weights", "readOnly": True}


OTHERS: dict[str, tuple[Any, dict[str, Any], bool]] = {
    # what is imported → whether its folder is another one
    "the same": (s3(), {}, False),
    "other credentials": (s3(credentialsSecret="other"), {}, False),
    "another claim": (s3(into={"claimName": "other"}), {}, False),
    "another prefix": (s3(prefix="other"), {}, True),
    "another endpoint": (s3("https://other.example"), {}, True),
    "another digest": (s3(), {"digest": DIGEST}, True),
    "a hub": (hub(), {}, True),
}


@pytest.mark.parametrize("row", OTHERS)
def test_other_content_is_in_another_folder(row: str) -> None:
    source, said, another = OTHERS[row]
    assert (argument("name", source, **said) != argument("name", s3())) is another


def test_a_job_that_would_be_another_has_another_name() -> None:
    names = {
        jobs(made)[0]["metadata"]["name"]
        for made in (
            plan(of(s3())), plan(of(s3())), plan(of(s3(credentialsSecret="a"))), plan(of(s3()), policies=[policy("b")]),
        )
    }  # fmt: skip
    assert len(names) == 3
    assert all(len(name) <= 63 and name.startswith("chat-") for name in names)


def test_an_import_runs_where_the_model_may_and_takes_no_device() -> None:
    classes = [gpus(nodeSelector={"matchLabels": {"gpu": "h100"}}, tolerations=[{"key": "gpu", "operator": "Exists"}])]
    served = model(model={"name": "tiny", "source": s3()}, accelerators={"classes": ["gpu"]})
    made = plan(served, classes=classes)
    importer = jobs(made)[0]["spec"]["template"]["spec"]
    for field in ("nodeSelector", "tolerations"):
        assert importer[field] == pod(made)[field]
    for container in (*importer["initContainers"], *importer["containers"]):
        assert "vendor.example/gpu" not in json.dumps(container["resources"])


def test_an_import_is_no_replica() -> None:
    made = plan(of(s3()))
    labels = jobs(made)[0]["spec"]["template"]["metadata"]["labels"]
    assert not child(made, "Service")["spec"]["selector"].items() <= labels.items()
    assert not child(made, "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_only_the_job_mounts_the_credentials() -> None:
    made = plan(of(s3(credentialsSecret="storage")))
    importer = jobs(made)[0]["spec"]["template"]["spec"]
    assert {"secretName": "storage", "optional": True} in [each.get("secret") for each in importer["volumes"]]
    assert "storage" not in [each.get("secret", {}).get("secretName") for each in pod(made)["volumes"]]
    assert not any("secret" in each for each in jobs(plan(of(s3())))[0]["spec"]["template"]["spec"]["volumes"])


def test_parts_end_one_after_another_and_the_last_one_does_the_rest() -> None:
    importer = jobs(plan(of(s3())))[0]["spec"]["template"]["spec"]
    order = (*importer["initContainers"], *importer["containers"])
    told = [each for one in order for each in one["args"] if each.startswith("--share=")]
    shares = [int(each.removeprefix("--share=")) for each in told]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert importer["restartPolicy"] == "OnFailure"


def asking(*egress: Any, name: str = "health", mode: str = "Enforce") -> CompiledPolicy:
    return policy(name, spec={"mode": mode, "network": {"egress": list(egress)}})


def reached(source: Any, *policies: CompiledPolicy) -> list[Any]:
    made = plan(of(source), policies=list(policies) or None)
    (found,) = (each for each in made.objects if each["metadata"]["name"] == "chat.import")
    names, *rules = found["spec"]["egress"]
    assert all(port["port"] == 53 for port in names["ports"])
    return [
        (rule["to"][0].get("ipBlock", {}).get("cidr", "own pods"), [port["port"] for port in rule.get("ports", ())])
        for rule in rules
    ]


RANGE = {"cidr": "192.0.2.0/24", "ports": [{"port": 9000, "endPort": 9001}]}
ELSEWHERE = {"cidr": "198.51.100.0/24", "ports": [{"port": 443}]}
ANY_PORT = {"cidr": "203.0.113.0/24"}
WAYS: dict[str, tuple[Any, tuple[CompiledPolicy, ...], list[Any]]] = {
    "nobody closes the namespace": (s3(), (), [("0.0.0.0/0", [9000]), ("::/0", [9000])]),
    "a policy that is not enforced": (s3(), (asking(RANGE, mode="Warn"),), [("0.0.0.0/0", [9000]), ("::/0", [9000])]),
    "what the policy opens at that port": (s3(), (asking(RANGE, ELSEWHERE),), [("192.0.2.0/24", [9000])]),
    "every port of a range": (s3(), (asking(ANY_PORT),), [("203.0.113.0/24", [9000])]),
    "another port": (s3("https://storage.example"), (asking(RANGE),), []),
    "nothing is open": (s3(), (asking(),), []),
    "what two policies open together": (s3(), (asking(RANGE), asking(ELSEWHERE, name="b")), []),
    "an address inside": (s3("http://192.0.2.7:9000"), (asking(RANGE),), [("192.0.2.7/32", [9000])]),
    "an address outside": (s3("http://198.51.100.7:9000"), (asking(RANGE),), []),
    "an address where nobody closes": (s3("http://192.0.2.7:9000"), (), [("192.0.2.7/32", [9000])]),
    "a Service of the namespace": (s3("http://minio:9000"), (asking(),), [("own pods", [])]),
    "the same by its whole name": (s3("http://minio.clinic.svc.cluster.local"), (asking(),), [("own pods", [])]),
    "its name and namespace alone, which is a host elsewhere": (s3("http://minio.clinic:9000"), (asking(),), []),
    "a host that begins like one": (s3("http://minio.clinic.svcs.example:9000"), (asking(),), []),
    "one of another namespace": (s3("http://minio.other.svc:9000"), (asking(),), []),
    "the hub": (hub(), (asking(ELSEWHERE),), [("198.51.100.0/24", [443])]),
}


@pytest.mark.parametrize("row", WAYS)
def test_an_import_reaches_its_source_as_far_as_all_policies_open_it(row: str) -> None:
    source, policies, expected = WAYS[row]
    assert reached(source, *policies) == expected


AWAITED = (Awaited("spec.model.source", "chat-1"),)


def job(name: str = "chat-1", **conditions: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]},
    }


def ended(name: str, code: int = 0, message: str = "") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "message": message}}}


def said(bytes_: int, speed: int = 10) -> str:
    return json.dumps({"bytes": bytes_, "of": 1000, "bytesPerSecond": speed})


def importer(*containers: Any, node: str | None = "n", job: str = "chat-1") -> dict[str, Any]:
    return {
        "metadata": {"name": "chat-1-x", "labels": {"batch.kubernetes.io/job-name": job}},
        "spec": {"nodeName": node} if node else {},
        "status": {"initContainerStatuses": list(containers)},
    }


REFUSES_TEXT = "x\nNoSpace: 900 bytes are still to come; enlarge the claim"
REFUSED = {"terminated": {"exitCode": 1, "message": REFUSES_TEXT}}
TOLD: dict[str, tuple[list[Any], list[Any], str, str]] = {
    # Jobs and pods → the condition's reason, and what its message says
    "no job": ([], [], "Importing", "its Job has no pod yet"),
    "no node": ([job()], [importer(node=None)], "Importing", "pod chat-1-x waits for a node"),
    "no word": ([job()], [importer()], "Importing", "pod chat-1-x begins"),
    "on its way": (
        [job()], [importer(ended("import-10", 0, said(100)), ended("import-20", 0, said(200, 7)))],
        "Importing", "200 of 1000 bytes at 7 bytes a second",
    ),
    "a word of another": ([job()], [importer(ended("import-10", 0, said(100)), job="b")], "Importing", "no pod yet"),
    "refused": ([job()], [importer(ended("import-10", 1, REFUSES_TEXT))], "NoSpace", "enlarge the claim"),
    "refused, and tried again": (
        [job()],
        [importer({"name": "import-10", "state": {"running": {}}, "lastState": REFUSED})],
        "NoSpace", "enlarge the claim",
    ),
    "refused once, and went on": (
        [job()],
        [importer({**ended("import-10", 0, said(100)), "lastState": REFUSED})],
        "Importing", "100 of 1000",
    ),
    "no image": (
        [job()], [importer({"name": "import-10", "state": {"waiting": {"reason": "ErrImagePull"}}})],
        "ImagePullBackOff", "has no image",
    ),
    "not done": ([job(Complete="False", Suspended="True")], [], "Importing", "its Job has no pod yet"),
    "another job is done": ([job("chat-0", Complete="True")], [], "Importing", "its Job has no pod yet"),
    "done": ([job(Complete="True")], [], "Imported", "all weights are imported"),
}  # fmt: skip


@pytest.mark.parametrize("row", TOLD)
def test_the_condition_says_how_far_it_is_or_what_to_do(row: str) -> None:
    there, pods, reason, words = TOLD[row]
    found = imported(AWAITED, there, pods)
    assert found is not None
    assert (found.type, found.reason) == ("Imported", reason)
    assert found.status == ("True" if reason == "Imported" else "False")
    assert words in found.message
    assert (done(there) == {"chat-1"}) is (reason == "Imported")


def test_a_model_that_imports_nothing_says_nothing_of_it() -> None:
    assert imported((), [], []) is None


PROGRESS: dict[str, tuple[list[Any], list[Any]]] = {
    "no pod": ([], []),
    "the last word counts": (
        [importer(ended("import-10", 0, said(100)), ended("import-20", 0, said(200)))],
        [{"source": "spec.model.source", "bytes": 200, "ofBytes": 1000, "bytesPerSecond": 10, "remainingSeconds": 80}],
    ),
    "no speed, no time": (
        [importer(ended("import-10", 0, said(100, 0)))],
        [{"source": "spec.model.source", "bytes": 100, "ofBytes": 1000, "bytesPerSecond": 0}],
    ),
    "no JSON": ([importer(ended("import-10", 0, "hello"))], []),
    "no numbers": ([importer(ended("import-10", 0, '{"bytes": "1", "of": 2, "bytesPerSecond": 3}'))], []),
    "negative": ([importer(ended("import-10", 0, said(-1)))], []),
    "too large for a status": ([importer(ended("import-10", 0, said(2**63)))], []),
    "a list": ([importer(ended("import-10", 0, "[1]"))], []),
}


@pytest.mark.parametrize("row", PROGRESS)
def test_what_importing_pods_say_of_themselves_is_read_with_care(row: str) -> None:
    pods, expected = PROGRESS[row]
    assert progress(AWAITED, pods) == expected
