"""What dashboards and alerts ask of the gate, a real gate tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bailiwick.cli.reference.metrics import GATE

if TYPE_CHECKING:
    from tests.gate.conftest import Gate

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_gate_tells_the_metrics_that_we_use(gate: Gate) -> None:
    assert (await gate.ask("GET", "/v1/models")).status == 200
    reply = await gate.ask("GET", "/gate/metrics", port=8081, connection="close")
    samples = re.findall(r"^(\w+)\{([^}]*)\} \S+$", reply.body.decode().replace("\r", ""), re.MULTILINE)
    told = {(name, frozenset(re.findall(r'(\w+)="', labels))) for name, labels in samples}
    for wanted in GATE:
        assert any(name == wanted.name and labels >= set(wanted.labels) for name, labels in told), wanted.name
    proxies = {proxy for _, labels in samples for proxy in re.findall(r'proxy="(\w+)"', labels)}
    assert {"clients", "engine"} <= proxies, "the names by which dashboards ask"
