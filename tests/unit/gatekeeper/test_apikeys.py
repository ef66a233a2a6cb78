"""What counts as an API key, and how it is kept."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.apikeys import as_map, callers
from gatekeeper.mounted import Broken

SALT = b"salt"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=20, max_size=512)


@given(st.dictionaries(st.from_regex(r"[-._a-zA-Z0-9]{1,20}", fullmatch=True), KEYS, max_size=5))
def test_a_caller_is_found_by_the_keyed_hash_of_its_key(told: dict[str, str]) -> None:
    secret = {name: f"{key}\n".encode() for name, key in told.items()}
    if len(set(told.values())) < len(told):
        with pytest.raises(Broken, match="are the same"):
            callers(secret, SALT)
        return
    found = callers(secret, SALT)
    assert {found[hmac.digest(SALT, key.encode(), "sha256").hex().upper()] for key in told.values()} == told.keys()
    assert all(len(line.split(" ")) == 2 for line in as_map(found))


@given(st.binary(max_size=600))
def test_whatever_a_secret_holds_is_a_key_or_named_as_broken_without_being_shown(value: bytes) -> None:
    try:
        (hashed,) = callers({"alice": value}, SALT)
    except Broken as reason:
        shown = value.decode("latin-1").strip()
        assert len(shown) < 4 or shown not in str(reason) or shown in "the API key of alice is unusable: expected"  # noqa: PT017
    else:
        assert len(hashed) == 64


def test_another_salt_gives_other_hashes() -> None:
    told = {"alice": b"0123456789abcdef0123456789abcdef"}
    assert callers(told, b"a").keys() != callers(told, b"b").keys()
