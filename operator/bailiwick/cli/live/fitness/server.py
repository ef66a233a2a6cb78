"""Whether the API server is one that Bailiwick can stand on: its release, what it serves, our kinds."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bailiwick.api.resource import GROUP
from bailiwick.api.resource import VERSION as API
from bailiwick.api.schema import KINDS, crd
from bailiwick.cli.live.fitness.findings import Unseen, bad, doubtful, good, unseen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bailiwick.cli.live.fitness.findings import Finding
    from bailiwick.cli.live.fitness.seen import Raw, Seen

OLDEST: Final = (1, 34)
"""The chart's kubeVersion."""
ADMISSION: Final = "admissionregistration.k8s.io/v1"
DEVICES: Final = "resource.k8s.io/v1"
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    ADMISSION: (
        "validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations",
    ),
    DEVICES: ("resourceclaimtemplates",),
}  # fmt: skip
_PINNING: Final = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
_DIFFERENCES: Final = 3
_WANTED: Final = {f"{kind.presents.plural}.{GROUP}": kind for kind in KINDS}

KIND_NAMES: Final = tuple(_WANTED)
"""The names of Bailiwick's CustomResourceDefinitions."""


def server(seen: Seen) -> Iterator[Finding]:
    """The release, and the APIs that the border is made of."""
    yield _release(seen)
    for group, plurals in _NEEDED.items():
        yield from _needed(seen, group, plurals)
    yield from _pinning(seen)


def kinds(seen: Seen) -> Iterator[Finding]:
    """Our own kinds: all there, served as this program knows them; or none, where Bailiwick is not installed."""
    check, expected = "Kinds of Bailiwick", f"{len(_WANTED)} kinds of {GROUP}/{API}, as this bailiwick knows them"
    hidden = next((each for each in seen.kinds.values() if isinstance(each, Unseen)), None)
    if hidden:
        yield unseen(check, hidden, expected=expected)
        return
    there = {name: each for name, each in seen.kinds.items() if isinstance(each, dict)}
    if not there:
        yield good(check, "none: Bailiwick is not installed")
        return
    if gone := [name for name in _WANTED if name not in there]:
        yield bad(
            check, f"not there: {', '.join(gone)}", expected=expected,
            remedy="install them: kubectl apply --server-side -f crds/, or upgrade the chart",
        )  # fmt: skip
    wrong = [(name, said) for name, live in there.items() for said in islice(_faults(live), 1)]
    if wrong:
        told = "; ".join(f"{name} {said}" for name, said in wrong)
        yield bad(check, told, expected=expected, remedy="upgrade the chart, or apply crds/ of its release")
    others = [(name, list(islice(_drift(live, name), _DIFFERENCES + 1))) for name, live in there.items()]
    drifted = [(name, paths) for name, paths in others if paths]
    for name, paths in drifted:
        more = ", ..." if len(paths) > _DIFFERENCES else ""
        yield doubtful(
            check, f"{name} is of another release or was edited; it differs in {', '.join(paths[:_DIFFERENCES])}{more}",
            expected=expected,
            remedy="use the bailiwick of the installed release; if this is the one, apply its crds/: a field that the "
            "kind does not have is dropped, and nobody asks for it",
        )  # fmt: skip
    if not (gone or wrong or drifted):
        yield good(check, f"all {len(there)} are served as {GROUP}/{API}, as this bailiwick knows them")


def _release(seen: Seen) -> Finding:
    check, oldest = "Kubernetes", ".".join(map(str, OLDEST))
    expected = f"Kubernetes {oldest} or newer"
    if isinstance(seen.release, Unseen):
        return unseen(check, seen.release, expected=expected)
    told = ".".join(map(str, seen.release))
    if seen.release < OLDEST:
        return bad(check, f"Kubernetes {told}", expected=expected, remedy=f"upgrade the cluster to {oldest} or newer")
    return good(check, f"Kubernetes {told}")


def _needed(seen: Seen, group: str, plurals: tuple[str, ...]) -> Iterator[Finding]:
    check, expected = f"API {group}", f"{', '.join(plurals)} are served"
    found = seen.served[group]
    if isinstance(found, Unseen):
        yield unseen(check, found, expected=expected)
    elif missing := [each for each in plurals if each not in found]:
        yield bad(
            check, f"not served: {', '.join(missing)}", expected=expected,
            remedy=f"take {group}=false out of kube-apiserver's --runtime-config, or upgrade the cluster",
        )  # fmt: skip
    else:
        yield good(check, f"serves {', '.join(plurals)}")


def _pinning(seen: Seen) -> Iterator[Finding]:
    """A convenience: without it more is refused, not less."""
    found = seen.served[ADMISSION]
    if isinstance(found, Unseen):
        return
    check = "Pinning pods"
    if missing := [each for each in _PINNING if each not in found]:
        yield doubtful(
            check, f"not served: {', '.join(missing)}", expected=f"{', '.join(_PINNING)} in {ADMISSION}, from 1.36 on",
            remedy="let pods of governed namespaces bring the nodeSelector of their policies (kubectl get territories "
            "-o yaml), or they are refused; or upgrade the cluster to 1.36",
        )  # fmt: skip
    else:
        yield good(check, f"serves {', '.join(_PINNING)}")


def _faults(live: Raw) -> Iterator[str]:
    """Why a kind cannot be used."""
    version = _version(live)
    if version is None or not version.get("served"):
        yield f"does not serve {API}"
    elif not version.get("storage"):
        yield f"does not store {API}"
    for condition in (live.get("status") or {}).get("conditions") or ():
        if condition["type"] in {"Established", "NamesAccepted"} and condition["status"] != "True":
            yield f"is not {condition['type']}: {condition.get('message') or condition.get('reason')}"


def _drift(live: Raw, name: str) -> Iterator[str]:
    """Where the stored kind differs from the one this program is made of."""
    old = [each for each in (live.get("status") or {}).get("storedVersions") or () if each != API]
    if old:
        yield f"status.storedVersions ({', '.join(old)})"
    wanted, version = crd(_WANTED[name]), _version(live)
    if live["spec"].get("scope") != wanted["spec"]["scope"]:
        yield "spec.scope"
    if version:
        yield from _differences(version.get("schema"), wanted["spec"]["versions"][0]["schema"], "schema")


def _version(live: Raw) -> Raw | None:
    return next((each for each in live["spec"].get("versions") or () if each.get("name") == API), None)


def _differences(live: Any, wanted: Any, path: str) -> Iterator[str]:
    """Paths at which two schemas are not the same; what describes a field does not count."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in sorted(live.keys() | wanted.keys()):
            if key != "description" or not isinstance(wanted.get(key, live.get(key)), str):
                yield from _differences(live.get(key), wanted.get(key), f"{path}.{key}")
    elif live != wanted:
        yield path.removeprefix("schema.openAPIV3Schema.").replace("properties.", "")
