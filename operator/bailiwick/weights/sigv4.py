"""Signatures of requests to S3 (AWS Signature Version 4). An import only gets; a body is signed by its hash.

Source: "Signature Version 4 for API requests" of the AWS documentation, and its own examples, which the tests sign. A
client library would bring its chain of credentials, which asks addresses outside the pod.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NO_BODY: Final = sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


def encoded(text: str, *, safe: str = "") -> str:
    """Percent-encoded as the signature wants it: all but letters, digits and ``-._~``."""
    return quote(text, safe=f"-._~{safe}")


def query(parameters: Mapping[str, str]) -> str:
    """The canonical query string, which is also the one to send."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(parameters.items()))


def authorised(  # noqa: PLR0913 - what a signature covers
    url: str,
    headers: Mapping[str, str],
    *,
    access_key: str,
    secret_key: str,
    region: str,
    now: datetime,
    method: str = "GET",
    content: str = NO_BODY,
) -> dict[str, str]:
    """The headers of a request with its signature. ``url`` is encoded as by `encoded` and `query`.

    ``content`` is the SHA-256 of the body in hexadecimal.
    """
    parts = urlsplit(url)
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    signed = {
        **{name.lower(): value.strip() for name, value in headers.items()},
        "host": parts.netloc,
        "x-amz-content-sha256": content,
        "x-amz-date": moment,
    }
    names = ";".join(sorted(signed))
    listed = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join((method, parts.path or "/", parts.query, listed, names, content))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    told = f"{_ALGORITHM} Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
    return {**{name: value for name, value in signed.items() if name != "host"}, "authorization": told}
