"""The image's gate before the image's vLLM with real weights, asked by the `openai` client, without a cluster."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from e2e.cluster.model_files import model_files
from e2e.engines.vllm_process import QUICK, command
from e2e.gate.process import running
from tests.gate.shown import ISSUER, Mount, claims, jwk, jwks, rsa_key, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS, MODEL = "127.0.88.1", "assistant"
ALICE, CAROL = (f"{name}-{'0123456789abcdef' * 2}" for name in ("alice", "carol"))
SIGNER = rsa_key()
STARTS_WITHIN = 600.0
QUESTION: list[Any] = [{"role": "user", "content": "Count from one to ten."}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass(frozen=True)
class Served:
    """A gate, its engine's port, and the Secret with API keys."""

    engine_port: int
    keys: Mount
    log: Path

    def client(self, key: str = ALICE, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=f"http://{ADDRESS}:8080/v1", api_key=key, max_retries=0, timeout=300, **options
        )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """vLLM, as the operator starts it but for the sizes of its cache and numbers."""
    folder = tmp_path_factory.mktemp("engine")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    environment = {
        "HOME": str(folder), "TMPDIR": str(folder), "VLLM_HOST_IP": "127.0.0.1", "VLLM_PLUGINS": "",
    }  # fmt: skip
    arguments = (
        "--model", str(model_files()), "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port),
        "--load-format", "safetensors", "--max-model-len", "2048", "--max-num-seqs", "64", "--enforce-eager",
        "--kv-cache-memory-bytes", str(512 << 20), "--disable-uvicorn-access-log", "--shutdown-timeout", "10",
        "--enable-auto-tool-choice", "--tool-call-parser", "hermes", QUICK,
    )  # fmt: skip
    with (folder / "log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command(arguments, environment), stdout=out, stderr=out)
    try:
        await answering(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        await process.wait()


def last_words(log: Path) -> str:
    return log.read_text()[-3000:]


async def answering(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        assert process.returncode is None, last_words(log)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.5)
        else:
            writer.close()
            return
    pytest.fail(f"the engine does not listen: {last_words(log)}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(engine: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("gate")
    keys = Mount(folder / "keys").hold(alice=ALICE)
    issuer = Mount(folder / "issuer").hold(jwks_json=jwks(jwk(SIGNER, "one")))
    settings = {
        "GATE_API_KEYS": str(keys),
        "GATE_TOKEN_KEYS": str(issuer),
        "GATE_TOKEN_ISSUER": ISSUER,
        "GATE_TOKEN_AUDIENCES": '["assistant"]',
        "GATE_CONCURRENT_REQUESTS": "60",
        "GATE_RUN": str(folder / "run"),
    }
    async with running(folder, ADDRESS, engine, settings):
        yield Served(engine, keys, folder / "log")


async def text_of(client: openai.AsyncOpenAI, tokens: int, **options: Any) -> tuple[int, str | None]:
    """Number of chunks of a stream, and why it ended."""
    chunks = await client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, max_tokens=tokens, temperature=0, **options
    )
    seen, ended = 0, None
    async for chunk in chunks:
        seen += 1
        ended = chunk.choices[0].finish_reason or ended
    return seen, ended


async def test_a_stream_comes_token_by_token(served: Served) -> None:
    async with served.client() as client:
        chunks, ended = await text_of(client, 20, extra_body={"ignore_eos": True})
    assert (chunks > 10, ended) == (True, "length")


async def test_a_long_answer_arrives_whole(served: Served) -> None:
    async with served.client() as client:
        made = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_tokens=300, temperature=0, extra_body={"ignore_eos": True}
        )
    assert made.usage is not None
    assert made.usage.completion_tokens == 300


async def test_tools_are_called(served: Served) -> None:
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    async with served.client() as client:
        made = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=choice, max_tokens=100  # type: ignore[list-item]
        )  # fmt: skip
    calls = made.choices[0].message.tool_calls
    assert calls
    call = calls[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"


async def test_a_token_is_as_good_as_a_key(served: Served) -> None:
    async with served.client(token(SIGNER, "one", claims())) as client:
        assert [each.id async for each in client.models.list()] == [MODEL]


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("wrong-" + ALICE, "invalid_api_key"),
        (token(SIGNER, "one", claims(exp=int(time.time()) - 3600)), "expired_token"),
        (token(rsa_key(), "one", claims()), "invalid_token"),
    ],
    ids=["a wrong key", "an expired token", "a forged token"],
)
async def test_who_is_not_let_in_is_told_why(served: Served, shown: str, code: str) -> None:
    async with served.client(shown) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
    assert refused.value.code == code


@pytest.mark.parametrize("path", ["/invocations", "/tokenize", "/metrics", "/v1/load_lora_adapter", "/docs", "/load"])
async def test_what_the_engine_serves_besides_is_refused_with_a_good_key_too(served: Served, path: str) -> None:
    async with served.client() as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.post(f"http://{ADDRESS}:8080{path}", cast_to=object, body={"prompt": "hello"})
    assert refused.value.code == "path_not_allowed"


async def test_a_body_beyond_the_limit_is_refused(served: Served) -> None:
    async with served.client() as client:
        with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as refused:
            await client.completions.create(model=MODEL, prompt="x" * 34_000_000)
    assert not isinstance(refused.value, openai.APIStatusError) or refused.value.status_code == 413


async def test_50_streams_survive_a_rotation_of_keys_and_none_fails(served: Served) -> None:
    stop, done = asyncio.Event(), asyncio.Semaphore(0)
    failed: list[str] = []
    key, client = ALICE, served.client()

    async def caller() -> None:
        while not stop.is_set():
            try:
                await text_of(client.with_options(api_key=key), 8, extra_body={"ignore_eos": True})
                done.release()
            except openai.APIError as error:
                failed.append(f"{error} {error.__cause__!r}")

    callers = [asyncio.ensure_future(caller()) for _ in range(50)]
    await gather_streams(done, 50)
    for old, new in ((ALICE, CAROL), (CAROL, ALICE)):
        # As a team does it: the new key beside the old one, callers change over, the old one goes.
        served.keys.hold(alice=old, next=new)
        await until_keys(served, 2)
        key = new
        await gather_streams(done, 50)
        served.keys.hold(alice=new)
        await until_keys(served, 1)
    stop.set()
    await asyncio.gather(*callers)
    await client.close()
    assert failed == []


async def gather_streams(done: asyncio.Semaphore, count: int) -> None:
    """Wait until so many more streams have ended well."""
    async with asyncio.timeout(300):
        for _ in range(count):
            await done.acquire()


async def until_keys(served: Served, count: int) -> None:
    """Wait until the gate has said that so many keys are in force, of what it said last."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = [json.loads(line) for line in served.log.read_text().splitlines() if '"gate"' in line]
        told = [line["gate"] for line in lines if "API keys of" in line.get("gate", "")]
        if told and told[-1].startswith(f"API keys of {count} callers are in force"):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the gate did not take {count} keys")
