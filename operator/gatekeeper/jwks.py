"""Keys of a token issuer: JSON Web Key Sets (RFC 7517) as what HAProxy can load."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatekeeper.mounted import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SMALLEST_RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512")
# Algorithm, object identifier of the curve, bytes of a coordinate (RFC 7518, section 6.2; RFC 5480).
_CURVES = {
    "P-256": ("ES256", "2a8648ce3d030107", 32),
    "P-384": ("ES384", "2b81040022", 48),
    "P-521": ("ES512", "2b81040023", 66),
}
_RSA_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")
_EC_PUBLIC_KEY = "2a8648ce3d0201"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the one algorithm that it may be used with, so that no token chooses another."""

    kid: str
    algorithm: str
    pem: str

    @property
    def name(self) -> str:
        """What HAProxy finds it by: the hash of what a token's header says."""
        return hashlib.sha256(f"{self.algorithm}/{self.kid}".encode()).hexdigest().upper()


def keys(told: Mapping[str, bytes]) -> tuple[list[Key], list[str]]:
    """The keys of all documents of a Secret, and why others of them are left out. Raises Broken when none is left."""
    found: dict[str, Key] = {}
    left_out: list[str] = []
    for document, value in told.items():
        for number, raw in enumerate(_members(document, value)):
            where = f"key {number + 1} of {document}"
            try:
                key = _key(raw)
            except _Unusable as reason:
                left_out.append(f"{where} is not used: {reason}")
                continue
            other = found.setdefault(key.name, key)
            if other.pem != key.pem:
                raise Broken(f"{where} has the kid and algorithm of another one; an issuer gives each key its own kid")
    if not found:
        seen = "; ".join(left_out) or "no key at all"
        raise Broken(f"no key of the token issuer can be used: expected RSA or EC keys in a JWKS, seen: {seen}")
    return list(found.values()), left_out


class _Unusable(Exception):  # noqa: N818 - what it says, the key is
    pass


def _members(document: str, value: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        told = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Broken(f"{document} of the token issuer's Secret is not JSON: {error}") from error
    members = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(members, list) or not all(isinstance(each, dict) for each in members):
        raise Broken(f'{document} of the token issuer\'s Secret is no JWKS: expected {{"keys": [{{…}}, …]}}')
    yield from members


def _key(raw: Mapping[str, Any]) -> Key:
    if {"d", "k", "p", "q"} & raw.keys():
        raise _Unusable("it holds a secret part, and only public keys belong here")
    operations = raw.get("key_ops", ["verify"])
    if raw.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("it is not for signatures")
    kid = raw.get("kid", "")
    # JSON can write half of a surrogate pair, which no header of a token can be compared with.
    if not isinstance(kid, str) or any("\ud800" <= letter <= "\udfff" for letter in kid):
        raise _Unusable("its kid is not a string")
    if raw.get("kty") == "RSA":
        return _rsa(kid, raw)
    if raw.get("kty") == "EC":
        return _ec(kid, raw)
    raise _Unusable(f"it is of type {raw.get('kty')!r}, and the gate verifies RSA and EC")


def _rsa(kid: str, raw: Mapping[str, Any]) -> Key:
    algorithm = raw.get("alg", "RS256")
    if algorithm not in _RSA:
        raise _Unusable(f"its algorithm is {algorithm!r}, and the gate verifies {', '.join(_RSA)}")
    modulus, exponent = _bytes(raw, "n").lstrip(b"\0"), _bytes(raw, "e").lstrip(b"\0")
    bits = int.from_bytes(modulus, "big").bit_length()
    if bits < SMALLEST_RSA_BITS or len(exponent) == 0:
        raise _Unusable(f"it has {bits} bits, and RSA keys have {SMALLEST_RSA_BITS} or more")
    public = _der(0x30, _integer(modulus) + _integer(exponent))
    return Key(kid, algorithm, _pem(_RSA_ALGORITHM + _der(0x03, b"\0" + public)))


def _ec(kid: str, raw: Mapping[str, Any]) -> Key:
    curve = raw.get("crv")
    if not isinstance(curve, str) or curve not in _CURVES:
        raise _Unusable(f"its curve is {curve!r}, and the gate verifies {', '.join(_CURVES)}")
    algorithm, identifier, size = _CURVES[curve]
    if raw.get("alg", algorithm) != algorithm:
        raise _Unusable(f"its algorithm is {raw['alg']!r}, and keys on {curve} are for {algorithm}")
    point = b"".join(_bytes(raw, name) for name in ("x", "y"))
    if len(point) != 2 * size:
        raise _Unusable(f"its point has {len(point)} bytes, and those on {curve} have {2 * size}")
    kind = _der(0x30, _der(0x06, bytes.fromhex(_EC_PUBLIC_KEY)) + _der(0x06, bytes.fromhex(identifier)))
    return Key(kid, algorithm, _pem(kind + _der(0x03, b"\0\4" + point)))


def _bytes(raw: Mapping[str, Any], name: str) -> bytes:
    value = raw.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise _Unusable(f"its {name} is missing")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _Unusable(f"its {name} is not base64url") from error


def _der(tag: int, value: bytes) -> bytes:
    """One element of DER (X.690)."""
    size = len(value)
    if size < 0x80:  # noqa: PLR2004 - the short form
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _integer(value: bytes) -> bytes:
    """An unsigned number: a leading bit would make it negative."""
    return _der(0x02, (b"\0" if value[0] & 0x80 else b"") + value)


def _pem(inner: bytes) -> str:
    text = base64.b64encode(_der(0x30, inner)).decode()
    lines = [text[begin : begin + 64] for begin in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
