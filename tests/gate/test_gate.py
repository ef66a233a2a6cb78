"""The gate lets inference through and nothing else, and says so in the shape that clients of the API understand."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from contextlib import suppress

import openai
import pytest

from bailiwick.workload.engines import vllm
from bailiwick.workload.layout import PRE_STOP_SECONDS
from e2e.gate.process import CONFIGURATION
from tests.gate.conftest import Gate, Reply, Request, StartGate, read_reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFERENCE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/score",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
# What vLLM 0.32 serves beside that, from its own list of routes.
NOT_INFERENCE = (
    "/", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/load", "/version", "/kv_event_sources",
    "/health", "/metrics", "/tokenize", "/detokenize", "/v1/systemone", "/ping", "/invocations",
    "/v1/chat/completions/batch", "/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/generative_scoring",
    "/scale_elastic_ep", "/is_scaling_elastic_ep", "/v1/chat/completions/render", "/v1/completions/derender",
    "/inference/v1/generate", "/inference/v1/abort_requests", "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
    "/sleep", "/wake_up", "/collective_rpc", "/pause", "/update_weights", "/server_info", "/pooling", "/classify",
    "/gate/health", "/gate/metrics",
)  # fmt: skip
# Other ways to write a path that is served, and ways to slip out of one.
SPELLINGS = (
    "//v1/models", "/v1//models", "/./v1/models", "/v1/./models", "/v1/models/", "/v1/models/.", "/v1/models/..",
    "/v1/models/../../metrics", "/v1/models/%2e%2e/%2e%2e/metrics", "/v1/models/..%2f..%2fmetrics",
    "/v1/models/..;/metrics", "/v1/models;/metrics", "/v1/%6dodels", "/%76%31/models", "/V1/models", "/v1/Models",
    "/v1/models%00", "/v1/models%20", "/v1/models\\..\\metrics", "/v1/models/a//metrics", "/v1/models/a/../metrics",
    "/v1/chat/completions/", "/v1/chat/completions/../../../invocations", "/v1/chat%2fcompletions", "/v1/completions.",
    "/metrics?/v1/models", "/metrics#/v1/models", "/v1/models#/metrics", "/metrics?path=/v1/models",
    "http://model/metrics", "http://model/v1/models", "HTTP://MODEL/v1/models", "model:8000", "*", "v1/models",
    "/x/v1/models", "/v1/modelsx", "?/v1/models", "@/v1/models",
)  # fmt: skip


def error(reply: Reply) -> dict[str, object]:
    assert reply.headers["content-type"] == "application/json"
    told: dict[str, object] = json.loads(reply.body)["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return told


@pytest.mark.parametrize("path", INFERENCE)
async def test_inference_reaches_the_engine_as_it_was_sent(gate: Gate, path: str) -> None:
    reply = await gate.ask("POST", path, b'{"model":"m"}', authorization="Bearer key")
    assert reply.status == 200
    (seen,) = gate.engine.requests
    assert (seen.method, seen.target, seen.body) == ("POST", path, b'{"model":"m"}')
    assert seen.headers["authorization"] == "Bearer key"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/llama", "/v1/models/org/llama-3.1:8b", "/v1/models?limit=1"]
)
async def test_models_are_listed(gate: Gate, path: str) -> None:
    assert (await gate.ask("GET", path)).status == 200
    assert [seen.target for seen in gate.engine.requests] == [path]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", NOT_INFERENCE)
async def test_everything_else_of_the_engine_is_refused(gate: Gate, method: str, path: str) -> None:
    reply = await gate.ask(method, path)
    assert reply.status == 404
    assert error(reply)["code"] == "path_not_allowed"
    assert gate.engine.requests == []


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_spelling_of_a_path_slips_through(gate: Gate, target: str) -> None:
    for method in ("GET", "POST"):
        reply = await gate.ask(method, target)
        assert reply.status in {400, 404}
        assert reply.status == 400 or error(reply)["code"] == "path_not_allowed"
    assert gate.engine.requests == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/models", "GET"),
        ("HEAD", "/v1/models", "GET"),
        ("DELETE", "/v1/models/llama", "GET"),
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/completions", "POST"),
        ("post", "/v1/completions", "POST"),
        ("OPTIONS", "/v1/embeddings", "POST"),
    ],
)
async def test_a_path_has_one_method(gate: Gate, method: str, path: str, allowed: str) -> None:
    if method == "HEAD":  # a reply to HEAD announces a body and has none
        reader, writer = await asyncio.open_connection(gate.address, 8080)
        writer.write(f"HEAD {path} HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n".encode())
        assert b" 405 " in (await reader.read()).splitlines()[0]
        writer.close()
    else:
        reply = await gate.ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)
        assert error(reply)["code"] == "method_not_allowed"
    assert gate.engine.requests == []


async def test_a_second_request_in_the_same_connection_is_judged_too(gate: Gate) -> None:
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}")
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: m\r\n\r\n")
    assert (await read_reply(reader)).status == 200
    assert (await read_reply(reader)).status == 404
    writer.close()
    assert [seen.target for seen in gate.engine.requests] == ["/v1/completions"]


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 6\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked",
        b"transfer-encoding: xchunked",
        b"content-length: 6\r\ncontent-length: 7",
        b"content-length: -1",
        b"content-length: +6",
        b"content-length: 6, 7",
        b"content-length : 6",
        b"x: y",
    ],
    ids=repr,
)
async def test_a_body_of_uncertain_length_is_refused(gate: Gate, headers: bytes) -> None:
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: m\r\n\r\n"
    reply = await gate.send(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\n" + headers + b"\r\n\r\n" + smuggled)
    assert reply.status in {400, 411}
    assert reply.status == 400 or error(reply)["code"] == "length_required"
    assert gate.engine.requests == []


async def test_reading_carries_no_body(gate: Gate) -> None:
    chunked = await gate.send(b"GET /v1/models HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    assert chunked.status == 411
    announced = await gate.send(b"GET /v1/models HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}")
    assert announced.status == 400
    assert gate.engine.requests == []


async def test_no_tunnel_is_opened(gate: Gate) -> None:
    for protocol in ("websocket", "h2c"):
        key = "bailiwick+bailiwick+bw=="  # without one, it is no request at all
        reply = await gate.ask("GET", "/v1/models", connection="Upgrade", upgrade=protocol, sec_websocket_key=key)
        assert reply.status == 400
        assert error(reply)["code"] == "malformed_request"
    reply = await gate.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    assert reply.status == 400
    assert (await gate.send(b"CONNECT 127.0.0.1:8000 HTTP/1.1\r\nhost: m\r\n\r\n")).status in {400, 404}
    assert gate.engine.requests == []


async def test_a_body_may_have_the_limit_and_not_a_byte_more(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_MAX_BODY_BYTES="100000")
    assert (await gate.ask("POST", "/v1/completions", bytes(100_000))).status == 200
    reply = await gate.send(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 100001\r\n\r\n")
    assert reply.status == 413
    assert "100000" in str(error(reply)["message"])
    assert len(gate.engine.requests) == 1


async def test_headers_that_the_engine_believes_are_not_passed_on(gate: Gate) -> None:
    reply = await gate.ask("GET", "/v1/models", x_forwarded_for="10.0.0.1", forwarded="for=10.0.0.1", x_request_id="7")
    (seen,) = gate.engine.requests
    assert {"x-forwarded-for", "forwarded"}.isdisjoint(seen.headers)
    assert seen.headers["x-request-id"] == "7"
    assert "server" not in reply.headers


async def test_tokens_arrive_while_the_engine_still_writes(gate: Gate) -> None:
    read = asyncio.Event()

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for token in (b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"):
            writer.write(f"{len(token):x}\r\n".encode() + token + b"\r\n")
            await writer.drain()
            await asyncio.wait_for(read.wait(), 5)  # the next token is written when this one has been read
            read.clear()
        writer.write(b"0\r\n\r\n")

    gate.engine.answer = answer
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}")
    for token in (b"data: one\n", b"data: two\n", b"data: [DONE]\n"):
        await asyncio.wait_for(reader.readuntil(token), 5)
        read.set()
    await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
    writer.close()


async def test_an_engine_may_think_longer_than_a_client_may_idle(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_IDLE_TIMEOUT="300ms")

    async def answer(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        await gate_answer(request, reader, writer)

    gate_answer, gate.engine.answer = gate.engine.answer, answer
    assert (await gate.ask("POST", "/v1/completions", b"{}")).status == 200


async def test_a_client_that_leaves_frees_its_place_in_the_engine(gate: Gate) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def answer(_request: Request, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        began.set()
        with suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        left.set()

    gate.engine.answer = answer
    _, writer = await asyncio.open_connection(gate.address, 8080)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}")
    await asyncio.wait_for(began.wait(), 5)
    writer.close()
    await asyncio.wait_for(left.wait(), 5)


async def test_a_client_that_dawdles_is_let_go(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_REQUEST_TIMEOUT="300ms")
    assert (await gate.send(b"GET /v1/models HTTP/1.1\r\nhost:")).status == 408
    reply = await gate.send(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 60000\r\n\r\n{")
    assert reply.status == 408
    assert error(reply)["code"] == "request_timeout"
    assert gate.engine.requests == []


async def test_a_client_that_does_not_read_is_let_go(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_IDLE_TIMEOUT="500ms")
    let_go = asyncio.Event()

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(1_000_000))
                await writer.drain()
        let_go.set()

    gate.engine.answer = answer
    _, writer = await asyncio.open_connection(gate.address, 8080, limit=1)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n\r\n{}")
    await asyncio.wait_for(let_go.wait(), 5)
    writer.close()


async def test_a_gate_that_drains_sends_its_clients_elsewhere(start_gate: StartGate) -> None:
    gate = await start_gate()
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    for closes in (False, True):
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n")
        reply = await asyncio.wait_for(read_reply(reader), 5)
        assert reply.status == 200
        assert (reply.headers.get("connection") == "close") is closes
        assert (await gate.ask("GET", "/gate/drain", port=8081)).status == 200
    assert await asyncio.wait_for(reader.read(), 5) == b"", "the gate ends the connection itself"
    writer.close()
    assert (await gate.ask("GET", "/v1/models")).status == 200, "who has not heard of it yet is still served"


async def test_a_connection_without_requests_ends_before_the_engine_does(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_KEEP_ALIVE="300ms")
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n")
    await asyncio.wait_for(read_reply(reader), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_idle_connections_end_while_the_engine_goes_on() -> None:
    (said,) = re.findall(r"presetenv GATE_KEEP_ALIVE (\d+)s", CONFIGURATION.read_text())
    assert int(said) < PRE_STOP_SECONDS
    assert int(said) < int(vllm.KEPT["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) / 2


MODELS = b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n"


@pytest.mark.parametrize(
    ("what_is_known", "connections"),
    [({"ENGINE_KEEPS_CONNECTIONS": "true"}, [1, 2, 1, 2]), ({}, [1, 2, 3, 4])],
    ids=["each caller has its own", "each request has its own"],
)
async def test_no_two_callers_share_a_connection_to_the_engine(
    start_gate: StartGate, what_is_known: dict[str, str], connections: list[int]
) -> None:
    gate = await start_gate(**what_is_known)
    gate.engine.keeps_connections = True
    callers = [await asyncio.open_connection(gate.address, 8080) for _ in range(2)]
    for reader, writer in callers * 2:
        writer.write(MODELS)
        assert (await asyncio.wait_for(read_reply(reader), 5)).status == 200
    assert [request.connection for request in gate.engine.requests] == connections
    for _, writer in callers:
        writer.close()


async def test_a_connection_that_the_engine_has_ended_is_not_asked_again(start_gate: StartGate) -> None:
    gate = await start_gate(ENGINE_KEEPS_CONNECTIONS="true")
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    for connection in (1, 2):
        writer.write(MODELS)  # the engine ends each connection after its answer, without a word
        assert (await asyncio.wait_for(read_reply(reader), 5)).status == 200
        assert gate.engine.requests[-1].connection == connection
        await asyncio.sleep(0.1)  # the client thinks
    writer.close()


async def test_without_an_engine_the_gate_says_what_to_do(start_gate: StartGate) -> None:
    gate = await start_gate(ENGINE_PORT="1")
    reply = await gate.ask("POST", "/v1/completions", b"{}")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert error(reply)["code"] == "engine_unavailable"
    assert (await gate.ask("GET", "/gate/health", port=8081)).status == 200
    assert (await gate.ask("GET", "/health", port=8081)).status == 503


async def test_an_engine_that_says_nothing_is_given_up(start_gate: StartGate) -> None:
    gate = await start_gate(GATE_ANSWER_TIMEOUT="300ms")

    async def answer(_request: Request, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    gate.engine.answer = answer
    reply = await gate.ask("POST", "/v1/completions", b"{}")
    assert reply.status == 504
    assert error(reply)["code"] == "engine_timeout"


@pytest.mark.parametrize("path", ["/health", "/metrics"])
async def test_the_kubelet_and_prometheus_reach_the_engine_by_another_port(gate: Gate, path: str) -> None:
    assert (await gate.ask("GET", path, port=8081)).status == 200
    assert [seen.target for seen in gate.engine.requests] == [path]


async def test_the_gate_tells_its_own_metrics(gate: Gate) -> None:
    reply = await gate.ask("GET", "/gate/metrics", port=8081, connection="close")
    assert b"haproxy_frontend_http_requests_total" in reply.body
    assert gate.engine.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/completions"),
        ("POST", "/health"),
        ("GET", "/metrics/"),
        ("GET", "//health"),
    ],
)
async def test_the_port_of_the_kubelet_serves_nothing_else(gate: Gate, method: str, path: str) -> None:
    assert (await gate.ask(method, path, port=8081)).status == 404
    assert gate.engine.requests == []


async def test_an_unhealthy_engine_looks_unhealthy(gate: Gate) -> None:
    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")

    gate.engine.answer = answer
    assert (await gate.ask("GET", "/health", port=8081)).status == 503


async def test_it_ends_when_it_is_told_although_a_client_keeps_its_connection(start_gate: StartGate) -> None:
    gate = await start_gate()
    reader, writer = await asyncio.open_connection(gate.address, 8080)
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n")
    assert (await read_reply(reader)).status == 200
    gate.process.send_signal(signal.SIGUSR1)  # STOPSIGNAL of the image
    assert await asyncio.wait_for(gate.process.wait(), 5) == 0
    writer.close()


async def test_nothing_that_a_client_wrote_is_logged(start_gate: StartGate) -> None:
    gate = await start_gate()
    secret = "my-diagnosis"
    await gate.ask("POST", "/v1/completions", secret.encode(), x_note=secret, authorization=f"Bearer {secret}")
    await gate.ask("POST", f"/v1/completions?q={secret}", b"{}")
    await gate.ask("GET", f"/v1/models/{secret}")
    await gate.ask("GET", f"/{secret}")
    await gate.send(f"{secret} {secret} {secret}\r\n\r\n".encode())
    lines = [json.loads(line) for line in gate.log.read_text().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/v1/completions", 200),
        ("/v1/completions", 200),
        ("/v1/models", 200),
        ("-", 404),
        ("-", 400),
    ]
    assert secret not in gate.log.read_text()


async def test_the_openai_client_understands_a_refusal(gate: Gate) -> None:
    async with openai.AsyncOpenAI(base_url=f"http://{gate.address}:8080", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.post("/tokenize", cast_to=object, body={"prompt": "hello"})
    assert refused.value.code == "path_not_allowed"
    assert "refused" in refused.value.message
