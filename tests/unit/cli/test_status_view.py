"""What `bailiwick status` makes of objects: findings first, then tables, then the same for programs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cli.live.overview import Overview, as_json, overview
from bailiwick.cli.live.status_text import lines
from bailiwick.cli.tables import Style, Tone, harmless
from tests.unit.residency.given import NOW

if TYPE_CHECKING:
    from collections.abc import Mapping

LATELY = "2026-11-20T23:59:40Z"
PLAIN, COLOURFUL = Style(), Style(colour=True, width=80)


def condition(aspect: str, status: str = "True", reason: str = "Fine", message: str = "") -> dict[str, Any]:
    return {
        "type": aspect, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-11-20T00:00:00Z",
    }  # fmt: skip


def policy(
    *conditions: Mapping[str, Any], name: str = "health", mode: str = "Enforce", **status: Any
) -> dict[str, Any]:
    stated = conditions or tuple(map(condition, ("Accepted", "Enforced", "Compliant", "Ready")))
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"namespaceSelector": {"matchLabels": {"data": name}}, "place": {"allow": ["EU"]}, "mode": mode},
        "status": {"observedGeneration": 1, "conditions": list(stated), "lastProof": LATELY, **status},
    }


def model(*conditions: Mapping[str, Any], **status: Any) -> dict[str, Any]:
    stated = conditions or (condition("Ready", reason="Serving"),)
    return {
        "metadata": {"name": "chat", "namespace": "clinic", "generation": 1},
        "spec": {"model": {"name": "tiny", "source": {"oci": {"image": "registry.example/tiny:1"}}}, "replicas": 2},
        "status": {"observedGeneration": 1, "conditions": list(stated), **status},
    }


def territory(name: str = "health", **nodes: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"policy": name, "nodes": nodes}}


def seen(*policies: Any, models: Any = (), territories: Any = (), unseen: Any = ()) -> Overview:
    return overview(policies, territories, models, now=NOW, unseen=unseen)


def reasons(told: Overview) -> list[str]:
    return [each.reason for each in told.findings]


def text(told: Overview, style: Style = PLAIN, namespace: str | None = None) -> str:
    return "\n".join(lines(told, style, NOW, namespace))


def test_where_all_is_well_nothing_is_found() -> None:
    told = seen(policy(), models=[model()])
    assert told.findings == ()
    assert text(told).startswith("All is as it should be.\n")


def test_what_is_false_comes_before_what_is_unknown_whatever_the_kind() -> None:
    doubt = policy(condition("Compliant", "Unknown", "NotAudited", "nobody looked"))
    down = model(condition("Placed", "False", "Unschedulable", "no node"))
    assert reasons(seen(doubt, models=[down])) == ["Unschedulable", "NotAudited"]


def test_a_summary_that_repeats_another_condition_is_left_out() -> None:
    twice = (
        condition("Planned", "False", "DoesNotFit", "too large"),
        condition("Ready", "False", "DoesNotFit", "too large"),
    )
    (found,) = seen(models=[model(*twice)]).findings
    assert found.condition == "Planned"


def test_a_summary_that_says_more_is_not() -> None:
    two = (
        condition("Planned", "False", "DoesNotFit", "too large"),
        condition("Ready", "False", "NotWritten", "refused"),
    )
    assert reasons(seen(models=[model(*two)])) == ["DoesNotFit", "NotWritten"]


@pytest.mark.parametrize("reason", ["NotAsked", "NotSeen", "NoPods"])
def test_what_is_unknown_because_nobody_asked_is_fine(reason: str) -> None:
    assert not seen(policy(condition("Enforced", "Unknown", reason))).findings


def test_the_same_reason_is_none_for_what_is_false() -> None:
    assert reasons(seen(policy(condition("Enforced", "False", "NotAsked")))) == ["NotAsked"]


def test_what_the_operator_has_not_looked_at_is_found() -> None:
    changed = policy()
    changed["metadata"]["generation"] = 2
    (found,) = seen(changed).findings
    assert (found.reason, found.condition) == ("NotLookedAt", "Ready")
    assert "kubectl get pods -n bailiwick-system" in found.message
    without = policy()
    del without["status"]
    assert reasons(seen(without)) == ["NotLookedAt"]


@pytest.mark.parametrize(
    ("proof", "found"),
    [(LATELY, []), ("2026-11-20T23:56:00Z", ["ProofTooOld"]), (None, ["ProofTooOld"])],
)
def test_a_proof_that_grew_old_proves_nothing(proof: str | None, found: list[str]) -> None:
    assert reasons(seen(policy(lastProof=proof))) == found


def test_what_is_being_deleted_is_found_and_nothing_else_of_it() -> None:
    going = model(condition("Ready", "False", "Progressing"))
    going["metadata"]["deletionTimestamp"] = "2026-11-20T10:00:00Z"
    (found,) = seen(models=[going]).findings
    assert (found.name, found.reason) == ("clinic/chat", "Terminating")
    assert "2026-11-20 10:00:00 UTC" in found.message


def test_an_object_that_cannot_be_read_is_found_and_the_others_are_shown() -> None:
    odd = policy(name="odd")
    odd["spec"]["mode"] = "Sometimes"
    told = seen(odd, policy())
    assert [(each.name, each.reason) for each in told.findings] == [("odd", "Unreadable")]
    assert [each.name for each in told.policies] == ["health"]


def test_nodes_are_told_by_where_they_stand_and_the_others_by_why_they_are_outside() -> None:
    outside = [{"reason": "WrongPlace", "count": 7, "message": "", "examples": ["u1", "u2", "u3", "u4", "u5"]}]
    inside = territory(n2="DE", n1="DE", n3="FR")
    told = text(seen(policy(outside=outside), territories=[inside]))
    assert "health   DE 2 (n1, n2); FR 1 (n3)   WrongPlace 7 (u1, u2, u3, u4, ...)" in told


def test_a_policy_without_a_territory_and_one_without_nodes_differ() -> None:
    told = text(seen(policy(), policy(name="lab"), territories=[territory("lab")]))
    assert "health   not known: no Territory   none" in told
    assert "lab      none                      none" in told


def test_a_model_is_told_by_what_it_runs_on_and_where() -> None:
    plan = {
        "engine": "vllm", "image": "i", "acceleratorClass": "l4", "devicesPerReplica": 1, "nodesPerReplica": 1,
    }  # fmt: skip
    served = model(
        plan=plan, readyReplicas=1, jurisdictions=["DE"], policies=["health"], nodes={"eligible": 3, "ineligible": []}
    )
    (row,) = text(seen(models=[served])).splitlines()[-1:]
    assert row.split() == ["clinic", "chat", "True", "Serving", "1/2", "DE", "3", "vllm", "on", "l4", "health"]


def test_what_is_served_outside_runs_on_no_class() -> None:
    plan = {
        "engine": "external", "image": "i", "acceleratorClass": "", "devicesPerReplica": 0, "nodesPerReplica": 1,
    }  # fmt: skip
    assert seen(models=[model(plan=plan)]).models[0].runs_on == "external"


def test_who_may_see_models_alone_is_told_what_to_ask_for() -> None:
    told = text(seen(models=[model()], unseen=["you may not list residencypolicies; ask for the ClusterRole x"]))
    assert "not seen: you may not list residencypolicies; ask for the ClusterRole x" in told
    assert "All is as it should be" not in told


def test_an_empty_namespace_says_how_to_see_the_others() -> None:
    assert text(seen(policy()), namespace="clinic").endswith("No models in namespace clinic; -A shows those of all.")


def test_a_cluster_without_policies_is_not_called_fine() -> None:
    assert text(seen()).startswith("There is no ResidencyPolicy, so no namespace is governed.")


def test_programs_read_the_same() -> None:
    told = as_json(seen(policy(condition("Ready", "False", "Bad", "why")), territories=[territory(n1="DE")]))
    assert told["version"] == 1
    (found,) = told["findings"]
    assert found.pop("kind") == "ResidencyPolicy"
    assert found == {"name": "health", "condition": "Ready", "status": "False", "reason": "Bad", "message": "why"}
    assert told["policies"][0]["inside"] == {"DE": ["n1"]}
    assert told["policies"][0]["lastProof"] == LATELY


def test_colour_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Style.of(Terminal()).colour
    assert not Style.of(io.StringIO()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Style.of(Terminal()).colour
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not Style.of(Terminal()).colour


def test_colour_says_which_condition_is_bad() -> None:
    told = text(seen(policy(condition("Ready", "False", "Bad"), condition("Enforced"))), COLOURFUL)
    assert "\033[31mFalse\033[0m" in told
    assert "\033[32mTrue\033[0m" in told


def test_colour_moves_no_column() -> None:
    rows = [["a", "b"], ["longer", "c"]]
    plain = list(PLAIN.table(("ONE", "TWO"), rows))
    painted = [line.replace("\033[2m", "").replace("\033[0m", "") for line in COLOURFUL.table(("ONE", "TWO"), rows)]
    assert plain == painted
    assert plain[1] == "a        b"


def test_nobody_steers_a_terminal_by_a_name_or_message() -> None:
    evil = policy(condition("Ready", "False", "Bad", "\033[2Jgone\r\nforged: True\u202eabc"))
    told = text(seen(evil), COLOURFUL)
    assert "\033[2J" not in told
    assert "\u202e" not in told
    assert harmless("a\nb\x9bc") == "a b c"
    assert COLOURFUL.paint("", Tone.BAD) == ""


def test_messages_are_wrapped_where_a_terminal_is_narrow() -> None:
    long = " ".join(["word"] * 60)
    told = text(seen(policy(condition("Ready", "False", "Bad", long))), COLOURFUL)
    wrapped = [line for line in told.splitlines() if line.startswith("    word")]
    assert len(wrapped) > 3
    assert all(len(line) <= 80 for line in wrapped)
    assert f"    {long}" in text(seen(policy(condition("Ready", "False", "Bad", long))))
