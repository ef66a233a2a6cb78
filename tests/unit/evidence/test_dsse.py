"""Envelopes: what is signed, which keys count, and that nothing else gets through."""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicNumbers,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.nodestatement import Envelope, Signature
from bailiwick.evidence.dsse import (
    EvidenceError,
    payload_of,
    pre_authentication_encoding,
    private_key,
    public_key,
    seal,
    signatures_of,
    verifies,
)
from tests.unit.evidence.keys import EDWARDS, KEYS, P256, pem_of, written

TYPE = "http://example.com/HelloWorld"
ANY = (Signature(sig="AA=="),)
PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_is_signed_is_as_the_specification_gives_it() -> None:
    assert pre_authentication_encoding(TYPE, b"hello world") == PAE


def test_lengths_count_bytes() -> None:
    assert pre_authentication_encoding("é", "ü€".encode()) == "DSSEv1 2 é 5 ü€".encode()


def test_the_signature_of_the_specification_verifies() -> None:
    """Its key and signature (DSSE, protocol, test vectors); it writes r and s side by side where we have DER."""
    key = EllipticCurvePublicNumbers(
        46950820868899156662930047687818585632848591499744589407958293238635476079160,
        5640078356564379163099075877009565129882514886557779369047442380624545832820,
        SECP256R1(),
    ).public_key()
    raw = b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert verifies(key, PAE, signature)
    assert not verifies(key, PAE + b" ", signature)


@given(st.text(max_size=5), st.binary(max_size=9), st.text(max_size=5), st.binary(max_size=9))
def test_two_contents_never_read_alike(kind: str, payload: bytes, other_kind: str, other: bytes) -> None:
    same = pre_authentication_encoding(kind, payload) == pre_authentication_encoding(other_kind, other)
    assert same == ((kind, payload) == (other_kind, other))


@pytest.mark.parametrize("key", KEYS, ids=["ed25519", "P-256"])
def test_an_envelope_opens_with_the_key_that_sealed_it(key: Any) -> None:
    envelope = seal(TYPE, b"hello world", key, keyid="first")
    ((keyid, signature),) = signatures_of(envelope)
    assert keyid == "first"
    assert payload_of(envelope) == b"hello world"
    assert verifies(public_key(pem_of(key)), PAE, signature)
    assert private_key(written(key)).public_key() == key.public_key()


def test_keys_of_other_kinds_are_refused_without_being_repeated() -> None:
    for foreign in (generate_private_key(SECP384R1()), generate_rsa(public_exponent=65537, key_size=2048)):
        with pytest.raises(
            EvidenceError, match="a private key of another kind; give one that is ed25519 or ECDSA P-256"
        ):
            private_key(written(foreign))
        with pytest.raises(EvidenceError, match="a public key of another kind"):
            public_key(pem_of(foreign))


def test_an_encrypted_key_is_refused_with_what_to_do() -> None:
    locked = EDWARDS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(EvidenceError, match="encrypted; give it decrypted"):
        private_key(locked)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda body: f"-----BEGIN {body}".encode()))
def test_what_is_no_key_raises_our_error_alone(content: bytes) -> None:
    with pytest.raises(EvidenceError):
        private_key(content)
    with pytest.raises(EvidenceError):
        public_key(content.decode(errors="replace"))


@given(st.binary(min_size=1, max_size=50))
def test_both_alphabets_of_base64_are_read(payload: bytes) -> None:
    for encode in (b64encode, urlsafe_b64encode):
        assert payload_of(Envelope(payload_type=TYPE, payload=encode(payload).decode(), signatures=ANY)) == payload


@given(st.text(min_size=1, max_size=60))
def test_an_envelope_is_read_or_raises_our_error_alone(text: str) -> None:
    """What is read is written in one way only, so that nobody can vary an envelope without breaking it."""
    envelope = Envelope(payload_type=text, payload=text, signatures=(Signature(sig=text),))
    try:
        content = payload_of(envelope)
    except EvidenceError:
        with pytest.raises(EvidenceError):
            signatures_of(envelope)
    else:
        assert text in {b64encode(content).decode(), urlsafe_b64encode(content).decode()}


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "Q Q==", "QQ==\n", "+/-_", "=", "ÄÄÄÄ"])
def test_base64_that_an_encoder_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="the payload of the envelope is not base64"):
        payload_of(Envelope(payload_type=TYPE, payload=text, signatures=ANY))


@given(st.sampled_from(KEYS), st.integers(0, 70), st.integers(1, 255))
def test_a_changed_byte_of_a_signature_is_refused(key: Any, at: int, bits: int) -> None:
    ((_, signature),) = signatures_of(seal(TYPE, b"hello world", key))
    changed = bytearray(signature)
    changed[at % len(changed)] ^= bits
    assert not verifies(public_key(pem_of(key)), PAE, bytes(changed))


def test_a_signature_of_the_other_kind_of_key_is_refused() -> None:
    ((_, signature),) = signatures_of(seal(TYPE, b"hello world", EDWARDS))
    assert not verifies(P256.public_key(), PAE, signature)
