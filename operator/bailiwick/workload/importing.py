"""Imports: Jobs that fetch weights into a claim before any engine starts, and only where the model's pods may run.

The importing pod has no right in the API and no way out but to its source. How far it is stands in its own status: it
fetches in parts, each a container that ends with a word about it, and the operator watches pods anyway.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bailiwick.residency.egress import NAME_SERVICE, way_out
from bailiwick.workload import sources, verification
from bailiwick.workload.containers import LOGS_TELL, RESTRICTED
from bailiwick.workload.naming import labels, metadata
from bailiwick.workload.pod import USER, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bailiwick.api.modelsource import Source
    from bailiwick.api.sovereignmodel import SovereignModel
    from bailiwick.workload.naming import Manifest
    from bailiwick.workload.placing import Placing
    from bailiwick.workload.verification import Item

IMPORT_LABEL: Final = "bailiwick.dev/import"
"""On importing pods, with the model's name: they are no replicas, and Services do not choose them."""
PATH: Final = "/import"
CREDENTIALS: Final = "/credentials"
CONTAINER: Final = "import"

_SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
_PROGRESS = "/dev/termination-log"
_FOREVER = 2**31 - 1
_PORTS = {"http": 80, "https": 443}


def imports(model: SovereignModel) -> list[Item]:
    """What is fetched before the model can be served."""
    return [item for item in verification.items(model) if sources.fetched(item.source)]


def network_policy(placing: Placing) -> Manifest | None:
    """The way of importing pods to their sources, as far as the policies of the namespace open it; and to names."""
    found = imports(placing.model)
    if not found:
        return None
    model = placing.model
    ways = {_endpoint(item.source): None for item in found}
    rules = [rule for way in ways for rule in _rules(placing, *way)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {**metadata(model), "name": f"{model.metadata.name}.import"},
        "spec": {
            "podSelector": {"matchLabels": {IMPORT_LABEL: model.metadata.name}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [NAME_SERVICE, *rules],
        },
    }


def jobs(placing: Placing) -> list[tuple[Item, Manifest]]:
    """One Job for each source. A Job never changes, so one that would be another has another name."""
    return [(item, _job(placing, item)) for item in imports(placing.model)]


def _job(placing: Placing, item: Item) -> Manifest:
    model = placing.model
    spec: Manifest = {
        "backoffLimit": _FOREVER,
        "template": {
            "metadata": {
                "labels": {
                    "app.kubernetes.io/managed-by": "bailiwick",
                    "app.kubernetes.io/name": "import",
                    "app.kubernetes.io/instance": model.metadata.name,
                    IMPORT_LABEL: model.metadata.name,
                }
            },
            "spec": _pod(placing, item),
        },
    }
    written = json.dumps(spec, sort_keys=True).encode()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **metadata(model),
            "name": f"{model.metadata.name}-{sha256(written).hexdigest()[:8]}",
            "labels": labels(model),
        },
        "spec": spec,
    }


def _pod(placing: Placing, item: Item) -> Manifest:
    claim = sources.kept(item.source)
    secret = _secret(item.source)
    volumes: list[Manifest] = [{"name": "weights", "persistentVolumeClaim": {"claimName": claim.claim_name}}]
    if secret:
        # A missing Secret is an empty folder, so that the container says what to do.
        volumes.append({"name": "credentials", "secret": {"secretName": secret, "optional": True}})
    return {
        "serviceAccountName": placing.model.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 5,
        **where(placing),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_container(placing, item, share) for share in _SHARES[:-1]],
        "containers": [_container(placing, item, _SHARES[-1])],
        "volumes": volumes,
    }


def _container(placing: Placing, item: Item, share: int) -> Manifest:
    mounts: list[Manifest] = [{"name": "weights", "mountPath": PATH}]
    if _secret(item.source):
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True})
    return {
        "name": CONTAINER if share == _SHARES[-1] else f"{CONTAINER}-{share}",
        "image": placing.weights_image,
        "args": ["weights", "import", *_arguments(placing, item, share)],
        **LOGS_TELL,
        "securityContext": RESTRICTED,
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }


def _arguments(placing: Placing, item: Item, share: int) -> Iterator[str]:
    source, claim = item.source, sources.kept(item.source)
    yield f"--weights={verification.kind_of(placing.model)}"
    if item.digest:
        yield f"--digest={item.digest}"
    if source.s3:
        yield f"--endpoint={source.s3.endpoint}"
        yield f"--bucket={source.s3.bucket}"
        if source.s3.prefix:
            yield f"--prefix={source.s3.prefix}"
        if source.s3.region:
            yield f"--region={source.s3.region}"
    elif source.hugging_face:
        yield f"--endpoint={source.hugging_face.hub}"
        yield f"--repository={source.hugging_face.repository}"
        yield f"--revision={source.hugging_face.revision}"
    if _secret(source):
        yield f"--credentials={CREDENTIALS}"
    yield f"--into={PATH}/{claim.path}".rstrip("/")
    yield f"--name={sources.imported(source, item.digest)}"
    yield f"--share={share}"
    yield f"--progress={_PROGRESS}"


def _secret(source: Source) -> str | None:
    if source.s3:
        return source.s3.credentials_secret
    return source.hugging_face.token_secret if source.hugging_face else None


def _endpoint(source: Source) -> tuple[str, int]:
    """Host and port of a source."""
    parts = urlsplit(source.s3.endpoint if source.s3 else source.hugging_face.hub if source.hugging_face else "")
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _rules(placing: Placing, host: str, port: int) -> Iterator[Manifest]:
    """To an address in the namespace itself, or outside of it where every policy opens that."""
    name, _, rest = host.partition(".")
    namespace = placing.model.metadata.namespace
    if name and (not rest or f"{rest}.".startswith(f"{namespace}.svc.")):
        yield {"to": [{"podSelector": {}}]}
        return
    for network in way_out(placing.egress, host, port):
        yield {"to": [{"ipBlock": {"cidr": network}}], "ports": [{"protocol": "TCP", "port": port}]}
