"""Which weights are verified in a model's pods, by which arguments, and what the condition Verified says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.api.authority import Authority
from bailiwick.api.sovereignmodel import Accelerators
from bailiwick.evidence.certificates import root
from bailiwick.weights.signature import Key, read_root
from bailiwick.workload.status import Seen, summarise
from bailiwick.workload.troubles import trouble_of
from bailiwick.workload.verified import verified
from tests.unit.workload.given import DIGEST, IMAGE, NOW, accelerator, model, plan, pod, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bailiwick.api.sovereignmodel import SovereignModel

BY_TAG = {"oci": {"image": "registry.example/tiny:1"}}
CLAIM = {"persistentVolumeClaim": {"claimName": "weights", "path": "tiny"}}
FOLDER = {"hostPath": {"path": "/srv/tiny"}}
PEM = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElYjknKpueMR9veRNDoI3naVz4QfD\n"
    "XhknOO7kzkcq6Yts2YHjlsK6DewTMN3/7jTJvrqAyHAnnt8FaRGcOYlgXw==\n-----END PUBLIC KEY-----\n"
)


def authority(name: str = "us", *, may: tuple[str, ...] = ("models",), until: str | None = None) -> Authority:
    key = {"pem": PEM} | ({"notAfter": until} if until else {})
    spec = {"publicKeys": [key], "mayVouchFor": list(may), "jurisdictions": ["DE"]}
    return Authority.read({"metadata": {"name": name}, "spec": spec})


CA = (Path(__file__).parent.parent / "weights/certified/root.pem").read_text()
SIGNERS = [{"subject": "CN=$(HOME),O=Laboratory"}, {"email": "models@laboratory.example"}]


def ca(pem: str = CA, **listed: Any) -> Authority:
    spec = {"certificates": [{"pem": pem, **listed}], "mayVouchFor": ["models"], "jurisdictions": ["DE"]}
    return Authority.read({"metadata": {"name": "us"}, "spec": spec})


def of(source: Any, adapters: Any = (), **said: Any) -> SovereignModel:
    return model(model={"name": "tiny", "source": source, **said}, adapters=list(adapters))


def verifying(served: SovereignModel, authorities: Mapping[str, Authority] | None = None) -> dict[str, Any]:
    """The containers that verify, by name."""
    known = {"us": authority()} if authorities is None else authorities
    init = pod(plan(served, authorities=known))["initContainers"]
    return {each["name"]: each for each in init if each["name"] not in {"seal", "gate"}}


SIGNED = {"authority": "us"}
ARGUMENTS: dict[str, tuple[SovereignModel, dict[str, list[str]]]] = {
    # what is said of the weights → the containers and what tells them from one another
    "an image by digest": (of(IMAGE), {}),
    "an image by tag": (of(BY_TAG), {"verify": []}),
    "a claim": (of(CLAIM), {"verify": []}),
    "a folder of the node": (of(FOLDER), {"verify": []}),
    "an image by digest of which more is said": (of(IMAGE, digest=DIGEST), {"verify": [f"--digest={DIGEST}"]}),
    "a digest": (of(CLAIM, digest=DIGEST), {"verify": [f"--digest={DIGEST}"]}),
    "a manifest": (
        of(CLAIM, manifest={"configMap": "files"}), {"verify": ["--manifest=/verification/model-manifest/SHA256SUMS"]},
    ),
    "a signature beside the files": (
        of(CLAIM, signature=SIGNED), {"verify": ["--signature=/model/model.sig", f"--key={''.join(PEM.split()[3:5])}"]},
    ),
    "a signature in a ConfigMap": (
        of(CLAIM, signature={**SIGNED, "configMap": "sig"}),
        {"verify": ["--signature=/verification/model-signature/model.sig", f"--key={''.join(PEM.split()[3:5])}"]},
    ),
    "an adapter by digest": (
        of(IMAGE, [{"name": "a", "source": CLAIM, "digest": DIGEST}]), {"verify-adapter-0": [f"--digest={DIGEST}"]},
    ),
    "an adapter in an image by digest": (of(IMAGE, [{"name": "a", "source": IMAGE}]), {}),
    "the second of two adapters": (
        of(IMAGE, [{"name": "a", "source": IMAGE}, {"name": "b", "source": CLAIM}]), {"verify-adapter-1": []},
    ),
}  # fmt: skip


PROFILE = {"profile": {"configMap": "shape", "key": "llama.json"}}
BY_PROFILE = "--profile=/verification/model-profile/profile.json"
PROFILED: dict[str, tuple[SovereignModel, list[str]]] = {
    "an image by digest": (of(IMAGE, **PROFILE), ["compare", BY_PROFILE]),
    "an image by tag": (of(BY_TAG, **PROFILE), ["verify", "--weights=safetensors", BY_PROFILE]),
    "a claim of which more is said": (
        of(CLAIM, digest=DIGEST, **PROFILE), ["verify", "--weights=safetensors", f"--digest={DIGEST}", BY_PROFILE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", PROFILED)
def test_a_profile_is_compared_with_the_files_that_are_served(row: str) -> None:
    served, expected = PROFILED[row]
    served = served.model_copy(
        update={"spec": served.spec.model_copy(update={"accelerators": Accelerators(per_replica=0)})}
    )
    found = pod(plan(served, authorities={}))
    (container,) = (each for each in found["initContainers"] if each["name"] == "verify")
    assert container["args"] == ["weights", *expected, "/model"]
    assert {"name": "model-profile", "mountPath": "/verification/model-profile", "readOnly": True} in container[
        "volumeMounts"
    ]
    (volume,) = (each["configMap"] for each in found["volumes"] if each["name"] == "model-profile")
    assert volume == {
        "name": "shape", "items": [{"key": "llama.json", "path": "profile.json"}], "optional": True,
    }  # fmt: skip


def test_of_engines_that_are_not_sized_no_profile_is_compared() -> None:
    served = model(model={"name": "tiny", "source": IMAGE, **PROFILE}, engine={"name": "llama.cpp"})
    offered = [accelerator(offer={"name": "llama.cpp"})]
    assert [each["name"] for each in pod(plan(served, classes=offered))["initContainers"]] == ["seal", "gate"]


@pytest.mark.parametrize("row", ARGUMENTS)
def test_what_was_said_is_what_is_verified(row: str) -> None:
    served, expected = ARGUMENTS[row]
    found = verifying(served)
    assert {name: each["args"][3:-1] for name, each in found.items()} == expected
    for each in found.values():
        assert each["args"][:3] == ["weights", "verify", "--weights=safetensors"]
        assert each["image"] == "weights"
        assert each["args"][-1] == each["volumeMounts"][0]["mountPath"]
        assert all(mount["readOnly"] for mount in each["volumeMounts"])


def test_it_runs_sealed_and_before_the_engine() -> None:
    names = [each["name"] for each in pod(plan(of(CLAIM)))["initContainers"]]
    assert names == ["seal", "verify", "gate"]


def test_a_key_comes_with_the_time_until_which_it_counts() -> None:
    found = verifying(of(CLAIM, signature=SIGNED), {"us": authority(until="2027-01-01T00:00:00Z")})
    told = found["verify"]["args"][-2].removeprefix("--key=")
    assert told.endswith("@2027-01-01T00:00:00Z")
    assert Key.read(told).until is not None


def test_a_ca_comes_with_the_signers_that_count() -> None:
    for listed, named in (([], ()), (SIGNERS, tuple(pair for each in SIGNERS for pair in each.items()))):
        (container,) = verifying(of(CLAIM, signature=SIGNED), {"us": ca(signers=listed)}).values()
        *_, signature, told, _ = container["args"]
        assert signature == "--signature=/model/model.sig"
        assert "$" not in told, "the kubelet reads it as a variable"
        assert read_root(told.removeprefix("--root=")) == root(CA, named)


UNUSABLE = {
    "what is no CA": (CA.replace("MAMBAf8", "MAMBAQA"), [], "spec.certificates[0] cannot be used"),
    "what is no subject": (CA, [{"subject": "models"}], "'models' is no subject"),
}


@pytest.mark.parametrize("row", UNUSABLE)
def test_a_ca_that_nothing_can_lead_to_is_told(row: str) -> None:
    pem, signers, words = UNUSABLE[row]
    verdict = plan(of(CLAIM, signature=SIGNED), authorities={"us": ca(pem, signers=signers)}).verdict
    assert verdict.reason == "AuthorityNotAllowed"
    assert words in verdict.message


def test_config_maps_that_are_missing_do_not_hold_the_pod_back() -> None:
    served = of(CLAIM, manifest={"configMap": "files", "key": "sums"}, signature={**SIGNED, "configMap": "sig"})
    volumes = {each["name"]: each for each in pod(plan(served, authorities={"us": authority()}))["volumes"]}
    assert volumes["model-manifest"]["configMap"] == {
        "name": "files", "items": [{"key": "sums", "path": "SHA256SUMS"}], "optional": True,
    }  # fmt: skip
    assert volumes["model-signature"]["configMap"]["items"] == [{"key": "model.sig", "path": "model.sig"}]


def test_an_authority_that_is_not_there_is_told() -> None:
    verdict = plan(of(CLAIM, signature=SIGNED), authorities={"them": authority("them")}).verdict
    assert verdict.reason == "AuthorityUnknown"
    assert "spec.model.signature.authority names Authority us" in verdict.message
    assert "authorities of this cluster: them" in verdict.message


def test_who_vouches_for_places_does_not_vouch_for_models() -> None:
    adapters = [{"name": "a", "source": CLAIM, "signature": SIGNED}]
    verdict = plan(of(IMAGE, adapters), authorities={"us": authority(may=("place", "origin"))}).verdict
    assert verdict.reason == "AuthorityNotAllowed"
    assert "spec.adapters[a].signature.authority names Authority us" in verdict.message


POLICIES: dict[str, tuple[dict[str, Any], SovereignModel, str]] = {
    "no signature": ({"signedBy": ["us"]}, of(IMAGE), "SignatureRequired"),
    "a signature of another": ({"signedBy": ["them"]}, of(IMAGE, signature=SIGNED), "SignatureRequired"),
    "a signature": ({"signedBy": ["them", "us"]}, of(IMAGE, signature=SIGNED), "Allowed"),
    "an adapter without": (
        {"signedBy": ["us"]}, of(IMAGE, [{"name": "a", "source": IMAGE}], signature=SIGNED), "SignatureRequired",
    ),
    "no licence": ({"licences": ["MIT"]}, of(IMAGE), "LicenceNotAllowed"),
    "another licence": ({"licences": ["MIT"]}, of(IMAGE, licence="MIT-0"), "LicenceNotAllowed"),
    "a listed licence": ({"licences": ["MIT", "Apache-2.0"]}, of(IMAGE, licence="MIT"), "Allowed"),
    "nothing asked": ({}, of(IMAGE), "Allowed"),
}  # fmt: skip


@pytest.mark.parametrize("row", POLICIES)
@pytest.mark.parametrize("mode", ["Enforce", "Warn", "Audit"])
def test_policies_that_are_enforced_choose_signers_and_licences(row: str, mode: str) -> None:
    asked, served, reason = POLICIES[row]
    judging = policy(spec={"mode": mode, "models": {"sources": ["oci://registry.example/"], **asked}})
    found = plan(served, policies=[judging], authorities={"us": authority()}).verdict
    assert found.reason == (reason if mode == "Enforce" else "Allowed")
    if reason not in {"Allowed", found.reason}:
        assert mode != "Enforce"


def replica(*containers: Any, name: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {}, "status": {"initContainerStatuses": list(containers)}}


def state(name: str = "verify", *, last: Any = None, **state: Any) -> dict[str, Any]:
    return {"name": name, "state": state} | ({"lastState": {"terminated": last}} if last else {})


DONE = {"exitCode": 0}
CHANGED = {"exitCode": 1, "message": "x\nFileDiffers: model.safetensors was changed: y\n"}
OTHER = {"exitCode": 1, "message": "ProfileDiffers: the profile was written from another config.json: y"}
SHAPED = of(IMAGE, **PROFILE)
CRASHED = {"exitCode": 1, "message": "Traceback\n  something"}
TOLD = of(CLAIM, digest=DIGEST)
BOTH = of(CLAIM, [{"name": "a", "source": CLAIM, "digest": DIGEST}], digest=DIGEST)
FOUND: dict[str, tuple[SovereignModel, list[Any], str, str]] = {
    "an image by digest": (of(IMAGE), [], "True", "DigestPinned"),
    "an image by digest, with a profile": (SHAPED, [replica(state(terminated=DONE))], "True", "FilesVerified"),
    "an image by digest, with the profile of another": (
        SHAPED, [replica(state(terminated=OTHER))], "False", "ProfileDiffers",
    ),
    "an image by digest, with a profile that is not compared yet": (SHAPED, [replica()], "Unknown", "Verifying"),
    "a claim, with a profile alone": (
        of(CLAIM, **PROFILE), [replica(state(terminated=DONE))], "Unknown", "NotVerified",
    ),
    "no pods": (TOLD, [], "Unknown", "NoPods"),
    "not begun": (TOLD, [replica()], "Unknown", "Verifying"),
    "reading": (TOLD, [replica(state(running={}))], "Unknown", "Verifying"),
    "read": (TOLD, [replica(state(terminated=DONE))], "True", "FilesVerified"),
    "read by one of two": (TOLD, [replica(state(terminated=DONE)), replica(name="b")], "Unknown", "Verifying"),
    "only the model was read": (BOTH, [replica(state(terminated=DONE))], "Unknown", "Verifying"),
    "all was read": (
        BOTH, [replica(state(terminated=DONE), state("verify-adapter-0", terminated=DONE))], "True", "FilesVerified",
    ),
    "changed": (TOLD, [replica(state(terminated=CHANGED))], "False", "FileDiffers"),
    "changed, and read again": (TOLD, [replica(state(running={}, last=CHANGED))], "False", "FileDiffers"),
    "changed, and put right": (TOLD, [replica(state(terminated=DONE, last=CHANGED))], "True", "FilesVerified"),
    "changed for one of two": (
        TOLD, [replica(state(terminated=DONE)), replica(state(waiting={}, last=CHANGED), name="b")],
        "False", "FileDiffers",
    ),
    "a crash says nothing of the files": (TOLD, [replica(state(terminated=CRASHED))], "Unknown", "Verifying"),
    "nobody said what they hold": (of(CLAIM), [replica(state(terminated=DONE))], "Unknown", "NotVerified"),
    "a pickle, whatever nobody said": (of(CLAIM), [replica(state(terminated=CHANGED))], "False", "FileDiffers"),
}  # fmt: skip


@pytest.mark.parametrize("row", FOUND)
def test_the_condition_says_what_replicas_found(row: str) -> None:
    served, pods, status, reason = FOUND[row]
    found = verified(served, pods)
    assert (found.status, found.reason) == (status, reason)
    if reason == "FileDiffers":
        assert found.message.endswith(": model.safetensors was changed: y")
    if reason == "NotVerified":
        assert "spec.model.source" in found.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, "FilesVerified"),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}, "Verifying"),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, "Verifying"),
    ],
)
def test_what_replicas_of_before_compared_says_nothing_of_what_is_said_now(status: Any, reason: str) -> None:
    """They may have been told another digest, or none; and the new ones may wait for a node for ever."""
    pods = [replica(state(terminated=DONE), name=name) for name in ("a", "b")[: status["replicas"]]]
    deployment = {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    seen = Seen(manifest={"metadata": {}}, deployment=deployment, pods=pods, facts={}, outside={}, failure=None)
    told = {each["type"]: each for each in summarise(TOLD, plan(TOLD), seen, now=NOW)["conditions"]}
    assert told["Verified"]["reason"] == reason


def test_the_trouble_of_a_replica_is_the_same_reason() -> None:
    deployment = {"metadata": {}, "spec": {"replicas": 1}, "status": {}}
    found = trouble_of(deployment, [replica(state(terminated=CHANGED))])
    assert found is not None
    assert found.reason == "FileDiffers"
    assert found.message == "container verify of pod a refuses the weights: model.safetensors was changed: y"
    crashed = trouble_of(deployment, [replica(state(terminated=CRASHED))])
    assert crashed is not None
    assert crashed.reason == "CrashLoopBackOff"
