"""What the in-tree policies add to the creation of a pod, and of a Job, and to a change of a namespace.

``python -m e2e.bench.admission [ROUNDS] [--block N]``, on etcd and a kube-apiserver as plain processes. Objects are
really created and deleted, one at a time over one kept connection: a dry run would spare etcd, and with it the most of
what a creation costs. In every round the bindings are first all taken away and then all put back, and the cases take
turns in blocks, so that whatever else runs on the machine slows all of them alike. Differences are between medians of
one round; what is printed of them is the median of the rounds, the least and the greatest.

The time of a call is what a client sees; `server` is the CPU time of kube-apiserver for it, which other programs touch
less. `nothing` is a policy with the same parameter that says `true`: what any policy costs, whatever it asks.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.residency import border
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy, exempt_namespaces
from bailiwick.residency.territories import GOVERNED_LABEL, compile_territory
from e2e.client import ApiError, documents, eventually
from e2e.cluster.apiserver import ApiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from e2e.client import Client, Manifest

ROOT = Path(__file__).resolve().parents[2]
POLICIES = sorted((ROOT / "charts/bailiwick/policies").glob("*.yaml"))
SAMPLE = ROOT / "samples/policy-health-eu-ch.yaml"
DEPLOYMENT = ROOT / "tests/golden/workload/plain.output.yaml"
EXEMPT = exempt_namespaces("bailiwick-system")
ADMISSION = "admissionregistration.k8s.io/v1"
BINDINGS = ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding")
DIGEST = "sha256:" + "0" * 64
OPERATOR = "system:serviceaccount:bailiwick-system:bailiwick-operator"
TICK_SECONDS = 1.2
"""The API server takes up policies and bindings once a second."""


@dataclass(slots=True)
class Samples:
    """What was measured of one case: of each round the milliseconds of each call, and of the server's CPU per call."""

    calls: list[list[float]] = field(default_factory=list)
    server: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request: how to make the numbered one, and how to undo it."""

    name: str
    make: Callable[[int], object]
    undo: Callable[[int], object]


class Bench:
    """The server with everything on it, and what was measured."""

    def __init__(self, server: ApiServer, block: int) -> None:
        self.client: Client = server.as_user(OPERATOR, ["system:masters"])
        self.block = block
        self.samples: dict[str, Samples] = {}
        self._pid = server.pid("kube-apiserver")
        server.install_crds(sorted((ROOT / "crds").glob("*.yaml")))
        self.spaces = {
            name: server.create_namespace({"data": name}) for name in ("free", "nothing", "checked", "health")
        }
        self.bindings: list[Manifest] = []
        for file in POLICIES:
            for document in documents(file):
                self.client.apply(document)
                self.bindings += [document] if document["kind"].endswith("Binding") else []
        self.selector: dict[str, str] = {}
        self._govern("health", pin=True)
        self._govern("checked", pin=False)
        self.bindings.append(border.namespaces_binding(exempt=EXEMPT))
        self._add_nothing()

    def _govern(self, name: str, *, pin: bool) -> None:
        """The sample policy for the namespace of that label; without the pin, its pods are only judged."""
        manifest = yaml.safe_load(SAMPLE.read_text())
        manifest["metadata"]["name"] = name
        manifest["spec"]["namespaceSelector"] = {"matchLabels": {"data": name}}
        policy = compile_policy(ResidencyPolicy.read(manifest), Atlas(()))
        territory = compile_territory(policy, (), datetime.now(UTC)).manifest
        territory["spec"]["nodes"] = {f"node-{number}": "DE" for number in range(500)}
        self.client.apply(territory)
        labels = {"metadata": {"labels": {GOVERNED_LABEL: "true"}}}
        self.client.patch("v1", "Namespace", self.spaces[name], labels)
        self.selector |= territory["spec"]["nodeSelector"]
        bound = border.bindings(policy, exempt=EXEMPT)
        self.bindings += [each for each in bound if pin or each["kind"] != "MutatingAdmissionPolicyBinding"]

    def _add_nothing(self) -> None:
        policy = next(each for each in documents(ROOT / "charts/bailiwick/policies/pods.yaml"))
        policy["metadata"] = {"name": "nothing"}
        del policy["spec"]["variables"], policy["spec"]["matchConditions"]
        policy["spec"]["validations"] = [{"expression": "true"}]
        self.client.apply(policy)
        spec = {
            "policyName": "nothing",
            "paramRef": {"name": "checked", "parameterNotFoundAction": "Deny"},
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"data": "nothing"}}},
        }
        self.bindings.append(
            {"apiVersion": ADMISSION, "kind": BINDINGS[0], "metadata": {"name": "nothing"}, "spec": spec}
        )

    def bind(self) -> None:
        """Put everything into force."""
        for binding in self.bindings:
            self.client.apply(binding)
        eventually(lambda: self._in_force("checked") and self._in_force("health"), what="the policies are in force")
        time.sleep(TICK_SECONDS)

    def unbind(self) -> None:
        """Take every binding away."""
        for kind in BINDINGS:
            for binding in self.client.list(ADMISSION, kind):
                self.client.delete(ADMISSION, kind, binding["metadata"]["name"])
        eventually(lambda: not (self._in_force("checked") or self._in_force("health")), what="nothing is in force")
        time.sleep(TICK_SECONDS)

    def _in_force(self, space: str) -> bool:
        pod = small(self.spaces[space], self.selector, 0)
        pod["spec"]["nodeName"] = "nowhere"
        try:
            self.client.create(pod, dry_run=True)
        except ApiError as error:
            return "WrongPlace" in error.message
        return False

    def pods(self, name: str, space: str, build: Callable[..., Manifest], *, pinned: bool = True) -> Case:
        """The case of creating such pods in a namespace; unless ``pinned``, the mutating policy has to do that."""
        selector = self.selector if pinned else {}
        path = f"/api/v1/namespaces/{self.spaces[space]}/pods"
        return self._created(name, path, lambda number: build(self.spaces[space], selector, number))

    def jobs(self, name: str, space: str) -> Case:
        """The case of creating Jobs."""
        path = f"/apis/batch/v1/namespaces/{self.spaces[space]}/jobs"
        return self._created(name, path, lambda number: job(self.spaces[space], self.selector, number))

    def namespaces(self, name: str, space: str) -> Case:
        """The case of changing an annotation of a namespace."""
        path = f"/api/v1/namespaces/{self.spaces[space]}"
        patch = partial(self.client.request, "PATCH", path, content_type="application/merge-patch+json")
        return Case(
            name,
            lambda number: patch({"metadata": {"annotations": {"bench": f"{time.time()} {number}"}}}),
            lambda _: None,
        )

    def _created(self, name: str, path: str, build: Callable[[int], Manifest]) -> Case:
        made = [build(number) for number in range(self.block)]
        now = {"gracePeriodSeconds": "0", "propagationPolicy": "Background"}
        return Case(
            name,
            lambda number: self.client.request("POST", path, made[number]),
            lambda number: self.client.request("DELETE", f"{path}/{made[number]['metadata']['name']}", params=now),
        )

    def measure(self, cases: Sequence[Case], blocks: int) -> None:
        """One round of these cases; the first block of each only warms up."""
        for case in cases:
            samples = self.samples.setdefault(case.name, Samples())
            samples.calls.append([])
            samples.server.append([])
        for block in range(blocks + 1):
            for case in random.sample(cases, len(cases)):
                calls, server = self._block(case)
                if block:
                    self.samples[case.name].calls[-1] += calls
                    self.samples[case.name].server[-1].append(server)

    def _block(self, case: Case) -> tuple[list[float], float]:
        before, calls = cpu_seconds(self._pid), []
        for number in range(self.block):
            begin = time.perf_counter()
            case.make(number)
            calls.append((time.perf_counter() - begin) * 1000)
        server = (cpu_seconds(self._pid) - before) * 1000 / self.block
        for number in range(self.block):
            case.undo(number)
        return calls, server


def small(namespace: str, selector: dict[str, str], number: int) -> Manifest:
    """A pod as most are: one container, some variables."""
    container = {
        "name": "main",
        "image": f"registry.example/app@{DIGEST}",
        "args": ["--port", "8080"],
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "HOME", "value": "/data"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    metadata = {"name": f"small-{number}", "namespace": namespace}
    spec = {"nodeSelector": selector, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def engine(namespace: str, selector: dict[str, str], number: int) -> Manifest:
    """A pod of vLLM as Bailiwick builds it."""
    found = next(each for each in documents(DEPLOYMENT) if each["kind"] == "Deployment")
    text = json.dumps(found["spec"]["template"]).replace("registry.example/gate:1", f"registry.example/gate@{DIGEST}")
    template: Manifest = json.loads(text)
    template["metadata"] |= {"name": f"engine-{number}", "namespace": namespace}
    template["spec"] |= {"serviceAccountName": "default", "nodeSelector": selector}
    return {"apiVersion": "v1", "kind": "Pod", **template}


def job(namespace: str, selector: dict[str, str], number: int) -> Manifest:
    """A Job of the small pod."""
    spec = small(namespace, selector, number)["spec"] | {"restartPolicy": "Never"}
    metadata = {"name": f"job-{number}", "namespace": namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": spec}}}


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, to the microsecond."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread may end meanwhile
            spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def shown(bench: Bench, differences: Sequence[tuple[str, str, str]]) -> str:
    """The tables."""
    lines = [f"\n{'':34}{'median':>8}{'p95':>8}{'p99':>8}{'server':>8}  ms"]
    for name, samples in bench.samples.items():
        calls = [call for round_ in samples.calls for call in round_]
        centiles = statistics.quantiles(calls, n=100)
        server = statistics.median(block for round_ in samples.server for block in round_)
        lines.append(f"{name:34}{centiles[49]:8.2f}{centiles[94]:8.2f}{centiles[98]:8.2f}{server:8.2f}")
    lines.append(f"\n{'what is added':34}{'call':>8}{'least':>8}{'most':>8}{'server':>8}{'least':>8}{'most':>8}  ms")
    for what, more, less in differences:
        added = "".join(
            f"{statistics.median(found):8.2f}{min(found):8.2f}{max(found):8.2f}"
            for found in (_added(bench, more, less, "calls"), _added(bench, more, less, "server"))
        )
        lines.append(f"{what:34}{added}")
    return "\n".join(lines)


def _added(bench: Bench, more: str, less: str, what: str) -> list[float]:
    rounds: list[Any] = [getattr(bench.samples[name], what) for name in (more, less)]
    return [statistics.median(one) - statistics.median(other) for one, other in zip(*rounds, strict=True)]


def run(bench: Bench, rounds: int, blocks: int) -> str:
    """All rounds; the tables."""
    shapes = {"small": small, "engine": engine}
    unbound = [bench.pods(f"{shape}: nothing bound", "free", build) for shape, build in shapes.items()]
    unbound += [bench.jobs("job: nothing bound", "free"), bench.namespaces("namespace: nothing bound", "checked")]
    bound = [
        case
        for shape, build in shapes.items()
        for case in (
            bench.pods(f"{shape}: not governed", "free", build),
            bench.pods(f"{shape}: nothing asked", "nothing", build),
            bench.pods(f"{shape}: governed", "checked", build),
            bench.pods(f"{shape}: governed, and pinned", "health", build, pinned=False),
        )
    ]
    bound += [bench.jobs("job: not governed", "free"), bench.jobs("job: governed", "checked")]
    bound += [bench.namespaces("namespace: not governed", "free"), bench.namespaces("namespace: governed", "checked")]
    for _ in range(rounds):
        bench.unbind()
        bench.measure(unbound, blocks)
        bench.bind()
        bench.measure(bound, blocks)
    differences = [
        difference
        for shape in shapes
        for difference in (
            (f"{shape}: not governed", f"{shape}: not governed", f"{shape}: nothing bound"),
            (f"{shape}: governed", f"{shape}: governed", f"{shape}: nothing bound"),
            (f"{shape}:   of that, any policy", f"{shape}: nothing asked", f"{shape}: not governed"),
            (f"{shape}:   of that, what it asks", f"{shape}: governed", f"{shape}: nothing asked"),
            (f"{shape}: the pin", f"{shape}: governed, and pinned", f"{shape}: governed"),
        )
    ]
    differences += [
        ("job: governed", "job: governed", "job: nothing bound"),
        ("namespace: governed", "namespace: governed", "namespace: nothing bound"),
        ("namespace:   of that, propagation", "namespace: governed", "namespace: not governed"),
    ]
    return shown(bench, differences)


def main() -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=5, help="blocks of each case and round")
    parser.add_argument("--block", type=int, default=10, help="calls of a block")
    asked = parser.parse_args()
    server = ApiServer.start()
    try:
        bench = Bench(server, asked.block)
        stored = {shape: bench.client.create(build(bench.spaces["free"], {}, 0), dry_run=True) for shape, build in
                  (("small", small), ("engine", engine))}  # fmt: skip
        sizes = ", ".join(f"{shape} {len(json.dumps(pod)) / 1000:.1f} kB" for shape, pod in stored.items())
        print(f"{asked.rounds} rounds of {asked.blocks * asked.block} calls of each case; stored pods: {sizes}", end="")
        load = Path("/proc/loadavg").read_text().split()[0]
        print(f"; load before {load}", flush=True)
        print(run(bench, asked.rounds, asked.blocks))
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
