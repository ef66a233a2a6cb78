"""The table of regions, and how providerIDs are read."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bailiwick.api.codes import COUNTRIES, is_place
from bailiwick.residency.regions import Region, region_of, regions

AWS_ID = "i-0123456789abcdef0"


def country(provider: str, region: str) -> str | None:
    found = regions().get((provider, region))
    return found.country if found else None


@pytest.mark.parametrize(
    ("provider", "region", "expected"),
    [
        ("aws", "eu-west-1", "IE"),
        ("aws", "eu-west-2", "GB"),
        ("aws", "eu-central-1", "DE"),
        ("aws", "eu-central-2", "CH"),
        ("aws", "eusc-de-east-1", "DE"),
        ("aws", "me-central-1", "AE"),
        ("aws", "ap-east-1", "HK"),
        ("aws", "us-east-1-bue-1", "AR"),
        ("aws", "ap-southeast-1", "SG"),
        ("azure", "northeurope", "IE"),
        ("azure", "westeurope", "NL"),
        ("azure", "eastasia", "HK"),
        ("azure", "southeastasia", "SG"),
        ("gcp", "europe-west2", "GB"),
        ("gcp", "europe-west6", "CH"),
        ("gcp", "europe-west1", "BE"),
        ("gcp", "me-central1", "QA"),
        ("gcp", "me-central2", "SA"),
        ("gcp", "asia-east1", "TW"),
        ("gcp", "u-france-east1", "FR"),
        ("alibaba", "eu-west-1", "GB"),
        ("alibaba", "cn-hongkong", "HK"),
        ("alibaba", "me-central-1", "SA"),
        ("huawei", "ap-southeast-1", "HK"),
        ("akamai", "ap-west", "IN"),
        ("akamai", "ap-south", "SG"),
        ("akamai", "eu-west", "GB"),
        ("oracle", "eu-zurich-1", "CH"),
        ("ovhcloud", "UK1", "GB"),
        ("exoscale", "ch-dk-2", "CH"),
        ("stackit", "eu02", "AT"),
        ("hetzner", "hel1", "FI"),
        ("hetzner", "ash", "US"),
        ("scaleway", "pl-waw", "PL"),
    ],
)
def test_a_region_is_where_it_is_and_not_where_its_name_points(provider: str, region: str, expected: str) -> None:
    assert country(provider, region) == expected


@pytest.mark.parametrize(
    ("provider", "region", "operator"),
    [
        ("aws", "eu-central-1", ("US",)),
        ("aws", "cn-north-1", ("CN",)),
        ("aws", "eusc-de-east-1", ("DE", "US")),
        ("azure", "chinaeast", ("CN",)),
        ("azure", "germanywestcentral", ("US",)),
        ("gcp", "u-france-east1", ("FR",)),
        ("hetzner", "ash", ("DE",)),
        ("scaleway", "nl-ams", ("FR",)),
        ("exoscale", "de-fra-1", ()),
    ],
)
def test_the_operator_is_another_question_than_the_country(
    provider: str, region: str, operator: tuple[str, ...]
) -> None:
    assert regions()[provider, region].operator == operator


def test_every_row_is_complete() -> None:
    assert len(regions()) > 450
    for region in regions().values():
        assert region.country in COUNTRIES, region
        assert all(is_place(seat) for seat in region.operator), region
        assert region.partition, region
        assert region.source, region
        assert region.as_of.year >= 2026, region


def test_no_region_is_listed_twice() -> None:
    rows = resources.files("bailiwick.residency").joinpath("regions.csv").read_text("utf-8").splitlines()[1:]
    assert rows == sorted(rows, key=lambda row: row.split(",")[:2])
    assert len(rows) == len(regions())


@pytest.mark.parametrize(
    ("provider_id", "provider", "name", "place"),
    [
        (f"aws:///eu-west-2a/{AWS_ID}", "aws", "eu-west-2", "GB"),
        (f"aws:///us-gov-west-1b/{AWS_ID}", "aws", "us-gov-west-1", "US"),
        (f"aws:///cn-northwest-1a/{AWS_ID}", "aws", "cn-northwest-1", "CN"),
        (f"aws:///eusc-de-east-1a/{AWS_ID}", "aws", "eusc-de-east-1", "DE"),
        (f"aws:///us-west-2-lax-1b/{AWS_ID}", "aws", "us-west-2-lax-1", "US"),
        (f"aws:///us-east-1-lim-1a/{AWS_ID}", "aws", "us-east-1-lim-1", "PE"),
        (f"aws:///us-east-1-wl1-bos-wlz-1/{AWS_ID}", "aws", "us-east-1-wl1-bos-wlz-1", "US"),
        ("aws:///us-west-2b/0ab-1cd/fargate-ip-10-0-0-1.us-west-2.compute.internal", "aws", "us-west-2", "US"),
        ("gce://my-project/europe-west6-a/node-1", "gcp", "europe-west6", "CH"),
        ("gce://example.com:my-project/me-central2-c/node-1", "gcp", "me-central2", "SA"),
        ("gce://my-project/us-south1-ai1b/node-1", "gcp", "us-south1-ai1b", "US"),
        ("gce://s3ns:my-project/u-france-east1-b/node-1", "gcp", "u-france-east1", "FR"),
        ("scaleway://instance/fr-par-2/53a6ca14-0d8d-4f2e-9887-2f1bcfba58ed", "scaleway", "fr-par", "FR"),
        ("scaleway://baremetal/nl-ams-1/53a6ca14-0d8d-4f2e-9887-2f1bcfba58ed", "scaleway", "nl-ams", "NL"),
        ("oci://ocid1.instance.oc1.eu-zurich-1.abcdef", "oracle", "eu-zurich-1", "CH"),
        ("ocid1.instance.oc1.phx.abcdef", "oracle", "us-phoenix-1", "US"),
        ("ocid1.instance.oc19.eu-frankfurt-2.abcdef", "oracle", "eu-frankfurt-2", "DE"),
        ("cn-hangzhou.i-v98dklsmnxkkgiiil7", "alibaba", "cn-hangzhou", "CN"),
        ("alicloud://eu-west-1.i-v98dklsmnxkkgiiil7", "alibaba", "eu-west-1", "GB"),
    ],
)
def test_a_provider_id_that_names_its_region_is_read(provider_id: str, provider: str, name: str, place: str) -> None:
    region = region_of(provider_id)
    assert region is not None
    assert (region.provider, region.name, region.country) == (provider, name, place)


@pytest.mark.parametrize(
    "provider_id",
    [
        "",
        "aws",
        "aws://",
        f"aws://{AWS_ID}",
        f"aws:////{AWS_ID}",
        f"aws:///eu-west-2/{AWS_ID}",  # a region where a zone should be
        f"aws:///eu-west-2aa/{AWS_ID}",
        f"aws:///eu-west-2A/{AWS_ID}",
        f"aws:///eu-west-9a/{AWS_ID}",  # no such region: not guessed from eu-west
        f"aws:///eu-west-2-xyz-1a/{AWS_ID}",  # a local zone that nobody knows may be anywhere
        f"aws:///us-east-1-wl1-bos-wlz-1a/{AWS_ID}",
        f"aws:///us-east-1-wl1-xyz-wlz-1/{AWS_ID}",
        "aws:///eu-west-2a/i-0a1b2c3d",  # OUTSCALE's own eu-west-2, which is in France
        "aws:///eu-west-2a/",
        "aws:///eu-west-2a",
        f"aws:///eu-west-2a/{AWS_ID.upper()}",
        f"aws:///eu-west-2a/x/{AWS_ID}",
        f"AWS:///eu-west-2a/{AWS_ID}",
        f"aws:///eu-west-2a/{AWS_ID}\n",
        "eks-hybrid:///eu-west-2/cluster/mi-0123456789abcdef0",  # a machine of the customer's, wherever
        "gce://project/europe-west2/node",
        "gce://project/europe-west2-/node",
        "gce://project/europe-west2-aa/node",
        "gce://project/europe-west99-a/node",
        "gce://project/europe-west2-a",
        "gce:///europe-west2-a/node",
        "gce://project/us-south1-ai9z/node",
        "azure:///subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/northeurope",
        "hcloud://4711",
        "openstack:///53a6ca14-0d8d-4f2e-9887-2f1bcfba58ed",
        "openstack://eu-de/53a6ca14-0d8d-4f2e-9887-2f1bcfba58ed",  # whose cloud?
        "scaleway://instance/fr-par/53a6ca14",
        "scaleway://instance/fr-par-x/53a6ca14",
        "scaleway://instance/fr-par-1",
        "scaleway://fr-par-1/53a6ca14",
        "ocid1.instance.oc1.eu-frankfurt-2.abcdef",  # of another realm
        "ocid1.virtualnode.oc1.eu-zurich-1.abcdef",
        "ocid1.instance.oc1.eu-zurich-1.",
        "ocid1.instance.oc1.eu-zurich-1.x.y",
        "cn-hangzhou.v98dklsmnxkkgiiil7",
        "cn-atlantis.i-v98dklsmnxkkgiiil7",
        "digitalocean://4711",
        "vsphere://42301234-5678",
        "kind://docker/kind/kind-worker",
        "kwok://node-1",
    ],
)  # fmt: skip
def test_a_provider_id_that_does_not_surely_name_a_region_names_none(provider_id: str) -> None:
    assert region_of(provider_id) is None


FORMATS = st.sampled_from(["aws://", "gce://", "scaleway://", "oci://", "alicloud://", "azure://", ""])
PIECES = st.sampled_from(
    [
        "/",
        ".",
        "-",
        "a",
        "i-",
        AWS_ID,
        "eu-west-2",
        "eu-west-2a",
        "europe-west2-a",
        "fr-par-1",
        "ocid1",
        "instance",
        "oc1",
        "://",
    ]
)


@given(st.text() | st.builds("{}{}".format, FORMATS, st.lists(PIECES | st.text(max_size=3)).map("".join)))
@example("://")
@example("aws://///")
def test_any_text_can_be_asked_for_its_region(provider_id: str) -> None:
    region = region_of(provider_id)
    assert region is None or isinstance(region, Region)


@given(
    st.sampled_from(sorted(name for provider, name in regions() if provider == "aws")),
    st.text(max_size=3),
    st.text(max_size=3),
)
def test_a_zone_of_a_region_that_is_spelled_otherwise_is_nowhere(name: str, before: str, after: str) -> None:
    spelled = f"{before}{name}{after}"
    region = region_of(f"aws:///{spelled}a/{AWS_ID}")
    assert region is None or region.name == spelled
