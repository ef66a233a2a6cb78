"""The tutorial on the real cluster, as it is after `make demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e import tutorial
from e2e.demo.attacks import ABROAD, INSIDE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

pytestmark = [
    pytest.mark.usefixtures("model"),
    pytest.mark.skipif((INSIDE, ABROAD) != tutorial.NODES, reason="the page speaks of the nodes of our own cluster"),
]


@pytest.fixture
def cleared(kubectl: Kubectl) -> Iterator[None]:
    """Nothing of an earlier run, nor of this one when it fails half way."""
    _clear(kubectl)
    yield
    _clear(kubectl)


def _clear(kubectl: Kubectl) -> None:
    for kind, name in (("namespace", tutorial.NAMESPACE), ("residencypolicy", tutorial.POLICY)):
        kubectl.must("delete", kind, name, "--ignore-not-found", "--wait=true", timeout=120)


@pytest.mark.usefixtures("cleared")
def test_the_tutorial_works_from_its_first_command_to_its_last(installed: Installed, tmp_path: Path) -> None:
    desk = tutorial.Desk(tmp_path, installed.kubeconfig, [installed.tools])
    for block in tutorial.blocks(tutorial.PAGE.read_text()):
        if not block.before:
            desk.do(block)
