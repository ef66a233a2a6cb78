"""Which country a cloud region is in, and under whose law its operator is: by table, and never by a guess.

The names of regions mislead: eu-west-2 is London, eu-central-2 Zurich, Azure's northeurope Ireland, and a local zone
may stand on another continent than its region. So a region or zone that regions.csv does not list has no country.
"""

import csv
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Region:
    """One row of regions.csv: a region of a cloud provider, or a zone that stands apart from its region.

    ``operator`` are the countries whose law reaches the party that operates it: its seat and that of the companies that
    own it. It is empty where that is not certain. ``source`` names the public document, ``as_of`` the day of reading.
    """

    provider: str
    name: str
    country: str
    partition: str
    operator: tuple[str, ...]
    source: str
    as_of: date


@cache
def regions() -> Mapping[tuple[str, str], Region]:
    """The whole table by provider and region."""
    text = resources.files("bailiwick.residency").joinpath("regions.csv").read_text("utf-8")
    return MappingProxyType({
        (row["provider"], row["region"]): Region(
            provider=row["provider"],
            name=row["region"],
            country=row["country"],
            partition=row["partition"],
            operator=tuple(row["operator"].split()),
            source=row["source"],
            as_of=date.fromisoformat(row["as_of"]),
        )
        for row in csv.DictReader(text.splitlines())
    })  # fmt: skip


def region_of(provider_id: str) -> Region | None:
    """The region that a node's ``spec.providerID`` names, if its format does and the table knows it. Never raises."""
    scheme, separator, rest = provider_id.partition("://")
    parse = _FORMATS.get(scheme) if separator else _ocid
    return parse(rest if separator else provider_id) if parse else None


def _find(provider: str, name: str) -> Region | None:
    return regions().get((provider, name))


def _without_letter(zone: str, separator: str = "") -> str | None:
    """The region of a zone that is named by one more lower-case letter."""
    region, letter = zone[:-1], zone[-1:]
    if letter not in _LETTERS or not region.endswith(separator):
        return None
    return region.removesuffix(separator)


_LETTERS = frozenset(string.ascii_lowercase)
_DIGITS = frozenset(string.digits)


def _aws(rest: str) -> Region | None:
    """``/eu-west-2a/i-0abc``, also with more behind it (Fargate). Source: cloud-provider-aws, instances.go.

    A local zone is us-west-2-lax-1a, and the table lists its group us-west-2-lax-1. A Wavelength zone such as
    eu-west-2-wl1-lon-wlz-1 has no letter and is listed itself.
    """
    before, *path = rest.split("/")
    if before or len(path) < 2 or not path[1]:  # noqa: PLR2004
        return None
    zone = path[0]
    if _WAVELENGTH in zone:
        return _find("aws", zone)
    region = _without_letter(zone)
    return _find("aws", region) if region else None


_WAVELENGTH = "-wlz-"


def _gce(rest: str) -> Region | None:
    """``project/europe-west2-a/name``. Source: cloud-provider-gcp, gce_util.go."""
    path = rest.split("/")
    if len(path) != 3 or not all(path):  # noqa: PLR2004
        return None
    region = _without_letter(path[1], "-")
    return _find("gcp", region) if region else None


def _scaleway(rest: str) -> Region | None:
    """``instance/fr-par-1/id``. Source: scaleway-cloud-controller-manager, helpers.go."""
    path = rest.split("/")
    if len(path) != 3 or not all(path):  # noqa: PLR2004
        return None
    region, dash, number = path[1].rpartition("-")
    return _find("scaleway", region) if dash and number in _DIGITS else None


def _ocid(rest: str) -> Region | None:
    """``ocid1.instance.oc1.eu-frankfurt-1.unique``: also names the realm. Source: Oracle, Resource Identifiers."""
    parts = rest.split(".")
    if len(parts) != 5 or parts[:2] != ["ocid1", "instance"] or not parts[4]:  # noqa: PLR2004
        return None
    region = _find("oracle", _OLD_OCI_KEYS.get(parts[3], parts[3]))
    return region if region and region.partition == parts[2] else None


_OLD_OCI_KEYS = {"phx": "us-phoenix-1", "iad": "us-ashburn-1", "fra": "eu-frankfurt-1", "lhr": "uk-london-1"}

_FORMATS: Mapping[str, Callable[[str], Region | None]] = {
    "aws": _aws,
    "gce": _gce,
    "scaleway": _scaleway,
    "oci": _ocid,
}
"""Formats that name a region. Those of Azure, Hetzner, OpenStack, DigitalOcean and many others do not, or do not name
the cloud: their nodes need a NodeStatement."""
