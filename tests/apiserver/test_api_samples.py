"""The samples are what a newcomer copies: each is accepted as it stands, and every kind that people write has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bailiwick.api.resource import API_VERSION
from bailiwick.api.schema import KINDS
from e2e.client import Client, documents

pytestmark = pytest.mark.apiserver

ROOT = Path(__file__).parents[2]
SAMPLES = [path for path in (ROOT / "samples").rglob("*.yaml") if ROOT / "samples/gitops" not in path.parents]
"""Those of kinds that this server has; test_gitops_samples.py has the kinds of Argo CD and Flux."""
FILES = sorted([*SAMPLES, *(ROOT / "charts/bailiwick/jurisdictions").glob("*.yaml")])
READ = {kind.__name__: kind for kind in KINDS}
WRITTEN_BY_THE_OPERATOR = {"Territory"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_sample_is_accepted_and_read(client: Client, namespace: str, file: Path) -> None:
    for manifest in documents(file):
        if "namespace" in manifest["metadata"]:
            manifest["metadata"]["namespace"] = namespace
        created = client.create(manifest, dry_run=True)
        if manifest["apiVersion"] == API_VERSION:
            assert READ[manifest["kind"]].read(created).metadata.name == manifest["metadata"]["name"]


def test_every_kind_that_people_write_has_a_sample() -> None:
    shown = {manifest["kind"] for file in (ROOT / "samples").rglob("*.yaml") for manifest in documents(file)}
    assert shown >= READ.keys() - WRITTEN_BY_THE_OPERATOR
