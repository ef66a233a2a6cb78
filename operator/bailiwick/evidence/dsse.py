"""DSSE envelopes: signing and verifying a payload together with its type.

Source: the Dead Simple Signing Envelope, protocol and envelope, version 1.0.2 (secure-systems-lab/dsse). Keys are
ed25519 (RFC 8032), and ECDSA on P-256 with SHA-256 and signatures in DER.
"""

from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import ValidationError

from bailiwick.api.nodestatement import Envelope, Signature

VerifyingKey = Ed25519PublicKey | EllipticCurvePublicKey
SigningKey = Ed25519PrivateKey | EllipticCurvePrivateKey

_KINDS = "ed25519 or ECDSA P-256"


class EvidenceError(ValueError):
    """What was given cannot be evidence: the message is a sentence, and holds nothing secret."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed (PAE): type and payload with their lengths in bytes, so that neither can pass for the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def public_key(pem: str) -> VerifyingKey:
    """The key of a SubjectPublicKeyInfo in PEM; raises EvidenceError."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EvidenceError(f"not a public key in PEM; give one that is {_KINDS}") from error
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise EvidenceError(f"a public key of another kind; give one that is {_KINDS}")


def private_key(pem: bytes) -> SigningKey:
    """The key of an unencrypted private key in PEM; raises EvidenceError, which never repeats what was given."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:  # what the library says of a missing password
        raise EvidenceError("the private key is encrypted; give it decrypted, through a pipe or a RAM disk") from None
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceError(f"not a private key in PEM; give one that is {_KINDS}") from None
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    raise EvidenceError(f"a private key of another kind; give one that is {_KINDS}")


def verifies(key: VerifyingKey, message: bytes, signature: bytes) -> bool:
    """Whether a signature over a message is of this key."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def seal(payload_type: str, payload: bytes, key: SigningKey, *, keyid: str = "") -> Envelope:
    """The envelope of a payload, signed by one key; raises EvidenceError for what is too long for one."""
    message = pre_authentication_encoding(payload_type, payload)
    signature = key.sign(message) if isinstance(key, Ed25519PrivateKey) else key.sign(message, ECDSA(SHA256()))
    try:
        return Envelope(
            payload_type=payload_type,
            payload=b64encode(payload).decode(),
            signatures=(Signature(keyid=keyid, sig=b64encode(signature).decode()),),
        )
    except ValidationError as error:
        raise EvidenceError("the envelope would be longer than a NodeStatement can hold; shorten it") from error


def payload_of(envelope: Envelope) -> bytes:
    """The payload as it was signed; raises EvidenceError. Nobody has vouched for it yet."""
    return _decoded(envelope.payload, "payload")


def signatures_of(envelope: Envelope) -> Sequence[tuple[str, bytes]]:
    """Hint at the key, and signature; raises EvidenceError."""
    return [(each.keyid, _decoded(each.sig, "signature")) for each in envelope.signatures]


_ALPHABETS: tuple[tuple[Callable[[str], bytes], Callable[[bytes], bytes]], ...] = (
    (b64decode, b64encode),
    (urlsafe_b64decode, urlsafe_b64encode),
)


def _decoded(text: str, what: str) -> bytes:
    """Base64, standard or for URLs, as DSSE asks. What is not exactly as an encoder writes it is refused."""
    for decode, encode in _ALPHABETS:
        try:
            content = decode(text)
        except ValueError:
            continue
        if encode(content) == text.encode(errors="replace"):
            return content
    raise EvidenceError(f"the {what} of the envelope is not base64")
