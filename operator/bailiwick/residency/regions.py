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

    ``operator`` are the countries whose law reaches the party that operates it: the seat of the group, and that of an
    operator that is not of the group's own country. It is empty where that is not certain. ``source`` names the public
    document, ``as_of`` the day of the row.
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
    rows = (
        Region(
            provider=row["provider"],
            name=row["region"],
            country=row["country"],
            partition=row["partition"],
            operator=tuple(row["operator"].split()),
            source=row["source"],
            as_of=date.fromisoformat(row["as_of"]),
        )
        for row in csv.DictReader(text.splitlines())
    )
    return MappingProxyType({(region.provider, region.name): region for region in rows})


def region_of(provider_id: str) -> Region | None:
    """The region that a node's ``spec.providerID`` names, if its format does and the table knows it. Never raises."""
    scheme, separator, rest = provider_id.partition("://")
    if not separator:
        return _oracle(provider_id) or _alibaba(provider_id)
    parse = _FORMATS.get(scheme)
    return parse(rest) if parse else None


def _find(provider: str, name: str) -> Region | None:
    return regions().get((provider, name))


_LETTERS = frozenset(string.ascii_lowercase)
_DIGITS = frozenset(string.digits)
_HEXADECIMAL = frozenset("0123456789abcdef")


def _aws(rest: str) -> Region | None:
    """``/eu-west-2a/i-0123456789abcdef0``, or Fargate's ``/us-west-2b/task/fargate-…``.

    Zones of a region have a letter. A local zone is us-west-2-lax-1a, and the table lists its group us-west-2-lax-1. A
    Wavelength zone such as us-east-1-wl1-bos-wlz-1 has no letter and is listed itself. Other clouds write this format
    as well, with names of regions that mean other places: eu-west-2a of OUTSCALE is in France. Their instances have 8
    digits, those of AWS 17. Sources: cloud-provider-aws (instances.go), cloud-provider-osc (vm.go).
    """
    match rest.split("/"):
        case ["", zone, instance] if _is_aws_instance(instance):
            return _aws_zone(zone)
        case ["", zone, task, pod] if task and pod.startswith("fargate-"):
            return _aws_zone(zone)
    return None


def _is_aws_instance(instance: str) -> bool:
    digits = instance.removeprefix("i-")
    return instance.startswith("i-") and len(digits) == _AWS_DIGITS and _HEXADECIMAL.issuperset(digits)


_AWS_DIGITS = 17


def _aws_zone(zone: str) -> Region | None:
    if "-wlz-" in zone:
        return _find("aws", zone)
    return _find("aws", zone[:-1]) if zone[-1:] in _LETTERS else None


def _gce(rest: str) -> Region | None:
    """``project/europe-west2-a/name``; AI zones such as us-south1-ai1b are listed. Source: gce_util.go."""
    match rest.split("/"):
        case [project, zone, name] if project and name:
            region, dash, suffix = zone.rpartition("-")
            if suffix.startswith("ai"):
                return _find("gcp", zone)
            return _find("gcp", region) if dash and suffix in _LETTERS else None
    return None


def _scaleway(rest: str) -> Region | None:
    """``instance/fr-par-1/id``, also for other products. Source: scaleway-cloud-controller-manager, servers.go."""
    match rest.split("/"):
        case [product, zone, machine] if product and machine:
            region, dash, number = zone.rpartition("-")
            return _find("scaleway", region) if dash and number in _DIGITS else None
    return None


def _oracle(rest: str) -> Region | None:
    """``ocid1.instance.oc1.eu-frankfurt-1.id``, where oc1 is the realm. Source: Oracle, Resource Identifiers."""
    match rest.split("."):
        case ["ocid1", "instance", realm, name, machine] if machine:
            region = _find("oracle", _FIRST_OCI_REGIONS.get(name, name))
            return region if region and region.partition == realm else None
    return None


_FIRST_OCI_REGIONS = {"iad": "us-ashburn-1", "phx": "us-phoenix-1"}
"""Two regions are still named by their airports there."""


def _alibaba(rest: str) -> Region | None:
    """``cn-hangzhou.i-id``. Source: cloud-provider-alibaba-cloud, helper.go."""
    match rest.split("."):
        case [region, machine] if machine.startswith("i-"):
            return _find("alibaba", region)
    return None


_FORMATS: Mapping[str, Callable[[str], Region | None]] = {
    "aws": _aws,
    "gce": _gce,
    "scaleway": _scaleway,
    "oci": _oracle,
    "alicloud": _alibaba,
}
"""Formats that name a region and whose it is. Those of Azure, Hetzner, DigitalOcean and many others name no region,
OpenStack's does not tell whose cloud it is: such nodes need a NodeStatement."""
