"""Nothing is granted to our own identities that no call needs, and no call needs what is not granted.

That the rights suffice on a real API server is shown by the suites that run operator, canary and webhook with nothing
else (tests/apiserver, `Realm.grant`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chart.permissions import ADMISSION, NEEDS, SOURCE, Need, permissions

if TYPE_CHECKING:
    from e2e.client import Manifest
    from tests.chart.helm import Helm

EVERY = [need for needs in NEEDS.values() for need in needs]


def granted(rendered: list[Manifest], account: str) -> frozenset[str]:
    """What the roles that are bound to a service account permit."""
    roles = {(each["kind"], each["metadata"]["name"]): each for each in rendered if each["kind"].endswith("Role")}
    bound = [
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in rendered
        if each["kind"].endswith("RoleBinding") and any(who["name"] == account for who in each["subjects"])
    ]
    return frozenset().union(*(permissions(roles[role]) for role in bound))


@pytest.mark.apiserver
@pytest.mark.parametrize("account", NEEDS)
def test_what_is_granted_is_what_calls_need(helm: Helm, account: str) -> None:
    needed = frozenset().union(*(need.permissions for need in NEEDS[account]))
    there = granted(helm.template(), account)
    assert sorted(there - needed) == [], "granted, and no call needs it"
    assert sorted(needed - there) == [], "a call needs it, and it is not granted"


@pytest.mark.apiserver
def test_a_webhook_whose_certificate_others_make_reads_no_secret(helm: Helm) -> None:
    there = granted(helm.template(admission={"certificates": "cert-manager"}), ADMISSION)
    assert there
    assert not any("secrets" in each or each.startswith("patch") for each in there)


@pytest.mark.apiserver
@pytest.mark.parametrize("account", NEEDS)
def test_nothing_is_granted_by_a_star(helm: Helm, account: str) -> None:
    assert not any("*" in each for each in granted(helm.template(), account))


@pytest.mark.parametrize("need", EVERY, ids=lambda need: f"{need.module}: {need.call}")
def test_the_call_is_in_the_code(need: Need) -> None:
    assert need.call in (SOURCE / need.module).read_text()
