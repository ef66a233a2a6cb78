"""Signatures of OpenSSF Model Signing (OMS), version 1.0: a Sigstore bundle whose DSSE envelope holds a list of files.

Verified with keys and certificates of CAs alone, offline. Source: sigstore/model-transparency,
`model_signing/_signing/signing.py` at 1.1.1, whose own signatures the tests verify.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self

from bailiwick.evidence.certificates import (
    ExpiredError,
    Root,
    UnlistedError,
    chain_of,
    decoded,
    root,
    signed_by,
    trusted,
)
from bailiwick.evidence.dsse import EvidenceError, pre_authentication_encoding, public_key, verifies
from bailiwick.weights.manifest import is_path
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bailiwick.evidence.dsse import VerifyingKey

NOT_SIGNED: Final = frozenset({".gitattributes", ".gitignore"})
"""What signers leave out besides the signature itself. No engine reads it."""
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_MOST_CERTIFICATES = 8
_REMEDY = "sign it with: model_signing sign key FOLDER --private_key KEY --signature model.sig (model-signing 1.x)"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may have signed, and the moment after which it does not count."""

    key: VerifyingKey
    until: datetime | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """``<base64 of the key>`` or ``<base64 of the key>@<time>``, as pods are given it. Raises ValueError."""
        encoded, _, until = text.partition("@")
        try:
            key = public_key(f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n")
        except EvidenceError as error:
            raise ValueError(str(error)) from error
        return cls(key, datetime.fromisoformat(until).astimezone(UTC) if until else None)


def read_root(text: str) -> Root:
    """A CA as pods are given it: ``<base64 of its certificate>[@<JSON list of its signers>]``. Raises ValueError."""
    encoded, _, listed = text.partition("@")
    signers = [(kind, value) for each in json.loads(listed or "[]") for kind, value in each.items()]
    return root(f"-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n", signers)


def signed_files(bundle: bytes, keys: Sequence[Key], now: datetime, *, roots: Sequence[Root] = ()) -> Mapping[str, str]:
    """SHA-256 in hexadecimal by path, as a key, or a certificate of a root, signed it. Raises WeightsError else."""
    try:
        payload = _payload(json.loads(bundle), keys, roots, now)
        return _listed(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            "SignatureInvalid", f"{type(error).__name__} {error}: not a signature of OpenSSF Model Signing; {_REMEDY}"
        ) from error


def _payload(bundle: Mapping[str, Any], keys: Sequence[Key], roots: Sequence[Root], now: datetime) -> bytes:
    """What was signed, once somebody who counts vouches for it."""
    envelope = bundle["dsseEnvelope"]
    kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
    if kind != _PAYLOAD:
        raise WeightsError("SignatureInvalid", f"a statement of type {_PAYLOAD} was expected, seen {kind}; {_REMEDY}")
    message = pre_authentication_encoding(kind, payload)
    signatures = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
    certificates = _certificates(bundle)
    signers = [key for key in keys if any(verifies(key.key, message, each) for each in signatures)]
    if certificates and not signers:
        _by_certificate(certificates, roots, message, signatures, now)
        return payload
    if not signers:
        raise WeightsError(
            "SignatureInvalid",
            f"none of the {len(keys)} keys of the Authority made the signature, or what it signs was changed; take a "
            f"copy that it signed with a key, or name the Authority that did (spec.model.signature.authority)",
        )
    if not any(key.until is None or now < key.until for key in signers):
        raise WeightsError(
            "KeyExpired",
            f"the key counted until {signers[0].until:%Y-%m-%dT%H:%M:%SZ}; have the Authority sign the model anew",
        )
    return payload


def _certificates(bundle: Mapping[str, Any]) -> list[str]:
    """What a bundle holds of certificates, the signer's first, in base64; nothing where it was signed by key."""
    material = bundle.get("verificationMaterial") or {}
    if "certificate" in material:
        return [material["certificate"]["rawBytes"]]
    return [each["rawBytes"] for each in (material.get("x509CertificateChain") or {}).get("certificates", ())]


def _by_certificate(
    certificates: Sequence[str], roots: Sequence[Root], message: bytes, signatures: Sequence[bytes], now: datetime
) -> None:
    if not roots:
        raise WeightsError(
            "SignatureInvalid",
            "the signature is by certificate, and the Authority lists none (spec.certificates); add the certificate of "
            "the CA that issued it, or take a copy that was signed with a key of the Authority",
        )
    if len(certificates) > _MOST_CERTIFICATES:
        raise WeightsError(
            "SignatureInvalid", f"{len(certificates)} certificates came with it, and {_MOST_CERTIFICATES} are the most"
        )
    try:
        chain = chain_of([decoded(each) for each in certificates])
        if not any(signed_by(chain[0], message, each) for each in signatures):
            raise WeightsError(
                "SignatureInvalid",
                "its own certificate did not make the signature, or what it signs was changed; take another copy",
            )
        trusted(chain, roots, now)
    except ExpiredError as error:
        raise WeightsError("CertificateExpired", f"{error}; have the model signed anew") from error
    except UnlistedError as error:
        raise WeightsError(
            "SignerNotListed", f"{error}; take a copy that a listed signer signed, or have the signer listed"
        ) from error
    except EvidenceError as error:
        raise WeightsError(
            "SignatureInvalid", f"{error}; have it signed by a certificate for signing code of a CA that is listed"
        ) from error


def _listed(statement: Mapping[str, Any]) -> Mapping[str, str]:
    if statement["_type"] != _STATEMENT or statement["predicateType"] != _PREDICATE:
        raise WeightsError(
            "SignatureInvalid", f"{_PREDICATE} was expected, seen {statement['predicateType']}; {_REMEDY}"
        )
    method, hashed = (statement["predicate"]["serialization"][name] for name in ("method", "hash_type"))
    if (method, hashed) != ("files", "sha256"):
        raise WeightsError(
            "SignatureInvalid", f"whole files by sha256 were expected, seen {method} by {hashed}; {_REMEDY}"
        )
    resources = statement["predicate"]["resources"]
    digests = {str(each["name"]): str(each["digest"]) for each in resources}
    root = sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    (subject,) = statement["subject"]
    if len(digests) != len(resources) or subject["digest"]["sha256"] != root or not all(map(is_path, digests)):
        raise WeightsError("SignatureInvalid", f"the list of files contradicts itself; {_REMEDY}")
    return digests
