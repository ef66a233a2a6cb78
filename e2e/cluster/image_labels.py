"""What an image says of itself beside what its Containerfile says: its version and, of a release, when and from what.

`SOURCE_DATE_EPOCH` (seconds since 1970) and `REVISION` (a commit) are of whoever releases. Without them an image names
neither, so that the same files make the same image whatever commit is checked out.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import bailiwick
from e2e.cluster.oci_archive import EPOCH
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "org.opencontainers.image"


def created() -> str:
    """When the image is said to be made. Raises ClusterError."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not told:
        return EPOCH
    if not re.fullmatch(r"[0-9]{1,10}", told):
        raise ClusterError(
            f"SOURCE_DATE_EPOCH is {told!r}; expected seconds since 1970, as `git log -1 --format=%ct` says"
        )
    return datetime.fromtimestamp(int(told), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def labels(written: Mapping[str, str]) -> dict[str, str]:
    """The labels of an image of whose Containerfile says `written`; that wins. Raises ClusterError."""
    moment, revision = created(), os.environ.get("REVISION", "")
    return {
        f"{PREFIX}.version": bailiwick.__version__,
        **({f"{PREFIX}.created": moment} if moment != EPOCH else {}),
        **({f"{PREFIX}.revision": revision} if revision else {}),
        **written,
    }
