"""The rights that lead around the border, or let somebody move it; whoever has one is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.resource import GROUP
from bailiwick.cli.live.fitness.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Collection

Raw = dict[str, Any]

ALL: Final = "*"
_WRITE: Final = frozenset({"update", "patch"})
_MAKE: Final = _WRITE | {"create"}
_REMOVE: Final = frozenset({"delete", "deletecollection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One right: some verbs on some resources of a group."""

    check: str
    does: str
    """What it is good for: ``n subjects may ...``."""
    severity: Severity
    group: str
    resources: frozenset[str]
    verbs: frozenset[str]
    names: tuple[str, ...] = ()
    """Where a rule names objects, one must begin so; empty: any name counts."""
    namespaced: bool = False
    """Whether it is about objects in namespaces, so that a RoleBinding in an exempt namespace gives it, too."""
    by_charts_roles: bool = False
    """Whether the chart has roles to give it by, which are meant so."""

    def in_rule(self, rule: Raw) -> bool:
        """Whether a rule of a role gives it."""
        names = rule.get("resourceNames") or ()
        # No name is known yet when an object is created, nor when all of a collection are deleted.
        verbs = self.verbs if not names else self.verbs - {"deletecollection"} - self._nameless()
        return (
            _among(rule.get("apiGroups"), self.group)
            and any(_covers(rule.get("resources") or (), each) for each in self.resources)
            and any(_among(rule.get("verbs"), each) for each in verbs)
            and (not names or not self.names or any(name.startswith(self.names) for name in names))
        )

    def _nameless(self) -> frozenset[str]:
        return frozenset() if any("/" in each for each in self.resources) else frozenset({"create"})


def everything(rule: Raw) -> bool:
    """Whether a rule gives every right on every kind."""
    return not rule.get("resourceNames") and all(
        ALL in (rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs")
    )


def _among(listed: Collection[str] | None, wanted: str) -> bool:
    return ALL in (listed or ()) or wanted in (listed or ())


def _covers(listed: Collection[str], wanted: str) -> bool:
    """As RBAC reads resources: ``*`` is all of them, ``*/scale`` a subresource of any. There is no ``pods/*``."""
    _, slash, below = wanted.partition("/")
    return _among(listed, wanted) or bool(slash and f"{ALL}/{below}" in listed)


def _way(check: str, severity: Severity, where: str, verbs: Collection[str], does: str, **more: Any) -> Way:
    """``where`` is ``group: resource, resource``."""
    group, _, resources = where.partition(":")
    named = frozenset(each.strip() for each in resources.split(","))
    return Way(check=check, does=does, severity=severity, group=group, resources=named, verbs=frozenset(verbs), **more)


_SYSTEM_NAMES: Final = ("system:", "bailiwick-")
_OURS: Final = ("bailiwick",)
_RUN_PODS: Final = "run pods in exempt namespaces, on any node, and in kube-system as any controller of Kubernetes"
_ENTER_PODS: Final = "enter pods of exempt namespaces; those of kube-system have tokens that give any right"
_KUBERNETES_SIGNERS: Final = ("kubernetes.io/",)

WAYS: Final = (
    _way("nodes/proxy", Severity.BAD, ":nodes/proxy", {"get", "create", "update", "patch", "delete"},
         "enter every pod through the kubelet's own port, past every admission and past the audit log"),
    _way("impersonation", Severity.BAD, ":users, groups, serviceaccounts", {"impersonate"},
         "act as Bailiwick's operator or as a controller of Kubernetes, which no admission sees", names=_SYSTEM_NAMES,
         namespaced=True),
    _way("roles without limit", Severity.BAD, "rbac.authorization.k8s.io:roles, clusterroles", {"escalate", "bind"},
         "give itself any other right", names=("cluster-admin", "system:", "admin", "edit", "bailiwick-"),
         namespaced=True),
    _way("in-tree policies", Severity.BAD,
         "admissionregistration.k8s.io:validatingadmissionpolicies, validatingadmissionpolicybindings",
         _WRITE | _REMOVE, "take the border away; the API server lets no policy guard policies", names=_OURS),
    _way("acting as Bailiwick", Severity.BAD, ":serviceaccounts", {"use"},
         "make tokens of Bailiwick's service accounts and pods that run as one", names=_OURS, namespaced=True),
    _way("tokens", Severity.BAD, ":serviceaccounts/token", {"create"},
         "make tokens of Kubernetes' controllers in kube-system, and one of these gives any right", namespaced=True),
    _way("pods of exempt namespaces", Severity.BAD, ":pods, replicationcontrollers", {"create"},
         _RUN_PODS, namespaced=True),
    _way("pods of exempt namespaces", Severity.BAD, "apps:deployments, daemonsets, statefulsets, replicasets", _MAKE,
         _RUN_PODS, namespaced=True),
    _way("pods of exempt namespaces", Severity.BAD, "batch:jobs, cronjobs", _MAKE,
         _RUN_PODS, namespaced=True),
    _way("ways into exempt pods", Severity.BAD, ":pods/exec, pods/attach, pods/ephemeralcontainers",
         {"get", "create", "update", "patch"}, _ENTER_PODS,
         namespaced=True),
    _way("joining nodes", Severity.BAD, "certificates.k8s.io:signers", {"approve", "sign"},
         "make certificates of any kubelet, also of a node inside", names=_KUBERNETES_SIGNERS),
    _way("webhooks", Severity.DOUBTFUL,
         "admissionregistration.k8s.io:validatingwebhookconfigurations", _WRITE | _REMOVE,
         "switch Bailiwick's webhook off; the core holds without it", names=_OURS),
    _way("nodes", Severity.DOUBTFUL, ":nodes, nodes/status", _MAKE,
         "make nodes or change their labels; bailiwick-nodes refuses those that say inside, and nothing else"),
    _way("bindings", Severity.DOUBTFUL, ":pods/binding, bindings", {"create"},
         "choose nodes, past the scheduler; bailiwick-bindings refuses foreign ones", namespaced=True),
    _way("Territories", Severity.DOUBTFUL, f"{GROUP}:territories", _MAKE | _REMOVE,
         "write what is inside, as far as RBAC goes; bailiwick-territories alone refuses it"),
    _way("who draws the border", Severity.DOUBTFUL,
         f"{GROUP}:residencypolicies, nodestatements, endpointstatements, jurisdictions, authorities, "
         "acceleratorclasses", _MAKE | _REMOVE | {"assign"}, "draw the border", by_charts_roles=True),
    _way("waivers", Severity.DOUBTFUL, f"{GROUP}:residencywaivers, waiverapprovals", {"create"},
         "ask for waivers or approve of them", by_charts_roles=True),
)  # fmt: skip
"""Each is one answer of `bailiwick doctor`, worst first; those with the same name are one answer together."""
