"""API keys: a Secret whose keys are names of callers and whose values are what they show."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from gatekeeper.mounted import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST, LONGEST = 20, 512
_KEY = re.compile(rb"[\x21-\x7e]+")


def callers(told: Mapping[str, bytes], salt: bytes) -> dict[str, str]:
    """Name of the caller by the hash of its key, as HAProxy's `hmac(sha256,…),hex` writes it. Raises Broken.

    Nothing of a key is in what is raised: it ends up in a log.
    """
    found: dict[str, str] = {}
    for name, value in told.items():
        key = value.strip()
        if not SHORTEST <= len(key) <= LONGEST or not _KEY.fullmatch(key):
            raise Broken(
                f"the API key of {name} is unusable: expected {SHORTEST} to {LONGEST} visible ASCII characters and no "
                f"space, seen {len(key)} bytes; make one with: openssl rand -hex 32"
            )
        hashed = hmac.digest(salt, key, "sha256").hex().upper()
        if hashed in found:
            raise Broken(f"the API keys of {found[hashed]} and {name} are the same; give each caller one of its own")
        found[hashed] = name
    return found


def as_map(found: Mapping[str, str]) -> list[str]:
    """Lines of a map for HAProxy: the hash, then the caller."""
    return [f"{hashed} key/{name}" for hashed, name in found.items()]
