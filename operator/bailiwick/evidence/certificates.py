"""Certificates of signers: whether one leads to a root that is trusted, is for signing code, and counts now. Offline.

Sources: RFC 5280 (path validation, done by the cryptography package's verifier); OpenSSF Model Signing 1.1.1,
`model_signing/_signing/sign_certificate.py`, whose signatures the tests verify. There is no trusted time of signing
without a log or a timestamp, so a chain counts while it is valid, and not as of a day that the signer chose.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from bailiwick.evidence.dsse import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.hashes import HashAlgorithm
    from cryptography.x509.verification import Policy

_HASHES: Final[dict[str, HashAlgorithm]] = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}
"""What signers of this format hash with, by the curve of their key."""
_KINDS = "ECDSA on P-256, P-384 or P-521"
_DEEPEST = 4
_EMAIL = {NameOID.EMAIL_ADDRESS: "emailAddress"}


class ExpiredError(EvidenceError):
    """Everything is as it should be but the day."""


class UnlistedError(EvidenceError):
    """A good certificate, of somebody who was not asked for."""


@dataclass(frozen=True, slots=True)
class Named:
    """An identity that the certificate of a signer must have. ``kind`` is subject, email or uri."""

    kind: str
    value: str

    def of(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate has it."""
        if self.kind == "subject":
            return _told(certificate.subject) == _told(_name(self.value))
        kind = x509.RFC822Name if self.kind == "email" else x509.UniformResourceIdentifier
        return self.value in _alternatives(certificate, kind)

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class Root:
    """A CA that is trusted, and the signers of it that count; none listed: whoever it certified for signing code."""

    certificate: x509.Certificate
    signers: tuple[Named, ...] = ()


def root(pem: str, signers: Sequence[tuple[str, str]] = ()) -> Root:
    """A trusted CA of one certificate in PEM; raises EvidenceError for what is none, or could never match."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError("not one X.509 certificate in PEM; give the certificate of the CA") from error
    if constraints is None or not constraints.ca:
        raise EvidenceError(
            f"the certificate of {certificate.subject.rfc4514_string()} is not of a CA (CA:TRUE in basicConstraints); "
            f"give the one of the CA that issues the signers' certificates"
        )
    named = tuple(Named(kind, value) for kind, value in signers)
    for each in named:
        if each.kind == "subject":
            _name(each.value)
    return Root(certificate, named)


def chain_of(certificates: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The signer's certificate and those that came with it, from DER; raises EvidenceError."""
    try:
        return tuple(x509.load_der_x509_certificate(each) for each in certificates)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError("a certificate of the signature cannot be read") from error


def decoded(text: str) -> bytes:
    """Base64 as bundles hold it; raises EvidenceError."""
    try:
        return b64decode(text, validate=True)
    except (NotBase64, TypeError) as error:
        raise EvidenceError("a certificate of the signature is not base64") from error


def signed_by(certificate: x509.Certificate, message: bytes, signature: bytes) -> bool:
    """Whether a signature over a message is by a certificate's key; raises EvidenceError for other kinds of key."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    hashed = _HASHES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if not isinstance(key, ec.EllipticCurvePublicKey) or hashed is None:
        raise EvidenceError(f"{_who(certificate)} has a key of another kind than {_KINDS}")
    try:
        key.verify(signature, message, ec.ECDSA(hashed))
    except InvalidSignature:
        return False
    return True


def trusted(chain: Sequence[x509.Certificate], roots: Sequence[Root], now: datetime) -> None:
    """The first of a chain leads to a root that is trusted, at this time, and is of a signer that counts.

    Raises ExpiredError, UnlistedError or EvidenceError.
    """
    leaf = chain[0]
    found = [each for each in roots if _leads(chain, each, now) is None]
    if not found:
        raise _refusal(chain, roots, now)
    if not any(not each.signers or any(signer.of(leaf) for signer in each.signers) for each in found):
        wanted = ", ".join(str(signer) for each in found for signer in each.signers)
        raise UnlistedError(f"{wanted} was expected, seen {_all_names(leaf)}")


def _refusal(chain: Sequence[x509.Certificate], roots: Sequence[Root], now: datetime) -> EvidenceError:
    leaf = chain[0]
    begun = leaf.not_valid_before_utc
    if any(_leads(chain, each, begun) is None for each in roots):
        until = min(each.not_valid_after_utc for each in (*chain, *(each.certificate for each in roots)))
        span = f"{begun:%Y-%m-%dT%H:%M:%SZ} until {leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        chained = f", and one of its chain until {until:%Y-%m-%dT%H:%M:%SZ}" if until < leaf.not_valid_after_utc else ""
        return ExpiredError(f"{_who(leaf)} counts from {span}{chained}, and it is {now:%Y-%m-%dT%H:%M:%SZ}")
    whys = {why for each in roots if (why := _leads(chain, each, now))}
    trusts = ", ".join(each.certificate.subject.rfc4514_string() for each in roots)
    return EvidenceError(f"{_who(leaf)} does not lead to {trusts}: {'; '.join(sorted(whys))}")


def _leads(chain: Sequence[x509.Certificate], to: Root, at: datetime) -> str | None:
    """None when the chain leads to a root at some time; else why not."""
    verifier = (
        PolicyBuilder()
        .store(Store([to.certificate]))
        .time(at)
        .max_chain_depth(_DEEPEST)
        .extension_policies(ca_policy=_CA, ee_policy=_SIGNER)
        .build_client_verifier()
    )
    try:
        verifier.verify(chain[0], list(chain[1:]))
    except (VerificationError, ValueError) as error:
        return _shortened(str(error))
    return None


_ABOUT = re.compile(r"validation failed: |candidates exhausted: |Python extension validator failed: ValueError: ")
_MOST = 300


def _shortened(error: str) -> str:
    """What the verifier says, without the words that it has about every failure."""
    return _ABOUT.sub("", error).partition(" (encountered processing")[0].strip()[:_MOST]


def _signs_code(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    # Any purpose is none in particular: certificates for servers and people must not sign models by accident.
    if usage is None or ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise ValueError("a certificate is not for signing code (codeSigning in extendedKeyUsage)")


def _may_sign_code(policy: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
        _signs_code(policy, certificate, usage)


def _signs(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is None or not usage.digital_signature:
        raise ValueError("the signer's certificate is not for signatures (digitalSignature in keyUsage)")
    if usage.key_cert_sign:
        raise ValueError("the signer's certificate is for issuing others (keyCertSign in keyUsage)")


def _certifies(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is None or not usage.key_cert_sign:
        raise ValueError("an issuer's certificate is not for issuing others (keyCertSign in keyUsage)")


def _is_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is None or not constraints.ca:
        raise ValueError("an issuer's certificate is not of a CA (CA:TRUE in basicConstraints)")


def _is_no_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("the signer's certificate is of a CA (CA:TRUE in basicConstraints)")


_SIGNER = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _signs_code)
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_ca)
)
_CA = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_ca)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _certifies)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_sign_code)
)


def _name(text: str) -> x509.Name:
    try:
        return x509.Name.from_rfc4514_string(text, {name: oid for oid, name in _EMAIL.items()})
    except ValueError as error:
        raise EvidenceError(
            f"{text!r} is no subject; give it as `openssl x509 -noout -subject -nameopt RFC2253` writes it"
        ) from error


def _told(name: x509.Name) -> list[frozenset[tuple[str, str | bytes]]]:
    """What a name says, whatever kinds of string it says it in."""
    return [frozenset((each.oid.dotted_string, each.value) for each in part) for part in name.rdns]


def _alternatives(
    certificate: x509.Certificate, kind: type[x509.RFC822Name | x509.UniformResourceIdentifier]
) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(kind)


def _all_names(certificate: x509.Certificate) -> str:
    named = [
        f"subject {certificate.subject.rfc4514_string(_EMAIL)}",
        *(f"email {each}" for each in _alternatives(certificate, x509.RFC822Name)),
        *(f"uri {each}" for each in _alternatives(certificate, x509.UniformResourceIdentifier)),
    ]
    return ", ".join(named)


def _who(certificate: x509.Certificate) -> str:
    return f"the certificate of {certificate.subject.rfc4514_string(_EMAIL) or 'nobody'}"
