"""A namespace of a clinic, its policy and one node of which nobody knows anything."""

from __future__ import annotations

import pytest

from tests.unit.control.ground import Ground


@pytest.fixture
def ground() -> Ground:
    made = Ground()
    made.policy()
    made.node()
    made.put("namespaces", "clinic", labels={"data": "health"})
    return made
