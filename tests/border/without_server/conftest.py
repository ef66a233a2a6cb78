"""The same ground without an API server: what is created is judged by the chart's own policies, offline.

The suites beside this folder run on it as they are. Where one needs an object that is there already, only a cluster
can go on, and the rest of that test is skipped.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bailiwick.preview.judging import Border, Measure, measure
from e2e.client import ApiError
from tests.border.ground import EXEMPT, FORBIDDEN, OPERATOR, Governed, policy, territory
from tests.border.offline import guards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.client import Manifest


NO_DEFAULTS = {"StorageClass": None, "IngressClass": None}


@dataclass(slots=True)
class Person:
    """Somebody who writes manifests; who they are is told to the policies."""

    ground: PaperGround
    name: str

    def create(self, manifest: Manifest, **_: object) -> Manifest:
        """Judge it. Raises ApiError as the API server would."""
        told = [
            f"ValidatingAdmissionPolicy '{found.guard}' with binding '{_binding(found.guard, found.policy)}' "
            f"denied request: {found.message}"
            for found in self.ground.border(self.name, manifest["metadata"].get("namespace")).judge(manifest)
            if not found.doubt and not found.path  # of what controllers make of it, nobody is asked yet
        ]
        if told:
            raise ApiError(FORBIDDEN, {"message": "; ".join(told)})
        return manifest

    apply = create

    def find(self, *_: str) -> Manifest:
        """Every kind is served."""
        return {"found": True}

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"{name} needs a cluster, which has what is there already")


def _binding(guard: str, policy: Any) -> str:
    return f"{guard}.{policy.name}" if policy and guard != "bailiwick-namespaces" else guard


@dataclass(slots=True)
class PaperGround:
    """Policies and namespaces as they would be in a cluster."""

    inside: str = "inside"
    abroad: str = "abroad"
    made: list[tuple[str, str, str]] = field(default_factory=list)
    _unpinned: set[str] = field(default_factory=set)
    _measures: list[Measure] = field(default_factory=list)
    _namespaces: dict[str, dict[str, str]] = field(default_factory=lambda: {"kube-system": {}})

    def person(self, user: str, *_: object) -> Person:
        return Person(self, user)

    admin = property(lambda self: self.person("kubernetes-admin"))
    operator = property(lambda self: self.person(OPERATOR))
    editor = property(lambda self: self.person("jane"))
    tenant = property(lambda self: self.person("tenant"))
    lite = property(lambda self: self.person("admin-lite"))
    scheduler = property(lambda self: self.person("rogue-scheduler"))

    def kubelet(self, node: str) -> Person:
        return self.person(f"system:node:{node}")

    def namespace(self, labels: Mapping[str, str] | None = None) -> str:
        name = f"border-{secrets.token_hex(3)}"
        self._namespaces[name] = dict(labels or {})
        return name

    def govern(self, *, namespace: str | None = None, mode: str = "Enforce", pin: bool = True, **spec: Any) -> Governed:
        governed = Governed(f"health-{secrets.token_hex(3)}", namespace or self.namespace(), self.inside, self.abroad)
        self._namespaces[governed.namespace][governed.policy] = "here"
        if not pin:
            self._unpinned.add(governed.namespace)
        asked = {question: spec[question] for question in ("network", "storage", "access") if question in spec}
        compiled = policy(governed, mode, **asked)
        self._measures.append(measure(compiled, territory(governed, **spec), nodes_known=True))
        return governed

    def border(self, who: str, namespace: str | None) -> Border:
        return Border(
            guards=guards(), measures=tuple(self._measures), namespaces=self._namespaces, exempt=EXEMPT,
            classes=NO_DEFAULTS, pins=namespace not in self._unpinned, who=who,
        )  # fmt: skip


@pytest.fixture(scope="module")
def ground() -> PaperGround:
    made = PaperGround()
    made.govern()  # so that policies are known, and those that there are: all of them
    return made


@pytest.fixture(scope="module")
def health(ground: PaperGround) -> Governed:
    return ground.govern(models={"sources": ["oci://registry.example/models/"], "requireDigest": True})


@pytest.fixture(scope="module")
def unpinned(ground: PaperGround) -> Governed:
    return ground.govern(pin=False)


@pytest.fixture(scope="module")
def free(ground: PaperGround) -> str:
    return ground.namespace()
