"""Signatures against the examples that AWS publishes ("Signature calculations for the Authorization header")."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bailiwick.weights.sigv4 import authorised, encoded, query

EXAMPLES = {
    "an object, a range of it": (
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {"Range": "bytes=0-9"},
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "what the bucket's life is": (
        "https://examplebucket.s3.amazonaws.com/?lifecycle=",
        {},
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "objects by prefix": (
        "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
        {},
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.mark.parametrize("row", EXAMPLES)
def test_published_examples_are_signed_alike(row: str) -> None:
    url, headers, signature = EXAMPLES[row]
    told = authorised(
        url, headers, access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1", now=datetime(2013, 5, 24, tzinfo=UTC),
    )  # fmt: skip
    assert told["authorization"].endswith(f"Signature={signature}")


def test_queries_are_sorted_and_encoded() -> None:
    assert query({"prefix": "a/b c", "list-type": "2"}) == "list-type=2&prefix=a%2Fb%20c"
    assert encoded("a/b c~é", safe="/") == "a/b%20c~%C3%A9"
