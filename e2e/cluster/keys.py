"""Keys of what is kept between runs: a thing's key is the hash of what it is made from."""

from __future__ import annotations

from hashlib import sha256

KEY_LENGTH = 12


def key_of(*parts: str | bytes) -> str:
    """A short hash of the parts, in order; where one part ends and the next begins counts too."""
    digest = sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:KEY_LENGTH]
