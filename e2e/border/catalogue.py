"""The whole catalogue of ways around: which are tried on the real cluster, which elsewhere, which are only documented.

Its rows are those of rows.py and stories.py, and these. A unit test holds that every number is in one place, that the
tests which are named here exist, and that docs/border.md shows what stands here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

NUMBERS = range(1, 67)
BROKEN = "tests/apiserver/test_operator_border_broken.py"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A way around that needs another API server than the cluster's, or none; and the tests that close it."""

    number: int
    title: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Documented:
    """A way around that no test on one cluster can show closed, and what can be seen of it."""

    number: int
    title: str
    holds: str
    seen: str


ELSEWHERE = (
    Elsewhere(
        19, "an API server without NodeRestriction",
        (
            "tests/apiserver/test_operator_canary.py::test_without_node_restriction_nothing_counts_as_enforced",
            "tests/border/test_node_labels_are_the_operators.py::test_a_kubelet_is_stopped_before_that",
        ),
    ),
    Elsewhere(
        23, "a country guessed from the name of a region",
        (
            "tests/unit/residency/test_regions.py::test_a_region_is_where_it_is_and_not_where_its_name_points",
            "tests/unit/residency/test_regions.py::test_a_provider_id_that_does_not_surely_name_a_region_names_none",
        ),
    ),
    Elsewhere(
        36, "forgotten subresources, versions and kinds",
        (
            "tests/border/test_discovery_holds_no_surprise.py::test_everything_that_kubernetes_offers_has_been_thought_about",
            "tests/border/test_pods_carry_nothing_across.py::test_every_subresource_of_pods_is_accounted_for",
        ),
    ),
    Elsewhere(
        37, "compliant workloads refused by mistake",
        (
            "tests/border/test_workloads_of_others_pass.py::test_a_workload_is_taken_with_its_pod",
            "tests/border/test_pods_and_the_judge_agree.py::test_the_api_server_and_the_judge_agree",
            "tests/border/test_policies_are_plain.py::test_the_api_servers_own_type_checker_finds_nothing",
        ),
    ),
    Elsewhere(
        38, "a Territory, its kind, or a policy that is gone",
        (
            "tests/border/test_modes_and_losses.py::test_without_its_territory_a_namespace_refuses_everything",
            f"{BROKEN}::test_a_territory_that_is_gone_or_edited_is_written_anew",
            f"{BROKEN}::test_without_the_kind_of_territories_governed_namespaces_are_closed",
            "tests/border/test_territories_are_the_operators.py::test_nobody_deletes_all_of_them_with_their_crd",
        ),
    ),
    Elsewhere(
        41, "a lookup that fails and counts as an answer",
        (
            "tests/unit/cluster/test_listwatch.py::test_a_list_that_fails_in_the_middle_takes_nothing_for_deleted",
            "tests/unit/residency/test_border.py::test_unknown_plays_no_role_at_the_border",
            "tests/apiserver/test_admission.py::test_row_41_without_its_rights_it_refuses",
            "tests/unit/admission/test_checks.py::test_a_lookup_that_fails_is_a_refusal",
        ),
    ),
    Elsewhere(
        47, "dry runs that count as decisions",
        (
            "tests/apiserver/test_admission.py::test_a_dry_run_leaves_no_trace",
            "tests/apiserver/test_operator_canary.py::test_the_canary_changes_nothing_for_whoever_becomes_it",
        ),
    ),
    Elsewhere(
        48, "a version of a kind that means something else",
        (
            "tests/unit/api/test_api_generated.py::test_one_version_is_served_and_nothing_is_converted",
            "tests/apiserver/test_api_crds.py::test_a_complete_object_comes_back_whole_and_is_read",
        ),
    ),
)  # fmt: skip

DOCUMENTED = (
    Documented(
        56, "engines that talk to each other in the clear",
        "a replica is one pod, its engine listens on loopback, and its NetworkPolicy shuts every other way "
        "(e2e/test_skeleton.py)",
        "the NetworkPolicy of each model; whether the network enforces it, by the reason `NotSealed`",
    ),
    Documented(
        61, "logs, backups, etcd and keys that are kept elsewhere",
        "nothing: they leave by nodes and by the provider, not by pods",
        "the nodes of the control plane are judged like any other, and are outside while nobody vouches for them; the "
        "rest is not seen",
    ),
    Documented(
        62, "verification that calls home",
        "Bailiwick calls nobody: signatures of statements are verified with the keys in `Authority`",
        "what a verifier of other makers calls, by the egress that somebody had to open for it",
    ),
    Documented(
        63, "cluster-admin, etcd, root on a node, an aggregated API server",
        "nothing; see [what nobody can prevent](#what-nobody-can-prevent)",
        "within about a minute, `Enforced` turns False when a check is gone; the audit log of the API server has the "
        "rest, if it is kept where they cannot reach it",
    ),
)  # fmt: skip


def table_of_elsewhere() -> str:
    """The tests that close what the cluster cannot show, as Markdown."""
    return _table(
        ("#", "way around", "tests"),
        ((str(row.number), row.title, "; ".join(_link(test) for test in row.tests)) for row in ELSEWHERE),
    )


def table_of_documented() -> str:
    """What is documented and not tested, as Markdown."""
    return _table(
        ("#", "way around", "what holds", "what can be seen of it"),
        ((str(row.number), row.title, row.holds, row.seen) for row in DOCUMENTED),
    )


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name.replace('::', ' ').removeprefix('test_').replace('_', ' ')}](../{file})"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:], ""])
