"""What the gate does for engines that are not like vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio

    from tests.gate.conftest import Gate, Request, StartGate

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def open_to_all(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: https://pages.example\r\n"
        b"Access-Control-Allow-Credentials: true\r\ncontent-length: 2\r\n\r\n{}"
    )


async def test_the_kubelet_asks_for_health_where_every_gate_has_it_and_the_engine_where_it_has_it(
    start_gate: StartGate,
) -> None:
    gate = await start_gate(ENGINE_HEALTH="/api/version")
    assert (await gate.ask("GET", "/health", port=8081)).status == 200
    assert (await gate.ask("GET", "/metrics", port=8081)).status == 200
    assert (await gate.ask("GET", "/api/version", port=8081)).status == 404
    assert [request.target for request in gate.engine.requests] == ["/api/version", "/metrics"]


async def test_no_engine_says_whose_pages_may_read_its_answers(gate: Gate) -> None:
    gate.engine.answer = open_to_all
    answer = await gate.ask("GET", "/v1/models", Origin="https://pages.example")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_client_cannot_leave_its_request_running_behind(gate: Gate) -> None:
    await gate.ask("POST", "/v1/chat/completions", b"{}", X_Conversation_Id="a")
    assert "x-conversation-id" not in gate.engine.requests[-1].headers


async def test_a_client_neither_steers_vllm_nor_reads_its_load_by_headers(gate: Gate) -> None:
    headers: Any = {"X_Data_Parallel_Rank": "3", "Endpoint_Load_Metrics_Format": "json"}
    await gate.ask("POST", "/v1/chat/completions", b"{}", **headers)
    assert {"x-data-parallel-rank", "endpoint-load-metrics-format"}.isdisjoint(gate.engine.requests[-1].headers)
