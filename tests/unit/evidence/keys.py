"""Keys of tests, made anew in every run."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

EDWARDS = Ed25519PrivateKey.generate()
P256 = generate_private_key(SECP256R1())
KEYS = (EDWARDS, P256)


def pem_of(key: Any) -> str:
    """The public part of a key, as an Authority gives it."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def written(key: Any) -> bytes:
    """A private key as a file holds it."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem
