"""The import that a command line asks for: its remote, its credentials, and what is told of how far it is."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import certifi

from bailiwick.weights.problems import WeightsError
from bailiwick.weights.remote import Bucket, Hub
from bailiwick.weights.transfer import Import

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from bailiwick.weights.remote import Remote
    from bailiwick.weights.verification import Expected

_AUTHORITIES = "ca.crt"


def fetch(arguments: argparse.Namespace, expected: Expected) -> str:
    """Run it; how far it is then, as JSON on one line. Raises WeightsError."""
    importing = Import(
        _remote(arguments), arguments.into, arguments.name, expected=expected, now=lambda: datetime.now(UTC),
        trust=trust(arguments.credentials),
    )  # fmt: skip
    found = asyncio.run(importing.run(arguments.share))
    speed = round(found.fetched / found.seconds) if found.seconds else 0
    return json.dumps({"bytes": found.bytes, "of": found.of, "bytesPerSecond": speed})


def trust(credentials: Path | None) -> ssl.SSLContext:
    """Whose certificates count: public authorities, and those of ``ca.crt`` beside the credentials."""
    # The image has no authorities of a system's.
    context = ssl.create_default_context(cafile=certifi.where())
    if credentials and (credentials / _AUTHORITIES).is_file():
        try:
            context.load_verify_locations(cafile=credentials / _AUTHORITIES)
        except (ssl.SSLError, OSError) as error:
            raise WeightsError(
                "CredentialsMissing", f"{_AUTHORITIES} of the Secret holds no certificates in PEM ({error}); correct it"
            ) from error
    return context


def _remote(arguments: argparse.Namespace) -> Remote:
    where: Path | None = arguments.credentials
    if arguments.bucket:
        return Bucket(
            endpoint=arguments.endpoint,
            bucket=arguments.bucket,
            prefix=arguments.prefix,
            region=arguments.region,
            access_key=_secret(where, "accessKeyId"),
            secret_key=_secret(where, "secretAccessKey"),
        )
    if not (arguments.repository and arguments.revision):
        raise WeightsError("SourceNotUnderstood", "give --bucket, or --repository and --revision")
    return Hub(
        endpoint=arguments.endpoint,
        repository=arguments.repository,
        revision=arguments.revision,
        token=_secret(where, "token"),
    )


def _secret(where: Path | None, key: str) -> str | None:
    if where is None:
        return None
    try:
        return (where / key).read_text().strip()
    except (OSError, ValueError):
        if (where / _AUTHORITIES).is_file():
            return None  # a Secret that says only whom to trust
        raise WeightsError(
            "CredentialsMissing", f"the Secret that the source names is not there, or has no key {key}; create it"
        ) from None
