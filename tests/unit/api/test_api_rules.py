"""What the API server refuses, reconcile refuses too: the same table, read by the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from bailiwick.api.markers import VALIDATIONS
from bailiwick.api.schema import KINDS, open_api_schema
from tests.unit.api.objects import COMPLETE, changed
from tests.unit.api.refusals import REFUSALS, Refusal
from tests.unit.api.test_api_schemas import nodes

if TYPE_CHECKING:
    from bailiwick.api.resource import Resource

READ: dict[str, type[Resource]] = {kind.__name__: kind for kind in KINDS}


@pytest.mark.parametrize("kind", COMPLETE)
def test_the_complete_object_is_read_and_written_without_loss(kind: str) -> None:
    read = READ[kind].read(COMPLETE[kind])
    written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for part in ("spec", "status"):
        assert READ[kind].read({**COMPLETE[kind], part: written.get(part)}) == read


OF_STATUS = [each for each in REFUSALS if each.field.startswith("status")]


@pytest.mark.parametrize("refusal", [each for each in REFUSALS if each not in OF_STATUS], ids=str)
def test_what_breaks_a_rule_is_not_read(refusal: Refusal) -> None:
    with pytest.raises(ValidationError) as refused:
        READ[refusal.kind].read(refusal.manifest)
    broken = [error for error in refused.value.errors() if error["type"] == "rule"]
    assert all(error["msg"] == refusal.message for error in broken)


@pytest.mark.parametrize("refusal", OF_STATUS, ids=str)
def test_a_status_that_cannot_be_read_is_none(refusal: Refusal) -> None:
    """Another release wrote it: what people asked for counts all the same."""
    read: Any = READ[refusal.kind].read(refusal.manifest)
    assert read.status is None
    assert read.spec == READ[refusal.kind].read(COMPLETE[refusal.kind]).spec  # type: ignore[attr-defined]


def test_every_rule_of_every_kind_is_broken_in_the_table() -> None:
    """Per kind and message: a rule that nobody breaks is not known to work. One that compares with the object before is
    broken in tests/apiserver/test_api_crds.py."""
    rules = {
        (kind.__name__, rule["message"])
        for kind in KINDS
        for _, node in nodes(open_api_schema(kind))
        for rule in node.get(VALIDATIONS, ())
        if "oldSelf" not in rule["rule"]
    }
    broken = {(refusal.kind, refusal.message) for refusal in REFUSALS}
    assert {message for _, message in rules} - {message for _, message in broken} == set()


@pytest.mark.parametrize("kind", COMPLETE)
def test_a_field_of_a_newer_version_is_ignored(kind: str) -> None:
    assert READ[kind].read(changed(kind, {"spec.fromTheFuture": {"a": 1}})) == READ[kind].read(COMPLETE[kind])


@pytest.mark.parametrize("kind", COMPLETE)
def test_an_object_without_a_name_is_read(kind: str) -> None:
    """Parts of plans and tests build objects that no server has named."""
    assert READ[kind].read(changed(kind, {"metadata": {}})).metadata.name == ""
