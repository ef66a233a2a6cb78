"""`bailiwick statement`: what it prints, how it ends, and that no key gets out."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.cli import main
from tests.unit.api.objects import CERTIFICATE
from tests.unit.evidence.keys import EDWARDS, KEYS, P256, pem_of, written

if TYPE_CHECKING:
    from pathlib import Path

API = "bailiwick.dev/v1alpha1"
STATEMENT = """
apiVersion: bailiwick.dev/v1alpha1
kind: NodeStatement
metadata: {name: gpu-1, annotations: {ticket: "7"}}
spec:
  node: {name: gpu-1, machineID: m1, providerID: "aws:///us-east-1a/i-0123456789abcdef0"}
  place: {jurisdiction: DE-HE, site: Zürich Straße 1}
  issuedAt: 2026-11-01T00:00:00Z
  expiresAt: 2096-11-01T00:00:00+01:00
"""


class Desk:
    """A folder with a statement, keys and an Authority, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        self.statement = self.put("statement.yaml", STATEMENT)
        self.key = self.put("key.pem", written(EDWARDS).decode())
        self.authority = self.authorise()

    def put(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    def authorise(self, **spec: Any) -> str:
        whole = {
            "publicKeys": [{"pem": pem_of(key)} for key in KEYS],
            "mayVouchFor": ["place"],
            "jurisdictions": ["DE"],
            **spec,
        }
        return self.put(
            "authority.yaml", {"apiVersion": API, "kind": "Authority", "metadata": {"name": "site"}, "spec": whole}
        )

    def node(self, name: str = "gpu-1", machine: str = "m1") -> str:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": {"providerID": "aws:///us-east-1a/i-0123456789abcdef0"},
            "status": {"nodeInfo": {"machineID": machine}},
        }
        return self.put("node.yaml", node)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["bailiwick", "statement", *arguments])
        code = main()
        out, err = self._capsys.readouterr()
        for key in KEYS:
            for line in written(key).decode().splitlines()[1:-1]:
                assert line not in out + err
        return code, out, err

    def sign(self, *more: str) -> str:
        code, out, err = self.run("sign", "--key", self.key, "--authority", "site", *more, self.statement)
        assert (code, err) == (0, "")
        return self.put("signed.yaml", out)

    def verify(self, signed: str, *more: str) -> tuple[int, str, str]:
        return self.run("verify", "--authority", self.authority, *more, signed)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "P-256"])
def test_what_is_signed_verifies(desk: Desk, key: Any) -> None:
    desk.key = desk.put("key.pem", written(key).decode())
    verdict = (0, "place: DE-HE is Verified by NodeStatement gpu-1, signed by Authority site\n", "")
    signed = desk.sign("--keyid", "first")
    assert desk.verify(signed) == verdict
    code, told, _ = desk.verify(signed, "--node", desk.node())
    assert code == 0
    assert "prevails over US (Asserted by providerID: aws us-east-1)" in told


def test_a_signed_statement_keeps_what_it_was(desk: Desk) -> None:
    with open(desk.sign()) as file:  # noqa: PTH123 - a path as the command takes it
        signed = yaml.safe_load(file)
    assert signed["metadata"] == {"name": "gpu-1", "annotations": {"ticket": "7"}}
    assert signed["spec"]["authority"] == "site"
    assert signed["spec"]["place"]["site"] == "Zürich Straße 1"
    assert signed["spec"]["expiresAt"] == "2096-11-01T00:00:00+01:00", "text, as a cluster takes it"


def test_a_signed_statement_can_be_signed_again(desk: Desk) -> None:
    desk.statement = desk.sign()
    desk.key = desk.put("key.pem", written(P256).decode())
    code, out, _ = desk.run("sign", "--key", desk.key, desk.statement)
    assert code == 0
    assert len(yaml.safe_load(out)["spec"]["envelope"]["signatures"]) == 1
    assert desk.verify(desk.put("again.yaml", out))[0] == 0


def test_groups_are_known_by_their_manifests(desk: Desk) -> None:
    desk.authority = desk.authorise(jurisdictions=["EU"])
    signed = desk.sign()
    code, told, _ = desk.verify(signed)
    assert code == 1
    assert "AuthorityNotAllowed" in told
    group = {
        "apiVersion": API,
        "kind": "Jurisdiction",
        "metadata": {"name": "eu"},
        "spec": {"members": ["DE"], "asOf": "2026-01-01", "source": "a treaty"},
    }
    assert desk.verify(signed, "--jurisdictions", desk.put("eu.yaml", group))[0] == 0


def test_what_does_not_count_ends_with_1_and_the_reason(desk: Desk) -> None:
    signed = desk.sign()
    assert desk.verify(desk.statement) == (1, "NodeStatement gpu-1 is not signed, so it is Declared\n", "")
    rows = {
        "IdentityMismatch": desk.verify(signed, "--node", desk.node(machine="m2")),
        "IdentityMismatch: the statement is about node gpu-1, not gpu-2": desk.verify(
            signed, "--node", desk.node("gpu-2")
        ),
    }
    with open(signed) as file:  # noqa: PTH123 - a path as the command takes it
        changed = desk.put("changed.yaml", file.read().replace("DE-HE", "DE-BY"))
    rows["PayloadDiffers"] = desk.verify(changed)
    desk.authority = desk.authorise(publicKeys=[{"pem": pem_of(P256)}])
    rows["SignatureInvalid"] = desk.verify(signed)
    desk.authority = desk.authorise(publicKeys=[{"pem": pem_of(EDWARDS), "notAfter": "2026-01-01T00:00:00Z"}])
    rows["KeyExpired"] = desk.verify(signed)
    desk.authority = desk.authorise(assurance="Declared")
    rows["place: DE-HE is no more than Declared"] = desk.verify(signed)
    for reason, (code, told, _) in rows.items():
        assert code == 1, reason
        assert reason in told


def test_a_statement_about_an_endpoint_is_signed_and_verified_alike(desk: Desk) -> None:
    server = {
        "address": "192.0.2.7", "port": 8443, "serverName": "mac-1.models.example", "certificateAuthority": CERTIFICATE,
    }  # fmt: skip
    times = {"issuedAt": "2026-11-01T00:00:00Z", "expiresAt": "2096-11-01T00:00:00Z"}
    spec = {"endpoint": server, "place": {"jurisdiction": "DE-HE"}, **times}
    desk.statement = desk.put(
        "endpoint.yaml", {"apiVersion": API, "kind": "EndpointStatement", "metadata": {"name": "mac-1"}, "spec": spec}
    )
    signed = desk.sign()
    assert desk.verify(signed) == (
        0, "place: DE-HE is Verified by EndpointStatement mac-1, signed by Authority site\n", "",
    )  # fmt: skip
    assert desk.verify(desk.statement)[:2] == (1, "EndpointStatement mac-1 is not signed, so it is Declared\n")
    with open(signed) as file:  # noqa: PTH123 - a path as the command takes it
        moved = desk.put("moved.yaml", file.read().replace("192.0.2.7", "192.0.2.8"))
    assert "PayloadDiffers" in desk.verify(moved)[1]
    code, _, err = desk.verify(signed, "--node", desk.node())
    assert (code, "leave --node out" in err) == (2, True)


def test_what_cannot_be_used_ends_with_2_and_a_sentence(desk: Desk) -> None:
    unbound = desk.put("unbound.yaml", STATEMENT.replace("machineID", "unknown").replace("providerID", "nothing"))
    rows = {
        "names no Authority; give --authority NAME": ("sign", "--key", desk.key, desk.statement),
        "cannot be read: No such file": ("sign", "--key", "absent.pem", "--authority", "a", desk.statement),
        "not a private key in PEM": ("sign", "--key", desk.statement, "--authority", "a", desk.statement),
        "names a node but no machine": ("sign", "--key", desk.key, "--authority", "a", unbound),
        "longer than a NodeStatement": (
            "sign", "--key", desk.key, "--authority", "a", "--keyid", "k" * 300, desk.statement,
        ),
        "spec.authority: must be the name": ("sign", "--key", desk.key, "--authority", "A B", desk.statement),
        "spec.place.jurisdiction: must be a country": (
            "sign", "--key", desk.key, "--authority", "a", desk.put("eu.yaml", STATEMENT.replace("DE-HE", "EU")),
        ),
        "holds 0 objects NodeStatement or Endpoint": ("sign", "--key", desk.key, "--authority", "a", desk.authority),
        "is not YAML": ("sign", "--key", desk.key, "--authority", "a", desk.put("x", "a: [")),
        "holds 0 objects Authority": ("verify", "--authority", desk.statement, desk.statement),
    }  # fmt: skip
    for sentence, arguments in rows.items():
        code, out, err = desk.run(*arguments)
        assert (code, out) == (2, ""), sentence
        assert err.startswith("bailiwick statement: ")
        assert sentence in err


def test_the_command_is_found_in_a_process_of_its_own(desk: Desk) -> None:
    command = [sys.executable, "-m", "bailiwick.cli", "statement"]
    asked = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True)
    assert "sign" in asked.stdout
    wrong = subprocess.run([*command, "sign"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
