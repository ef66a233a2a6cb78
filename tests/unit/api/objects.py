"""One object of every kind with every field set, and how to change one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bailiwick.api.resource import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

Manifest = dict[str, Any]

ABSENT = object()
"""The value of a field that is to be removed."""

DIGEST = "sha256:" + "0123456789abcdef" * 4
TIME = "2026-11-01T00:00:00Z"

CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": TIME,
    "reason": "Enforced",
    "message": "everything is inside",
}
COUNT = {"reason": "WrongPlace", "count": 2, "message": "worker-us stands in US", "examples": ["worker-us"]}
RULE = {"allow": ["EU", "CH"], "deny": ["HU"]}
PLACE_RULE = {**RULE, "assurance": "Verified", "maxAge": "720h"}
ORIGIN_RULE = {"brand": RULE, "manufacture": {"allow": ["TW"], "deny": []}, "design": {"allow": [], "deny": ["KR"]}}

RESIDENCY_POLICY: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "ResidencyPolicy",
    "metadata": {"name": "health"},
    "spec": {
        "namespaceSelector": {
            "matchLabels": {"data": "health", "example.com/team": ""},
            "matchExpressions": [
                {"key": "stage", "operator": "In", "values": ["production"]},
                {"key": "exempt", "operator": "DoesNotExist"},
            ],
        },
        "mode": "Enforce",
        "place": PLACE_RULE,
        "control": RULE,
        "origin": ORIGIN_RULE,
        "models": {
            "sources": ["oci://registry.example/models/"],
            "requireDigest": True,
            "signedBy": ["model-authority"],
            "licences": ["Apache-2.0"],
        },
        "images": {"registries": ["registry.example/"], "requireDigest": True},
        "network": {
            "egress": [
                {
                    "cidr": "10.20.0.0/16",
                    "ports": [{"port": 8000, "endPort": 8010, "protocol": "TCP"}],
                    "description": "the clinic's archive",
                }
            ],
            "services": ["ClusterIP"],
            "ingressClasses": ["internal"],
            "gatewayClasses": ["internal"],
        },
        "storage": {"classes": ["frankfurt"]},
        "access": {
            "exec": "Deny",
            "attach": "Deny",
            "portForward": "Allow",
            "proxy": "Deny",
            "ephemeralContainers": "Deny",
        },
        "unknown": "Deny",
        "violation": {"action": "Quarantine", "after": "5m"},
        "waivers": {"approvals": 2, "maxDuration": "24h"},
        "basis": [{"text": "Regulation (EU) 2016/679, chapter V", "uri": "https://eur-lex.example/eli/reg/2016/679"}],
    },
    "status": {
        "observedGeneration": 1,
        "conditions": [CONDITION, {**CONDITION, "type": "Enforced"}],
        "counts": {
            "namespaces": 1,
            "nodes": 2,
            "nodesOutside": 2,
            "nodesWaived": 1,
            "waivers": 1,
            "pods": 3,
            "violations": 0,
        },
        "outside": [COUNT],
        "violations": [
            {"pod": "clinic/chat-0", "node": "n1", "reason": "WrongPlace", "step": "Quarantine", "since": TIME}
        ],
        "digest": DIGEST,
        "enforcedSince": TIME,
        "lastProof": TIME,
        "evidenceHead": DIGEST,
    },
}

SOURCES: Mapping[str, Manifest] = {
    "oci": {
        "image": f"registry.example/models/m@{DIGEST}",
        "pullPolicy": "IfNotPresent",
        "pullSecrets": ["registry"],
        "mount": "Copy",
        "size": "20Gi",
    },
    "persistentVolumeClaim": {"claimName": "weights", "path": "models/m"},
    "s3": {
        "endpoint": "https://storage.example",
        "bucket": "models",
        "prefix": "m/",
        "region": "eu-central",
        "credentialsSecret": "storage",
        "into": {"claimName": "weights", "path": "imported"},
    },
    "huggingFace": {
        "repository": "organisation/model",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "endpoint": "https://hub.example",
        "tokenSecret": "hub",
        "into": {"claimName": "weights", "path": "imported"},
    },
    "hostPath": {"path": "/srv/models/m"},
}

SOVEREIGN_MODEL: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "SovereignModel",
    "metadata": {"name": "assistant"},
    "spec": {
        "model": {
            "name": "skt/A.X-K1",
            "source": {"oci": SOURCES["oci"]},
            "file": "q4/model-00001-of-00002.gguf",
            "manifest": {"configMap": "files", "key": "SHA256SUMS"},
            "profile": {"configMap": "assistant-profile", "key": "profile.json"},
            "signature": {"authority": "model-authority", "configMap": "signature"},
            "readSpeed": "300Mi",
            "licence": "Apache-2.0",
        },
        "engine": {
            "name": "vllm",
            "image": f"registry.example/vllm@{DIGEST}",
            "arguments": ["--enforce-eager", "--max-num-batched-tokens=8192"],
        },
        "accelerators": {"classes": ["nvidia-h100", "cpu"], "perReplica": 4},
        "context": {"maxLength": 8192, "maxSequences": 64, "kvCacheType": "fp8", "quantization": "awq"},
        "parallelism": {"tensor": 4, "pipeline": 1, "data": 1, "expert": True},
        "replicas": 2,
        "autoscaling": {"minReplicas": 1, "maxReplicas": 4, "waitingRequests": 8, "scaler": "KEDA"},
        "residency": {"place": PLACE_RULE, "control": RULE, "origin": ORIGIN_RULE},
        "adapters": [
            {
                "name": "legal",
                "source": {"persistentVolumeClaim": {"claimName": "legal", "path": ""}},
                "file": "legal.gguf",
                "digest": DIGEST,
                "signature": {"authority": "model-authority", "configMap": "legal"},
            }
        ],
        "serving": {
            "authentication": {
                "apiKeysSecret": "keys",
                "tokenIssuer": {"issuer": "https://login.example", "audiences": ["assistant"], "keysSecret": "jwks"},
            },
            "tls": {"secret": "certificate", "clientCASecret": "clients"},
            "limits": {
                "requestsPerMinute": 600,
                "concurrent": 20,
                "connections": 512,
                "maxBodyBytes": 1_048_576,
                "maxHeaderBytes": 8192,
                "requestSeconds": 20,
                "idleSeconds": 30,
                "answerSeconds": 600,
            },
            "gateway": {
                "name": "public",
                "namespace": "gateways",
                "hostnames": ["assistant.example"],
                "endpointPicker": {"service": "picker", "port": 9003},
            },
        },
        "objective": "Balanced",
    },
    "status": {
        "observedGeneration": 1,
        "conditions": [CONDITION],
        "plan": {
            "engine": "vllm",
            "image": "registry.example/vllm",
            "acceleratorClass": "nvidia-h100",
            "variant": "fp8",
            "device": "nvidia.com/gpu",
            "devicesPerReplica": 4,
            "nodesPerReplica": 1,
            "weightBytes": 269_060_552,
            "kvCacheBytes": 67_108_864,
            "tensor": 4,
            "pipeline": 1,
            "expert": False,
            "maxLength": 8192,
            "longestLength": 8192,
            "maxSequences": 64,
            "why": "it is the first that fits",
            "profile": DIGEST,
            "basis": DIGEST,
        },
        "policies": ["health"],
        "nodes": {"eligible": 2, "ineligible": [COUNT]},
        "placements": [
            {
                "pod": "assistant-0",
                "node": "worker-de",
                "jurisdiction": "DE-BY",
                "assurance": "Verified",
                "ready": True,
                "since": TIME,
            }
        ],
        "jurisdictions": ["DE-BY"],
        "endpoint": "http://assistant.clinic.svc/v1",
        "imports": [
            {
                "source": "spec.model.source",
                "bytes": 1000,
                "ofBytes": 2000,
                "bytesPerSecond": 100,
                "remainingSeconds": 10,
            }
        ],
        "replicas": 2,
        "readyReplicas": 1,
        "selector": "bailiwick.dev/model=assistant",
    },
}

JURISDICTION: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "Jurisdiction",
    "metadata": {"name": "dach"},
    "spec": {
        "description": "German-speaking countries",
        "members": ["DE", "AT", "CH"],
        "asOf": "2026-01-01",
        "source": "https://example/dach",
    },
}

NODE_STATEMENT: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "NodeStatement",
    "metadata": {"name": "worker-de"},
    "spec": {
        "node": {
            "name": "worker-de",
            "uid": "0b3c1c6e-7a0e-4a4e-9d43-2f5b2a6f9b10",
            "machineID": "4c4c4544",
            "systemUUID": "4c4c4544-0044",
            "providerID": "kind://de",
        },
        "place": {"jurisdiction": "DE-BY", "site": "Munich, hall 2"},
        "control": {"jurisdiction": "DE", "operator": "Klinikum Beispiel gGmbH"},
        "origin": {"brand": ["US"], "manufacture": ["TW"], "design": ["US", "IL"]},
        "issuedAt": TIME,
        "expiresAt": "2027-11-01T00:00:00+01:00",
        "authority": "site-authority",
        "envelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": "e30=",
            "signatures": [{"keyid": "first", "sig": "c2ln"}],
        },
    },
}

CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIB3DCCAWGgAwIBAgIUD9kBkOH9idimDmUAyfHDnM4HcUIwCgYIKoZIzj0EAwIw
LDEbMBkGA1UECgwSRXhhbXBsZSBMYWJvcmF0b3J5MQ0wCwYDVQQDDARSb290MCAX
DTI2MTEwMTAwMDAwMFoYDzIwNzYxMTAxMDAwMDAwWjAsMRswGQYDVQQKDBJFeGFt
cGxlIExhYm9yYXRvcnkxDTALBgNVBAMMBFJvb3QwdjAQBgcqhkjOPQIBBgUrgQQA
IgNiAAQIMBf4d1sB64AMeprFPuyptPnFWNjwBnzhQJwsZXBCZKEqXz5xnhOWQcw7
ZwUMSB1UUrDrA9B3LBUq/icxM7bLsy+b01uPsC2iIevmoQFBxzZBA/YxP29tlo2n
hXaUl+GjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1Ud
DgQWBBRG4QPIavjCCmhuVONmhbeh9239yjAKBggqhkjOPQQDAgNpADBmAjEAhMZd
2dYc5pD/BQRPjUm0XuHq5VDLsFlEqSl4/V0QJUqvb3pCn4pghXxRLp+2jCQbAjEA
7wNoQb2fEmLfmck/BT8MrKp8xQ4Y1TWfuGJph6awAsiuafNDP/ySOBhhblTJsI61
-----END CERTIFICATE-----
"""  # of the CA in tests/unit/weights/certified

ENDPOINT_STATEMENT: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "EndpointStatement",
    "metadata": {"name": "mac-1"},
    "spec": {
        "endpoint": {
            "address": "192.0.2.7",
            "port": 8443,
            "serverName": "mac-1.models.example",
            "certificateAuthority": CERTIFICATE,
            "healthPath": "/health",
        },
        **{name: NODE_STATEMENT["spec"][name] for name in ("place", "control", "origin", "issuedAt", "expiresAt")},
        **{name: NODE_STATEMENT["spec"][name] for name in ("authority", "envelope")},
    },
}

_ORIGIN = {"jurisdictions": ["US"], "source": "https://vendor.example/datasheet", "confidence": "Documented"}

ACCELERATOR_CLASS: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "AcceleratorClass",
    "metadata": {"name": "nvidia-h100"},
    "spec": {
        "description": "NVIDIA H100 80 GB",
        "resources": ["nvidia.com/gpu"],
        "nodeSelector": {
            "matchLabels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
            "matchExpressions": [{"key": "nvidia.com/mig.capable", "operator": "NotIn", "values": ["false"]}],
        },
        "deviceClasses": ["gpu.nvidia.com"],
        "requestBy": ["Claim", "Resource"],
        "memory": "80Gi",
        "bandwidth": 3_350_000_000_000,
        "thermalDesignPower": 700,
        "devicesPerNode": 8,
        "sources": [{"figure": "Memory", "source": "the vendor's data sheet", "confidence": "Documented"}],
        "provenance": {"brand": _ORIGIN, "manufacture": _ORIGIN, "design": _ORIGIN},
        "engines": [
            {
                "name": "vllm",
                "image": "registry.example/vllm",
                "arguments": ["--enforce-eager"],
                "environment": [{"name": "NCCL_DEBUG", "value": "WARN"}],
                "requests": {"cpu": 4, "memory": "32Gi"},
            }
        ],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}],
        "schedulerName": "vendor-scheduler",
        "runtimeClassName": "nvidia",
        "powerMetric": {"name": "DCGM_FI_DEV_POWER_USAGE", "kind": "PowerGauge", "scale": "0.001"},
        "measurements": [{"model": "skt/A.X-K1", "joulesPerToken": "0.35", "source": "rack meter, 2026-11-01"}],
    },
}

PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""  # of RFC 8410, section 10.1

AUTHORITY: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "Authority",
    "metadata": {"name": "site-authority"},
    "spec": {
        "description": "The data protection officer, who counted the machines",
        "publicKeys": [{"pem": PUBLIC_KEY, "keyid": "first", "notAfter": "2027-11-01T00:00:00Z"}],
        "certificates": [
            {
                "pem": CERTIFICATE,
                "signers": [
                    {"email": "models@laboratory.example"},
                    {"subject": "CN=Models"},
                    {"uri": "spiffe://a/models"},
                ],
            }
        ],
        "mayVouchFor": ["place", "control"],
        "jurisdictions": ["DE", "EEA"],
        "assurance": "Verified",
    },
}

TERRITORY: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "Territory",
    "metadata": {"name": "health"},
    "spec": {
        "policy": "health",
        "digest": DIGEST,
        "nodes": {"worker-de": "DE-BY", "worker-ch": "CH"},
        "waived": {"worker-ch": "failover"},
        "nodeSelector": {"bailiwick.dev.node-restriction.kubernetes.io/health": "resident"},
        "namespaceLabels": ["data"],
        "models": {
            "sources": ["oci://registry.example/"],
            "requireDigest": True,
            "signedBy": ["model-authority"],
            "licences": ["Apache-2.0"],
        },
        "images": {"registries": ["registry.example/"], "requireDigest": True},
        "storage": {"classes": ["frankfurt"]},
        "schedulers": ["default-scheduler"],
        "network": {
            "egress": [],
            "services": ["ClusterIP"],
            "ingressClasses": ["inside"],
            "gatewayClasses": ["inside"],
        },
        "access": {
            "exec": "Deny",
            "attach": "Deny",
            "portForward": "Allow",
            "proxy": "Deny",
            "ephemeralContainers": "Deny",
        },
    },
}

RESIDENCY_WAIVER: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "ResidencyWaiver",
    "metadata": {"name": "failover"},
    "spec": {
        "policy": "health",
        "requester": "anna",
        "node": {**NODE_STATEMENT["spec"]["node"], "name": "worker-gb"},
        "dimensions": ["place", "assurance", "age", "control", "brand", "manufacture", "design"],
        "jurisdictions": ["GB", "EEA"],
        "reason": "the data centre is being moved",
        "ticket": "CHANGE-4711",
        "notBefore": TIME,
        "expiresAt": "2026-11-01T12:00:00Z",
    },
    "status": {
        "observedGeneration": 1,
        "conditions": [CONDITION, {**CONDITION, "type": "Approved"}, {**CONDITION, "type": "Active"}],
        "approvers": ["bert", "cleo"],
    },
}

WAIVER_APPROVAL: Manifest = {
    "apiVersion": API_VERSION,
    "kind": "WaiverApproval",
    "metadata": {"name": "failover-bert"},
    "spec": {
        "waiver": "failover",
        "waiverUID": "0b3c1c6e-7a0e-4a4e-9d43-2f5b2a6f9b10",
        "requester": "anna",
        "approver": "bert",
        "comment": "only de-identified images",
    },
}

COMPLETE: Mapping[str, Manifest] = {
    manifest["kind"]: manifest
    for manifest in (
        ACCELERATOR_CLASS,
        AUTHORITY,
        ENDPOINT_STATEMENT,
        JURISDICTION,
        NODE_STATEMENT,
        RESIDENCY_POLICY,
        RESIDENCY_WAIVER,
        SOVEREIGN_MODEL,
        TERRITORY,
        WAIVER_APPROVAL,
    )
}


VARIANTS: Manifest = {
    "name": "skt/A.X-K1",
    "licence": "Apache-2.0",
    "variants": [
        {
            "name": "bf16",
            "quality": "0.82",
            "source": {"oci": SOURCES["oci"]},
            "manifest": {"configMap": "files", "key": "SHA256SUMS"},
            "profile": {"configMap": "assistant-profile", "key": "profile.json"},
            "signature": {"authority": "model-authority", "configMap": "signature"},
            "readSpeed": "300Mi",
            "licence": "MIT",
        },
        {
            "name": "fp8",
            "quality": "0.8",
            "source": {"hostPath": SOURCES["hostPath"]},
            "digest": DIGEST,
            "profile": {"configMap": "small-profile", "key": "profile.json"},
        },
    ],
}
"""The alternative to a model with a source of its own."""


def varied(**of: Any) -> Manifest:
    """The model with variants; ``of`` changes its first variant, and ABSENT removes."""
    first = {key: value for key, value in {**VARIANTS["variants"][0], **of}.items() if value is not ABSENT}
    return {**VARIANTS, "variants": [first, VARIANTS["variants"][1]]}


def changed(kind: str, changes: Mapping[str, Any]) -> Manifest:
    """The complete object of a kind with fields set or removed, by path: ``spec.adapters.0.name``.

    A dot inside a key is written ``\\.``.
    """
    manifest: Manifest = json.loads(json.dumps(COMPLETE[kind]))  # unlike deepcopy, it shares nothing inside
    for path, value in changes.items():
        *parents, last = [_step(part.replace("\0", ".")) for part in path.replace("\\.", "\0").split(".")]
        node: Any = manifest
        for parent in parents:
            node = node[parent]
        if value is ABSENT:
            del node[last]
        else:
            node[last] = value
    return manifest


def _step(part: str) -> str | int:
    return int(part) if part.isdigit() else part
