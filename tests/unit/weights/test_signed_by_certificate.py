"""Signatures by certificate against the CAs that an Authority lists: what counts, what does not, and by which words."""

from __future__ import annotations

import json
import shutil
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.cli import main
from bailiwick.evidence.certificates import root
from bailiwick.evidence.dsse import EvidenceError, pre_authentication_encoding
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.signature import Key, read_root, signed_files
from bailiwick.weights.verification import Expected, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from bailiwick.evidence.certificates import Root

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
CERTIFIED = HERE / "certified"
"""What model-signing 1.1.1 signed: `model_signing sign certificate tiny --signature tiny.sig --private_key KEY
--signing_certificate LEAF --certificate_chain CHAIN`; tiny.sig through a CA between, tiny-p384.sig without one."""
ROOT = "".join((CERTIFIED / "root.pem").read_text().split("-----")[2].split())
KEY = "".join((HERE / "signed" / "pub.pem").read_text().split("-----")[2].split())
CODE = [ExtendedKeyUsageOID.CODE_SIGNING]
SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
ANY = [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]
SUBJECT = "CN=Model signing,O=Example Laboratory"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the folder that was signed, without a signature beside the files."""
    return Path(shutil.copytree(HERE / "signed" / "tiny", tmp_path / "tiny", ignore=lambda *_: {"model.sig"}))


def check(folder: Path, signature: Path, *roots: Root, keys: tuple[Key, ...] = (), now: datetime = NOW) -> None:
    verify(folder, Expected(signature=signature, roots=roots, keys=keys), now)


def refusal(folder: Path, signature: Path, *roots: Root, now: datetime = NOW) -> WeightsError:
    with pytest.raises(WeightsError) as refused:
        check(folder, signature, *roots, now=now)
    return refused.value


@pytest.mark.parametrize("name", ["tiny.sig", "tiny-p384.sig"])
def test_what_the_reference_implementation_signed_passes(tiny: Path, name: str) -> None:
    check(tiny, CERTIFIED / name, read_root(ROOT))


def test_a_key_beside_it_changes_nothing(tiny: Path) -> None:
    check(tiny, CERTIFIED / "tiny.sig", read_root(ROOT), keys=(Key.read(KEY),))
    check(tiny, HERE / "signed" / "tiny" / "model.sig", read_root(ROOT), keys=(Key.read(KEY),))


def test_one_changed_bit_is_refused(tiny: Path) -> None:
    content = bytearray((tiny / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tiny / "model.safetensors").write_bytes(content)
    assert refusal(tiny, CERTIFIED / "tiny.sig", read_root(ROOT)).reason == "FileDiffers"


def test_a_signature_by_certificate_needs_a_listed_ca(tiny: Path) -> None:
    refused = refusal(tiny, CERTIFIED / "tiny.sig")
    assert refused.reason == "SignatureInvalid"
    assert "the Authority lists none (spec.certificates)" in refused.message


def test_a_signature_by_a_strange_key_is_not_saved_by_a_ca(tiny: Path) -> None:
    refused = refusal(tiny, HERE / "signed" / "tiny" / "model.sig", read_root(ROOT))
    assert refused.reason == "SignatureInvalid"
    assert "none of the 0 keys" in refused.message


SIGNERS: dict[str, tuple[dict[str, str], bool]] = {
    "the subject": ({"subject": SUBJECT}, True),
    "the subject, in another order": ({"subject": "O=Example Laboratory,CN=Model signing"}, False),
    "a part of the subject": ({"subject": "CN=Model signing"}, False),
    "the address": ({"email": "models@laboratory.example"}, True),
    "another address": ({"email": "people@laboratory.example"}, False),
    "the address as a URI": ({"uri": "models@laboratory.example"}, False),
    "the URI": ({"uri": "https://laboratory.example/models"}, True),
    "the beginning of the URI": ({"uri": "https://laboratory.example/"}, False),
}


@pytest.mark.parametrize("row", SIGNERS)
def test_listed_signers_alone_count(tiny: Path, row: str) -> None:
    listed, counts = SIGNERS[row]
    if counts:
        check(tiny, CERTIFIED / "tiny.sig", read_root(f"{ROOT}@{json.dumps([{'email': 'a@b.example'}, listed])}"))
        return
    refused = refusal(tiny, CERTIFIED / "tiny.sig", read_root(f"{ROOT}@{json.dumps([listed])}"))
    assert refused.reason == "SignerNotListed"
    (value,) = listed.values()
    assert f"{value} was expected, seen subject {SUBJECT}, email models@laboratory.example" in refused.message


def test_a_chain_counts_while_it_is_valid(tiny: Path) -> None:
    signature, trusted = CERTIFIED / "tiny.sig", read_root(ROOT)
    check(tiny, signature, trusted, now=datetime(2076, 10, 31, tzinfo=UTC))
    for now in (datetime(2026, 10, 31, tzinfo=UTC), datetime(2076, 11, 2, tzinfo=UTC)):
        refused = refusal(tiny, signature, trusted, now=now)
        assert refused.reason == "CertificateExpired"
        assert "counts from 2026-11-01T00:00:00Z until 2076-11-01T00:00:00Z" in refused.message


@dataclass(frozen=True)
class Holder:
    """A key and its certificate."""

    key: Any
    certificate: x509.Certificate


def certified(
    name: str,
    by: Holder | None = None,
    *,
    ca: bool | None = False,
    signs: bool = True,
    certifies: bool = False,
    usages: Any = CODE,
    until: datetime = END,
    key: Any = None,
    depth: int | None = None,
) -> Holder:
    """What somebody was given; by itself where ``by`` is absent."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(
        by.certificate.subject if by else subject, subject, key.public_key(), x509.random_serial_number(), BEGIN, until
    )
    if ca is not None:
        made = made.add_extension(x509.BasicConstraints(ca, depth), critical=True)
    if signs or certifies:
        usage = x509.KeyUsage(
            signs, False, False, False, False, certifies, certifies, False, False
        )  # fmt: skip
        made = made.add_extension(usage, critical=True)
    if usages:
        made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Holder(key, made.sign(by.key if by else key, SHA256()))


def authority(name: str, by: Holder | None = None, **more: Any) -> Holder:
    return certified(name, by, **{"ca": True, "signs": False, "certifies": True, "usages": None, **more})


def trust(holder: Holder) -> Root:
    return root(holder.certificate.public_bytes(Encoding.PEM).decode())


def bundle(chain: list[Holder], signer: Holder | None = None) -> dict[str, Any]:
    """The list of files that the reference implementation wrote, signed anew."""
    read = json.loads((CERTIFIED / "tiny.sig").read_text())
    envelope = read["dsseEnvelope"]
    message = pre_authentication_encoding(envelope["payloadType"], b64decode(envelope["payload"]))
    key = (signer or chain[0]).key
    signature = key.sign(message, ec.ECDSA(SHA256())) if isinstance(key, ec.EllipticCurvePrivateKey) else b"x" * 64
    written = [{"rawBytes": b64encode(each.certificate.public_bytes(Encoding.DER)).decode()} for each in chain]
    return {
        **read,
        "verificationMaterial": {"x509CertificateChain": {"certificates": written}},
        "dsseEnvelope": {**envelope, "signatures": [{"sig": b64encode(signature).decode()}]},
    }


TOP = authority("Top")
BETWEEN = authority("Between", TOP)
SIGNER = certified("Signer", BETWEEN)
NO_CA = certified("No CA", TOP, ca=False, certifies=True, usages=None)
UNSAID = certified("Unsaid", TOP, ca=None, certifies=True, usages=None)
NOT_FOR_ISSUING = authority("Not for issuing", TOP, signs=True, certifies=False)
FOR_SERVERS = authority("For servers", TOP, usages=SERVER)
FOR_ANYTHING = authority("For anything", TOP, usages=ANY)
ENDED = authority("Ended", TOP, until=datetime(2026, 6, 1, tzinfo=UTC))
NONE_BELOW = authority("None below", depth=0)
BELOW = authority("Below", NONE_BELOW)

PASSING: dict[str, tuple[list[Holder], Holder]] = {
    "through a CA between": ([SIGNER, BETWEEN], TOP),
    "with its root, and others": ([SIGNER, authority("Strange"), TOP, BETWEEN], TOP),
    "to a CA between that is listed": ([SIGNER], BETWEEN),
    "through a CA for anything": ([certified("x", FOR_ANYTHING), FOR_ANYTHING], TOP),
    "by one that says nothing of being a CA": ([certified("x", TOP, ca=None)], TOP),
    "by a CA with an RSA key": (
        [certified("x", rsa_ca := authority("RSA", key=rsa.generate_private_key(65537, 2048)))], rsa_ca,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", PASSING)
def test_a_chain_that_leads_to_a_listed_ca_passes(tiny: Path, row: str) -> None:
    chain, to = PASSING[row]
    (tiny / "model.sig").write_text(json.dumps(bundle(chain)))
    check(tiny, tiny / "model.sig", trust(authority("Another")), trust(to))


NOT_FOR_CODE = "not for signing code (codeSigning"
REFUSED: dict[str, tuple[dict[str, Any], Holder, str, str]] = {
    # the bundle, the CA that is listed, reason, words
    "another root of the same name": (bundle([SIGNER, BETWEEN]), authority("Top"), "SignatureInvalid", "not lead to"),
    "a CA between that did not come with it": (bundle([SIGNER]), TOP, "SignatureInvalid", "does not lead to CN=Top"),
    "another CA between of the same name": (
        bundle([SIGNER, authority("Between", TOP)]), TOP, "SignatureInvalid", "does not lead to",
    ),
    "the chain the other way round": (
        bundle([BETWEEN, SIGNER], SIGNER), TOP, "SignatureInvalid", "certificate did not make",
    ),
    "a CA that signs itself": (bundle([BETWEEN]), TOP, "SignatureInvalid", "is of a CA (CA:TRUE"),
    "a root that signs itself": (bundle([TOP]), TOP, "SignatureInvalid", "is of a CA (CA:TRUE"),
    "a CA that could sign": (
        bundle([authority("x", TOP, signs=True, usages=CODE)]), TOP, "SignatureInvalid", "is of a CA (CA:TRUE",
    ),
    "an issuer that is no CA": (bundle([certified("x", NO_CA), NO_CA]), TOP, "SignatureInvalid", "basicConstraints"),
    "an issuer that does not say": (
        bundle([certified("x", UNSAID), UNSAID]), TOP, "SignatureInvalid", "no basicConstraints",
    ),
    "an issuer that may not issue": (
        bundle([certified("x", NOT_FOR_ISSUING), NOT_FOR_ISSUING]), TOP, "SignatureInvalid", "keyCertSign in keyUsage",
    ),
    "a CA for servers": (bundle([certified("x", FOR_SERVERS), FOR_SERVERS]), TOP, "SignatureInvalid", NOT_FOR_CODE),
    "a CA below one that has none below": (
        bundle([certified("x", BELOW), BELOW]), NONE_BELOW, "SignatureInvalid", "path length",
    ),
    "a certificate for servers": (bundle([certified("x", TOP, usages=SERVER)]), TOP, "SignatureInvalid", NOT_FOR_CODE),
    "a certificate for anything": (bundle([certified("x", TOP, usages=ANY)]), TOP, "SignatureInvalid", NOT_FOR_CODE),
    "a certificate for nothing": (bundle([certified("x", TOP, usages=None)]), TOP, "SignatureInvalid", NOT_FOR_CODE),
    "a certificate that may not sign": (
        bundle([certified("x", TOP, signs=False)]), TOP, "SignatureInvalid", "digitalSignature in keyUsage",
    ),
    "a certificate that may issue": (
        bundle([certified("x", TOP, certifies=True)]), TOP, "SignatureInvalid", "keyCertSign in keyUsage",
    ),
    "a signer's that ended": (
        bundle([certified("x", TOP, until=ENDED.certificate.not_valid_after_utc)]), TOP, "CertificateExpired",
        "until 2026-06-01T00:00:00Z, and it is 2026-11-21T00:00:00Z",
    ),
    "a CA's that ended": (
        bundle([certified("x", ENDED), ENDED]), TOP, "CertificateExpired", "one of its chain until 2026-06-01T00:00:00Z"
    ),
    "a root's that ended": (bundle([certified("x", ENDED)]), ENDED, "CertificateExpired", "one of its chain until"),
    "another's signature": (bundle([SIGNER, BETWEEN], BETWEEN), TOP, "SignatureInvalid", "certificate did not make"),
    "a signer with an RSA key": (
        bundle([certified("x", TOP, key=rsa.generate_private_key(65537, 2048))]), TOP, "SignatureInvalid", "ECDSA on",
    ),
    "a signer with an ed25519 key": (
        bundle([certified("x", TOP, key=ed25519.Ed25519PrivateKey.generate())]), TOP, "SignatureInvalid", "ECDSA on",
    ),
    "too many": (bundle([SIGNER, BETWEEN, *[TOP] * 7]), TOP, "SignatureInvalid", "9 certificates came with it"),
    "certificates that are none": (
        {**bundle([SIGNER]), "verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}}, TOP, "SignatureInvalid",
        "cannot be read",
    ),
    "certificates in no base64": (
        {**bundle([SIGNER]), "verificationMaterial": {"certificate": {"rawBytes": "?"}}}, TOP, "SignatureInvalid",
        "is not base64",
    ),
    "no certificates": (
        {**bundle([SIGNER]), "verificationMaterial": {"x509CertificateChain": {"certificates": []}}}, TOP,
        "SignatureInvalid", "none of the 0 keys",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_a_chain_that_should_not_count_is_refused(tiny: Path, row: str) -> None:
    forged, to, reason, words = REFUSED[row]
    (tiny / "model.sig").write_text(json.dumps(forged))
    refused = refusal(tiny, tiny / "model.sig", trust(to))
    assert (refused.reason, words in refused.message) == (reason, True), refused.message


def _a_byte_of_the_list(read: Any) -> None:
    payload = bytearray(b64decode(read["dsseEnvelope"]["payload"]))
    payload[-3] ^= 1
    read["dsseEnvelope"]["payload"] = b64encode(payload).decode()


def _a_byte_of_a_certificate(read: Any) -> None:
    held = read["verificationMaterial"]["x509CertificateChain"]["certificates"][1]
    content = bytearray(b64decode(held["rawBytes"]))
    content[-1] ^= 1
    held["rawBytes"] = b64encode(content).decode()


@pytest.mark.parametrize("change", [_a_byte_of_the_list, _a_byte_of_a_certificate])
def test_a_changed_byte_is_refused(tiny: Path, change: Callable[[Any], None]) -> None:
    read = json.loads((CERTIFIED / "tiny.sig").read_text())
    change(read)
    (tiny / "model.sig").write_text(json.dumps(read))
    assert refusal(tiny, tiny / "model.sig", read_root(ROOT)).reason == "SignatureInvalid"


LISTED = signed_files((CERTIFIED / "tiny.sig").read_bytes(), (), NOW, roots=[read_root(ROOT)])


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_no_changed_byte_of_a_bundle_changes_what_it_lists(at: int, value: int) -> None:
    content = bytearray((CERTIFIED / "tiny.sig").read_bytes())
    content[at % len(content)] = value
    try:
        assert signed_files(bytes(content), (), NOW, roots=[read_root(ROOT)]) == LISTED
    except WeightsError as error:
        assert error.reason == "SignatureInvalid"  # noqa: PT017 - or nothing was changed that counts


UNUSABLE: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "no certificate": ("x", [], "not one X.509 certificate"),
    "two": ((CERTIFIED / "root.pem").read_text() * 2, [], "not one X.509 certificate"),
    "a signer's": (SIGNER.certificate.public_bytes(Encoding.PEM).decode(), [], "CN=Signer is not of a CA"),
    "one that does not say": (UNSAID.certificate.public_bytes(Encoding.PEM).decode(), [], "CN=Unsaid is not of a CA"),
    "a subject that is none": ((CERTIFIED / "root.pem").read_text(), [("subject", "me")], "'me' is no subject"),
}


@pytest.mark.parametrize("row", UNUSABLE)
def test_what_could_never_be_led_to_is_refused_when_it_is_listed(row: str) -> None:
    pem, signers, words = UNUSABLE[row]
    with pytest.raises(EvidenceError, match=words):
        root(pem, signers)


def test_the_command_takes_a_ca_and_its_signers(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for subject, code in ((SUBJECT, 0), ("CN=Somebody", 1)):
        listed = json.dumps([{"subject": subject}])
        signature = ("--signature", str(CERTIFIED / "tiny.sig"), "--root", f"{ROOT}@{listed}")
        monkeypatch.setattr(sys, "argv", ["bailiwick", "weights", "verify", *signature, str(tiny)])
        assert main() == code
    assert capsys.readouterr().err.startswith("SignerNotListed: subject CN=Somebody was expected")
