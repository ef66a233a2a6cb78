"""Which keys of an issuer are taken, and that they are the keys that were meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.jwks import keys
from gatekeeper.mounted import Broken
from tests.gate.shown import PrivateKey, jwk, jwks

CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def only(key: dict[str, Any]) -> str:
    """Why a key is not taken, or its algorithm."""
    try:
        (taken,), _ = keys({"jwks.json": jwks(key).encode()})
    except Broken as reason:
        return str(reason)
    return taken.algorithm


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), *((ec.generate_private_key(curve), name) for name, curve in CURVES.items())],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_is_written_as_it_was_meant(key: PrivateKey, algorithm: str) -> None:
    (taken,), left_out = keys({"jwks.json": jwks(jwk(key, "a")).encode()})
    assert (taken.algorithm, taken.kid, left_out) == (algorithm, "a", [])
    read = load_pem_public_key(taken.pem.encode())
    assert isinstance(read, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert read.public_numbers() == key.public_key().public_numbers()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (jwk(RSA, "a", alg="RS384"), "RS384"),
        (jwk(RSA, "a", use="sig", key_ops=["verify"]), "RS256"),
        (jwk(RSA, "a", use="enc"), "not for signatures"),
        (jwk(RSA, "a", key_ops=["encrypt"]), "not for signatures"),
        (jwk(RSA, "a", alg="HS256"), "'HS256'"),
        (jwk(RSA, "a", alg="none"), "'none'"),
        (jwk(RSA, "a", alg="PS256"), "'PS256'"),
        (jwk(RSA, "a", d="AQAB"), "secret part"),
        (jwk(RSA, "a") | {"n": "zZ" * 64}, "has 768 bits"),
        (jwk(EC, "a", alg="ES384"), "ES256"),
        (jwk(EC, "a", crv="secp256k1"), "secp256k1"),
        (jwk(EC, "a", crv="P-384"), "64 bytes"),
        (jwk(EC, "a") | {"kid": 7}, "kid is not a string"),
        (jwk(EC, "a") | {"kid": "\ud800"}, "kid is not a string"),
        (jwk(EC, "a") | {"key_ops": 7}, "not for signatures"),
        (jwk(EC, "a") | {"x": "?"}, "x is not base64url"),
        (jwk(ed25519.Ed25519PrivateKey.generate(), "a"), "type 'OKP'"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "secret part"),
        ({}, "type None"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_has_one_algorithm_that_is_its_own(key: dict[str, Any], says: str) -> None:
    assert says in only(key)


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [7]}', b'{"keys": []}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_key_set_is_broken(document: bytes) -> None:
    with pytest.raises(Broken):
        keys({"jwks.json": document})


def test_two_keys_of_one_name_are_broken_and_the_same_key_twice_is_not() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Broken, match="its own kid"):
        keys({"jwks.json": jwks(jwk(EC, "a"), jwk(other, "a")).encode()})
    same = jwks(jwk(EC, "a")).encode()
    assert len(keys({"old.json": same, "new.json": same})[0]) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(
    st.dictionaries(st.sampled_from(["kty", "alg", "use", "key_ops", "kid", "crv", "x", "y", "n", "e", "d"]), JSON),
    st.sampled_from([jwk(RSA, "a"), jwk(EC, "a"), {}]),
)
def test_no_key_makes_it_fall_over(changed: dict[str, Any], good: dict[str, Any]) -> None:
    try:
        taken, _ = keys({"jwks.json": json.dumps({"keys": [good | changed]}).encode()})
    except Broken:
        return
    assert [key.algorithm[:2] for key in taken] in (["RS"], ["ES"])
