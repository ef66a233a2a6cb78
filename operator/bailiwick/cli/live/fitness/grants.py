"""Who holds rights that lead around the border, as far as RBAC tells. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bailiwick.cli.live.fitness.findings import Holder, Severity, Unseen, bad, doubtful, good, unseen
from bailiwick.cli.live.fitness.ways import WAYS, Way, everything

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Raw, Seen

_CHECK: Final = "Grants"
_ALL: Final = "cluster-admin"
_KUBE_SYSTEM: Final = "kube-system"
_EXPECTED: Final = "nobody but Kubernetes itself, Bailiwick, and those named by --trust"
_REMEDY: Final = (
    "take the right away or make it smaller (kubectl describe tells by what it is given); where it is meant, name the "
    "subject by --trust"
)
_EVERYBODY: Final = (
    "system:authenticated", "system:unauthenticated", "system:anonymous", "system:nodes", "system:bootstrappers",
    "system:serviceaccounts",
)  # fmt: skip
"""Subjects that Kubernetes names, but that are not Kubernetes. Kubelets have their rights by the Node authorizer."""
_CHARTS_ROLE: Final = "ClusterRole bailiwick-"
_ACCOUNT: Final = "system:serviceaccount:"
_OF_KUBEADM: Final = ("kubeadm:cluster-admins", "kube-apiserver-kubelet-client")
"""Its administrators, and the API server itself where it asks kubelets."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """One subject of one binding, and the rules that it gets by it. ``namespace`` is None for the whole cluster."""

    subject: str
    binding: str
    role: str
    rules: Sequence[Raw]
    namespace: str | None


def grants(seen: Seen, trusted: Collection[str] = ()) -> Iterator[Finding]:
    """One answer for each way that somebody has; one good answer where nobody has any."""
    everywhere = (seen.cluster_bindings, seen.cluster_roles)
    hidden = [each for each in (*everywhere, seen.role_bindings, seen.roles) if isinstance(each, Unseen)]
    found: defaultdict[str, list[tuple[Way | None, Holder]]] = defaultdict(list)
    subjects, known = set(), set()
    for grant in _grants(seen):
        subjects.add(grant.subject)
        if _is_known(grant, seen.home) or grant.subject in trusted:
            known.add(grant.subject)
            continue
        for check, way, holder in _held(grant):
            found[check].append((way, holder))
    yield from _told(found)
    if hidden:
        said = Unseen("; ".join(dict.fromkeys(each.why for each in hidden)), hidden[0].remedy)
        yield unseen(_CHECK, said, expected=_EXPECTED)
    elif not found:
        yield good(
            _CHECK, f"of {len(subjects)} subjects none has a way around, but {len(known)} that are Kubernetes itself, "
            f"Bailiwick, or trusted",
        )  # fmt: skip


def _told(found: Mapping[str, Sequence[tuple[Way | None, Holder]]]) -> Iterator[Finding]:
    order = list(dict.fromkeys((_ALL, *(way.check for way in WAYS))))
    for check in sorted(found, key=order.index):
        ways = found[check]
        holders = sorted({holder for _, holder in ways})
        subjects = len({each.subject for each in holders})
        does = next((way.does for way, _ in ways if way), "do everything: take the border away, or pass it")
        what = bad if _severity(ways) is Severity.BAD else doubtful
        some = f"{subjects} {'subject' if subjects == 1 else 'subjects'}"
        yield what(f"{_CHECK}: {check}", f"{some} may {does}", expected=_EXPECTED, remedy=_REMEDY, holders=holders)


def _severity(ways: Sequence[tuple[Way | None, Holder]]) -> Severity:
    order = list(Severity)
    return min((way.severity if way else Severity.BAD for way, _ in ways), key=order.index)


def _held(grant: _Grant) -> Iterator[tuple[str, Way | None, Holder]]:
    """The ways that a grant gives. Who may do everything is told once."""
    for rule in grant.rules:
        if grant.namespace in {None, _KUBE_SYSTEM} and everything(rule):
            yield _ALL, None, _holder(grant, rule)
            return
    for rule in grant.rules:
        for way in WAYS:
            if way.in_rule(rule) and _matters(way, grant):
                yield way.check, way, _holder(grant, rule)


def _matters(way: Way, grant: _Grant) -> bool:
    """Not by the chart's own roles where they are for that; and of one namespace only what is about objects there."""
    if way.by_charts_roles and grant.role.startswith(_CHARTS_ROLE):
        return False
    return grant.namespace is None or way.namespaced


def _holder(grant: _Grant, rule: Raw) -> Holder:
    where = f" in {grant.namespace}" if grant.namespace else ""
    return Holder(grant.subject, f"{grant.binding}{where}", grant.role, _written(rule))


def _written(rule: Raw) -> str:
    """``get, list nodes/proxy``; with group and names where there are any."""
    groups = [each for each in rule.get("apiGroups") or () if each]
    resources = ", ".join(rule.get("resources") or ())
    of = f" of {', '.join(groups)}" if groups else ""
    names = f" named {', '.join(rule['resourceNames'])}" if rule.get("resourceNames") else ""
    return f"{', '.join(rule.get('verbs') or ())} {resources}{of}{names}"


def _grants(seen: Seen) -> Iterator[_Grant]:
    """Every subject of every binding, with the rules as they are stored: aggregated roles hold those of others."""
    cluster_roles = {each["metadata"]["name"]: each for each in _rows(seen.cluster_roles)}
    roles = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in _rows(seen.roles)}
    for binding in (*_rows(seen.cluster_bindings), *_rows(seen.role_bindings)):
        namespace, ref = binding["metadata"].get("namespace"), binding["roleRef"]
        is_role = ref["kind"] == "Role"
        role = roles.get((namespace or "", ref["name"])) if is_role else cluster_roles.get(ref["name"])
        if role is None:
            continue
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        for subject in binding.get("subjects") or ():
            yield _Grant(
                subject=_name(subject, namespace), binding=f"{kind} {binding['metadata']['name']}",
                role=f"{ref['kind']} {ref['name']}", rules=role.get("rules") or (), namespace=namespace,
            )  # fmt: skip


def _rows(listed: Sequence[Raw] | Unseen) -> Iterable[Raw]:
    return () if isinstance(listed, Unseen) else listed


def _name(subject: Raw, namespace: str | None) -> str:
    """As the API server calls who asks: a service account has its namespace in its name."""
    if subject["kind"] == "ServiceAccount":
        return f"{_ACCOUNT}{subject.get('namespace') or namespace}:{subject['name']}"
    return str(subject["name"])


def _is_known(grant: _Grant, home: str) -> bool:
    """Kubernetes itself and its administrators, whatever runs in kube-system anyway, and Bailiwick."""
    subject = grant.subject
    if subject in _EVERYBODY or subject.startswith(tuple(f"{each}:" for each in _EVERYBODY)):
        return False
    if subject.startswith(f"{_ACCOUNT}{home}:"):
        return grant.role.partition(" ")[2].startswith("bailiwick-")
    if subject.startswith(_ACCOUNT):
        return subject.startswith(f"{_ACCOUNT}{_KUBE_SYSTEM}:")
    return subject.startswith("system:") or subject in _OF_KUBEADM
