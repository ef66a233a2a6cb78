"""Signatures of OpenSSF Model Signing (OMS), version 1.0: a Sigstore bundle whose DSSE envelope holds a list of files.

Verified with keys alone, offline. Source: sigstore/model-transparency, `model_signing/_signing/signing.py` at 1.1.1,
whose own signatures the tests verify.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self

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


def signed_files(bundle: bytes, keys: Sequence[Key], now: datetime) -> Mapping[str, str]:
    """SHA-256 in hexadecimal by path, as one of the keys signed it. Raises WeightsError for anything else."""
    try:
        payload = _payload(bundle, keys, now)
        return _listed(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            "SignatureInvalid", f"{type(error).__name__} {error}: not a signature of OpenSSF Model Signing; {_REMEDY}"
        ) from error


def _payload(bundle: bytes, keys: Sequence[Key], now: datetime) -> bytes:
    """What was signed, once a key that counts vouches for it."""
    envelope = json.loads(bundle)["dsseEnvelope"]
    kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
    if kind != _PAYLOAD:
        raise WeightsError("SignatureInvalid", f"a statement of type {_PAYLOAD} was expected, seen {kind}; {_REMEDY}")
    message = pre_authentication_encoding(kind, payload)
    signatures = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
    signers = [key for key in keys if any(verifies(key.key, message, each) for each in signatures)]
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
