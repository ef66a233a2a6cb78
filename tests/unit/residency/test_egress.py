"""What pods of a governed namespace may reach."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.api.residencypolicy import Egress
from bailiwick.residency.egress import Destination, common, network_policies
from tests.unit.residency.given import policy

GOLDEN = Path(__file__).parents[2] / "golden" / "egress.yaml"
LAKE: dict[str, Any] = {"cidr": "10.20.0.0/16", "ports": [{"port": 443}, {"port": 8000, "endPort": 8080}]}
SHORE: dict[str, Any] = {"cidr": "10.20.30.0/24"}
ELSEWHERE: dict[str, Any] = {"cidr": "2001:db8::/48"}


def egress(*written: dict[str, Any]) -> tuple[Egress, ...]:
    return tuple(Egress.model_validate(each) for each in written)


def to(cidr: str, *ports: tuple[str, int, int]) -> tuple[Destination, ...]:
    return tuple(Destination(ip_network(cidr), protocol, (first, last)) for protocol, first, last in ports)


def test_a_namespace_is_closed_by_these_network_policies() -> None:
    made = network_policies("clinic", [policy(network={"egress": [LAKE, ELSEWHERE]})])
    assert list(made) == list(yaml.safe_load_all(GOLDEN.read_text()))


@pytest.mark.parametrize(
    ("policies", "closed"),
    [
        ([], False),
        ([{}], False),
        ([{"network": {}}], True),
        ([{"network": {}, "mode": "Audit"}], False),
        ([{"network": {}, "mode": "Warn"}], False),
        ([{}, {"network": {}}], True),
    ],
    ids=["nobody", "not asked", "asked", "audit", "warn", "by one of two"],
)
def test_only_a_policy_that_enforces_and_asks_closes(policies: list[dict[str, Any]], *, closed: bool) -> None:
    made = network_policies("clinic", [policy(f"p{number}", **spec) for number, spec in enumerate(policies)])
    assert [each["metadata"]["name"] for each in made] == (["bailiwick-closed", "bailiwick-egress"] if closed else [])


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ([LAKE], [], ()),
        ([LAKE], [ELSEWHERE], ()),
        ([LAKE], [SHORE], to("10.20.30.0/24", ("TCP", 443, 443), ("TCP", 8000, 8080))),
        ([LAKE], [{**SHORE, "ports": [{"port": 443, "protocol": "UDP"}]}], ()),
        ([LAKE], [{**SHORE, "ports": [{"port": 8050, "endPort": 9000}]}], to("10.20.30.0/24", ("TCP", 8050, 8080))),
        ([SHORE, LAKE], [LAKE], to("10.20.0.0/16", ("TCP", 443, 443), ("TCP", 8000, 8080))),
    ],
    ids=["nothing", "apart", "nested", "another protocol", "ports overlap", "one holds the other"],
)
def test_several_policies_open_what_all_of_them_allow(
    one: list[dict[str, Any]], other: list[dict[str, Any]], both: tuple[Destination, ...]
) -> None:
    assert common((egress(*one), egress(*other))) == both
    assert common((egress(*other), egress(*one))) == both


PORTS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 4), st.sampled_from(["TCP", "UDP"])).map(
        lambda drawn: {"port": drawn[0], "endPort": drawn[0] + drawn[1], "protocol": drawn[2]}
    ),
    max_size=2,
)
RANGES = st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "::/0"])
LISTS = st.lists(st.builds(lambda cidr, ports: {"cidr": cidr, "ports": ports}, RANGES, PORTS), max_size=3)


@given(st.lists(LISTS, min_size=1, max_size=3), st.sampled_from(["10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1"]),
       st.integers(1, 14), st.sampled_from(["TCP", "UDP"]))  # fmt: skip
def test_an_address_is_open_exactly_when_every_policy_opens_it(
    lists: list[list[dict[str, Any]]], address: str, port: int, protocol: str
) -> None:
    def opens(each: dict[str, Any]) -> bool:
        ports = each["ports"] or [{"port": 1, "endPort": 65535, "protocol": protocol}]
        return ip_address(address) in ip_network(each["cidr"]) and any(
            open_["port"] <= port <= open_["endPort"] and open_["protocol"] == protocol for open_ in ports
        )

    found = common(tuple(egress(*each) for each in lists))
    reached = any(
        ip_address(address) in one.network and one.protocol == protocol and one.ports[0] <= port <= one.ports[1]
        for one in found
    )
    assert reached == all(any(opens(each) for each in written) for written in lists)
