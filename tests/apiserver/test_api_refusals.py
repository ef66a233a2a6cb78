"""The API server refuses what breaks a rule, blames the right field, and says so in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.api.schema import KINDS
from e2e.client import ApiError, Cause, Client, Manifest
from tests.unit.api.objects import changed
from tests.unit.api.refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.apiserver

NAMESPACED = {kind.__name__ for kind in KINDS if kind.presents.namespaced}
UNCHECKED = "some validation rules were not checked"
LONGEST_ANSWER = 300
UNPROCESSABLE = 422


def create(client: Client, manifest: Manifest, *, dry_run: bool = True) -> Manifest:
    namespace = "default" if manifest["kind"] in NAMESPACED else None
    return client.create(manifest, namespace=namespace, dry_run=dry_run)


@pytest.fixture(scope="module")
def model(client: Client) -> Iterator[Manifest]:
    """A model that exists, so that its status can be written."""
    created = create(client, changed("SovereignModel", {"metadata.name": "refusals"}), dry_run=False)
    yield created
    client.delete(API_VERSION, "SovereignModel", "refusals", "default")


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_the_answer_names_field_and_reason(client: Client, model: Manifest, refusal: Refusal) -> None:
    causes = refusal_of(client, model, refusal)
    assert {cause.field.removeprefix(".") for cause in causes} == {refusal.field}
    assert causes[0].message.endswith(refusal.message)
    for cause in causes:
        assert len(cause.message) <= LONGEST_ANSWER
        assert "^" not in cause.message


def refusal_of(client: Client, model: Manifest, refusal: Refusal) -> list[Cause]:
    """What the server has against an object; a status is written to ``model``, for no other way leads there."""
    manifest = refusal.manifest
    with pytest.raises(ApiError) as refused:  # noqa: PT012 - one of two requests
        if refusal.field.startswith("status"):
            client.replace({**model, "status": manifest["status"]}, subresource="status")
        else:
            create(client, manifest)
    assert refused.value.code == UNPROCESSABLE
    return [cause for cause in refused.value.causes if UNCHECKED not in cause.message]
