"""Secrets as the kubelet mounts them, and what callers show: API keys, tokens, certificates."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

ISSUER, AUDIENCE = "https://login.example/realm", "assistant"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(slots=True)
class Mount:
    """A volume of a Secret: `..data` leads to a folder that is swapped at once, and every value is a link into it."""

    folder: Path
    numbers: count[int] = field(default_factory=count)

    def hold(self, **values: str | bytes) -> Mount:
        """Replace the Secret's values; underscores in names stand for dots."""
        return self.hold_all({name.replace("_", "."): value for name, value in values.items()})

    def hold_all(self, values: dict[str, str | bytes]) -> Mount:
        generation = self.folder / f"..{next(self.numbers)}"
        generation.mkdir(parents=True)
        for name, value in values.items():
            (generation / name).write_bytes(value if isinstance(value, bytes) else value.encode())
        pointer = self.folder / "..data.new"
        pointer.symlink_to(generation.name)
        pointer.rename(self.folder / "..data")
        for name in values:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        for path in self.folder.iterdir():
            if not path.name.startswith("..") and path.name not in values:
                path.unlink()
        return self

    def __str__(self) -> str:
        return str(self.folder)


def url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def jwk(key: PrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    """The public part of a key."""
    public = key.public_key()
    told: dict[str, Any]
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        n, e = (value.to_bytes((value.bit_length() + 7) // 8, "big") for value in (numbers.n, numbers.e))
        told = {"kty": "RSA", "n": url(n), "e": url(e)}
    elif isinstance(public, ec.EllipticCurvePublicKey):
        point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        x, y = (url(value.to_bytes(size, "big")) for value in (point.x, point.y))
        told = {"kty": "EC", "crv": f"P-{public.curve.key_size}", "x": x, "y": y}
    else:
        told = {"kty": "OKP", "crv": "Ed25519", "x": url(public.public_bytes_raw())}
    return {**told, "kid": kid, **more}


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


def claims(**changed: Any) -> dict[str, Any]:
    """Of a good token; None leaves a claim out."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300, "nbf": now - 5, **changed}
    return {name: value for name, value in told.items() if value is not None}


def token(key: PrivateKey, kid: str | None, told: dict[str, Any], **header: Any) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = {256: "ES256", 384: "ES384", 521: "ES512"}[key.curve.key_size]
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    else:
        algorithm = "RS256"
    head = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid}), **header}
    signed = f"{url(json.dumps(head).encode())}.{url(json.dumps(told).encode())}"
    return f"{signed}.{url(_signature(key, signed.encode()))}"


def _signature(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    size = (key.curve.key_size + 7) // 8
    digest = {32: hashes.SHA256(), 48: hashes.SHA384(), 66: hashes.SHA512()}[size]
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@dataclass(frozen=True, slots=True)
class Certificate:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def certificate(name: str, issuer: Certificate | None = None, host: str = "model") -> Certificate:
    """A certificate by an issuer, or an issuer of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )
    return Certificate(built, key)
