"""Only callers with an API key or a token get in, and keys rotate while streams go on."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import signal
import time
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.gate.conftest import Gate, Reply, Request, StartGate, hello
from tests.gate.shown import AUDIENCE, ISSUER, Mount, PrivateKey, claims, jwk, jwks, rsa_key, token, url
from tests.gate.test_gate import error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALICE, BOB, CAROL = (f"{name}-{'0123456789abcdef' * 2}" for name in ("alice", "bob", "carol"))


async def shows(gate: Gate, credential: str) -> Reply:
    return await gate.ask("POST", "/v1/completions", b"{}", authorization=f"Bearer {credential}")


async def until(says: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not await says():
        assert time.monotonic() < end, "it never came to be so"
        await asyncio.sleep(0.05)


async def until_said(gate: Gate, words: str) -> None:
    async def said() -> bool:
        return words in gate.log.read_text()

    await until(said)


async def until_logged(gate: Gate, caller: str, status: int) -> None:
    """Wait for the request log: a line is written when its request is over, and the client may be first."""

    async def logged() -> bool:
        lines = [json.loads(line) for line in gate.log.read_text().splitlines() if line.startswith("{")]
        return (caller, status) in [(line.get("caller"), line.get("status")) for line in lines]

    await until(logged)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    return Mount(tmp_path_factory.mktemp("keys")).hold(alice=ALICE, bob=BOB + "\n")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def with_keys(start_gate: StartGate, keys: Mount, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return await start_gate(GATE_API_KEYS=str(keys), GATE_RUN=str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def guarded(with_keys: Gate, keys: Mount) -> Gate:
    keys.hold(alice=ALICE, bob=BOB + "\n")
    with_keys.engine.requests.clear()
    with_keys.engine.answer = hello
    return with_keys


async def test_a_caller_with_a_key_gets_in_and_the_engine_does_not_see_the_key(guarded: Gate) -> None:
    await until(lambda: _is(guarded, ALICE, 200))
    guarded.engine.requests.clear()
    assert (await shows(guarded, BOB)).status == 200
    assert (await guarded.ask("POST", "/v1/messages", b"{}", x_api_key=ALICE)).status == 200
    for request in guarded.engine.requests:
        assert not {"authorization", "x-api-key"} & request.headers.keys()
    await until_logged(guarded, "key/bob", 200)
    await until_logged(guarded, "key/alice", 200)


async def _is(gate: Gate, credential: str, status: int) -> bool:
    return (await shows(gate, credential)).status == status


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "no_credential"),
        ({"authorization": "Bearer "}, 401, "no_credential"),
        ({"authorization": "Basic YTpi"}, 401, "no_credential"),
        ({"authorization": ALICE}, 401, "no_credential"),
        ({"authorization": f"Bearer {ALICE[:-1]}"}, 401, "invalid_api_key"),
        ({"authorization": f"Bearer {ALICE}0"}, 401, "invalid_api_key"),
        ({"authorization": f"Bearer {ALICE.upper()}"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer key/alice"}, 401, "invalid_api_key"),
        ({"authorization": f"Bearer {ALICE}, Bearer {BOB}"}, 401, "no_credential"),
        ({"x-api-key": "wrong"}, 401, "invalid_api_key"),
        ({"authorization": f"Bearer {ALICE}", "x-api-key": ALICE}, 400, "several_credentials"),
    ],
    ids=str,
)
async def test_whoever_shows_no_good_key_is_told_so(
    guarded: Gate, headers: dict[str, str], status: int, code: str
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /v1/completions HTTP/1.1\r\nhost: m\r\ncontent-length: 2\r\n{lines}\r\n{{}}"
    reply = await guarded.send(head.encode())
    assert (reply.status, error(reply)["code"]) == (status, code)
    assert status != 401 or reply.headers["www-authenticate"].startswith("Bearer")
    assert guarded.engine.requests == []


async def test_a_key_given_twice_is_refused(guarded: Gate) -> None:
    line = f"authorization: Bearer {ALICE}\r\n"
    reply = await guarded.send(f"GET /v1/models HTTP/1.1\r\nhost: m\r\n{line}{line}\r\n".encode())
    assert (reply.status, error(reply)["code"]) == (400, "several_credentials")


async def test_the_kubelet_and_prometheus_need_no_key(guarded: Gate) -> None:
    for path in ("/health", "/metrics", "/gate/health"):
        assert (await guarded.ask("GET", path, port=8081)).status == 200


async def test_keys_are_on_disk_as_keyed_hashes_alone(guarded: Gate, keys: Mount, tmp_path_factory: Any) -> None:
    run = next(path for path in tmp_path_factory.getbasetemp().glob("run*") if (path / "keys.map").exists())
    written = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    assert ALICE.encode() not in written
    assert base64.b64encode(ALICE.encode()) not in written
    assert hmac.digest(b"", ALICE.encode(), "sha256").hex().upper().encode() not in written
    assert written.count(b"key/") == 2
    assert ALICE not in guarded.log.read_text()


async def test_a_revoked_key_ends_and_a_new_one_begins(guarded: Gate, keys: Mount) -> None:
    await until(lambda: _is(guarded, ALICE, 200))
    keys.hold(bob=BOB, carol=CAROL)
    await until(lambda: _is(guarded, CAROL, 200))
    assert (await shows(guarded, ALICE)).status == 401
    assert (await shows(guarded, BOB)).status == 200


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"alice": ALICE, "dave": "short"}, "dave is unusable: expected 20 to 512"),
        ({"alice": ALICE, "dave": ALICE}, "alice and dave are the same"),
        ({"alice": ALICE, "dave": "two words are no key at all"}, "dave is unusable"),
        ({"alice": ALICE, "dave": ""}, "dave is unusable"),
        ({"alice": ALICE, "dave": b"\xff" * 40}, "dave is unusable"),
    ],
    ids=str,
)
async def test_a_broken_secret_keeps_the_last_good_keys_and_says_why(
    guarded: Gate, keys: Mount, values: dict[str, str | bytes], why: str
) -> None:
    await until(lambda: _is(guarded, BOB, 200))
    keys.hold_all(values)
    await until_said(guarded, why)
    assert (await shows(guarded, BOB)).status == 200
    assert "the API keys of before stay in force" in guarded.log.read_text()
    assert ALICE not in guarded.log.read_text()


async def test_an_emptied_secret_lets_nobody_in(guarded: Gate, keys: Mount) -> None:
    await until(lambda: _is(guarded, ALICE, 200))
    keys.hold_all({})
    await until(lambda: _is(guarded, ALICE, 401))
    assert (await shows(guarded, BOB)).status == 401
    await until_said(guarded, "nobody is let in")


async def test_many_keys_rotate_at_once(guarded: Gate, keys: Mount) -> None:
    many: dict[str, str | bytes] = {f"caller-{number}": f"{number:040d}" for number in range(1000)}
    keys.hold_all(many)
    await until(lambda: _is(guarded, f"{999:040d}", 200))
    assert (await shows(guarded, f"{0:040d}")).status == 200
    assert (await shows(guarded, ALICE)).status == 401


async def test_a_key_rotation_fails_none_of_50_streams(guarded: Gate, keys: Mount) -> None:
    """Callers that have both keys lose nothing, and a stream that has begun with the old key is finished."""
    await until(lambda: _is(guarded, ALICE, 200))
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await say(writer, "one")
        begun.release()
        await go_on.wait()
        await say(writer, "two")
        writer.write(b"data: [DONE]\n\n")

    async def stream(key: str) -> list[str | None]:
        chunks = await client.with_options(api_key=key).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "count"}], stream=True
        )
        return [chunk.choices[0].delta.content async for chunk in chunks]

    guarded.engine.answer = answer
    client = openai.AsyncOpenAI(base_url=f"http://{guarded.address}:8080/v1", api_key="none", max_retries=0)
    streams = [asyncio.ensure_future(stream(ALICE)) for _ in range(50)]
    for _ in streams:
        await asyncio.wait_for(begun.acquire(), 60)
    keys.hold(alice=CAROL)
    guarded.engine.answer = hello
    await until(lambda: _is(guarded, CAROL, 200))
    assert (await shows(guarded, ALICE)).status == 401
    guarded.engine.answer = answer
    streams += [asyncio.ensure_future(stream(CAROL)) for _ in range(50)]
    for _ in range(50):
        await asyncio.wait_for(begun.acquire(), 60)
    go_on.set()
    assert await asyncio.gather(*streams) == [["one", "two"]] * 100
    await client.close()


async def say(writer: asyncio.StreamWriter, word: str) -> None:
    choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    writer.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await writer.drain()


async def test_without_its_secret_the_gate_does_not_start_and_says_what_to_do(
    start_gate: StartGate, tmp_path: Path
) -> None:
    for name, words in (
        ("GATE_API_KEYS", "the Secret with API keys is missing or empty"),
        ("GATE_TOKEN_KEYS", "the Secret with the token issuer's keys is missing"),
        ("GATE_TLS", "the Secret with the certificate is missing"),
    ):
        with pytest.raises(AssertionError, match=words):
            await start_gate(GATE_RUN=str(tmp_path / "run"), **{name: str(tmp_path / "nothing")})


# Tokens


@pytest.fixture(scope="module")
def signers() -> dict[str, PrivateKey]:
    return {
        "rsa": rsa_key(),
        "ec": ec.generate_private_key(ec.SECP256R1()),
        "ec3": ec.generate_private_key(ec.SECP384R1()),
        "new": ec.generate_private_key(ec.SECP256R1()),
    }


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory, signers: dict[str, PrivateKey]) -> Mount:
    edwards = jwk(ed25519.Ed25519PrivateKey.generate(), "edwards")
    known = [jwk(signers[kid], kid) for kid in ("rsa", "ec", "ec3")]
    return Mount(tmp_path_factory.mktemp("issuer")).hold(jwks_json=jwks(edwards, *known))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def with_tokens(
    start_gate: StartGate, issuer: Mount, signers: dict[str, PrivateKey], tmp_path_factory: pytest.TempPathFactory
) -> Gate:
    return await start_gate(
        GATE_TOKEN_KEYS=str(issuer),
        GATE_TOKEN_ISSUER=ISSUER,
        GATE_TOKEN_AUDIENCES=json.dumps([AUDIENCE, "models of the ministry"]),
        GATE_RUN=str(tmp_path_factory.mktemp("run")),
    )


@pytest.fixture
def trusting(with_tokens: Gate) -> Gate:
    with_tokens.engine.requests.clear()
    with_tokens.engine.answer = hello
    return with_tokens


@pytest.mark.parametrize("kid", ["rsa", "ec", "ec3"])
async def test_a_good_token_gets_in(trusting: Gate, signers: dict[str, PrivateKey], kid: str) -> None:
    assert (await shows(trusting, token(signers[kid], kid, claims(sub=f'{kid} "of" ministry')))).status == 200
    await until_logged(trusting, f'token/{kid} "of" ministry', 200)
    assert "authorization" not in trusting.engine.requests[0].headers


def _claims(value: Any) -> str:
    """An id without moments, which differ between the processes that run the tests."""
    return ",".join(value) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["x", AUDIENCE]},
        {"aud": "models of the ministry"},
        {"nbf": None},
        {"exp": int(time.time()) + 3600.5},
        {"nbf": int(time.time()) + 10},
        {"exp": int(time.time()) + 3600, "iat": 1, "scope": "a b", "nested": {"iss": "https://evil.example"}},
    ],
    ids=_claims,
)
async def test_claims_may_be_written_so(
    trusting: Gate, signers: dict[str, PrivateKey], changed: dict[str, Any]
) -> None:
    assert (await shows(trusting, token(signers["ec"], "ec", claims(**changed)))).status == 200


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"exp": int(time.time()) - 60}, 401, "expired_token"),
        ({"exp": None}, 401, "expired_token"),
        ({"exp": "tomorrow"}, 401, "expired_token"),
        ({"nbf": int(time.time()) + 3600}, 401, "early_token"),
        ({"nbf": "tomorrow"}, 401, "early_token"),
        ({"iss": "https://evil.example"}, 401, "wrong_issuer"),
        ({"iss": None, "nested": {"iss": ISSUER}}, 401, "wrong_issuer"),
        ({"iss": ISSUER + "/"}, 401, "wrong_issuer"),
        ({"iss": [ISSUER]}, 401, "wrong_issuer"),
        ({"aud": "another"}, 403, "wrong_audience"),
        ({"aud": ["another", "x" + AUDIENCE]}, 403, "wrong_audience"),
        ({"aud": None}, 403, "wrong_audience"),
        ({"aud": []}, 403, "wrong_audience"),
        ({"sub": None}, 401, "invalid_token"),
        ({"sub": ""}, 401, "invalid_token"),
    ],
    ids=_claims,
)
async def test_claims_that_do_not_fit_are_named(
    trusting: Gate, signers: dict[str, PrivateKey], changed: dict[str, Any], status: int, code: str
) -> None:
    reply = await shows(trusting, token(signers["rsa"], "rsa", claims(**changed)))
    assert (reply.status, error(reply)["code"]) == (status, code)
    assert trusting.engine.requests == []


def forged(signers: dict[str, PrivateKey]) -> dict[str, tuple[str, str]]:
    """Tokens that nobody issued, and the code of their refusal."""
    good = token(signers["rsa"], "rsa", claims())
    head, body, signature = good.split(".")
    public = signers["rsa"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    other = url(json.dumps(claims(sub="root")).encode())

    def headed(**header: Any) -> str:
        return url(json.dumps({"typ": "JWT", **header}).encode())

    def keyed(secret: bytes, header: str) -> str:
        return f"{header}.{body}.{url(hmac.digest(secret, f'{header}.{body}'.encode(), 'sha256'))}"

    unsigned = headed(alg="none", kid="rsa")
    symmetric = headed(alg="HS256", kid="rsa")
    return {
        "no signature": (f"{unsigned}.{body}.", "unknown_token_key"),
        "none with a signature": (f"{unsigned}.{body}.{signature}", "unknown_token_key"),
        "None": (f"{headed(alg='None', kid='rsa')}.{body}.", "unknown_token_key"),
        "public key as a secret": (keyed(pem, symmetric), "unknown_token_key"),
        "path of the key as a secret": (keyed(b"/run/gate/tokens-1/0.pem", symmetric), "unknown_token_key"),
        "empty secret": (keyed(b"", headed(alg="HS256")), "unknown_token_key"),
        "another body": (f"{head}.{other}.{signature}", "invalid_token"),
        "no signature part": (f"{head}.{body}.", "invalid_token"),
        "two parts": (f"{head}.{body}", "invalid_token"),
        "four parts": (f"{good}.x", "invalid_token"),
        "zeros for an EC signature": (f"{headed(alg='ES256', kid='ec')}.{body}.{url(bytes(64))}", "invalid_token"),
        "another key": (token(rsa_key(), "rsa", claims()), "invalid_token"),
        "another kid": (token(signers["rsa"], "ec", claims()), "unknown_token_key"),
        "unknown kid": (token(signers["rsa"], "x", claims()), "unknown_token_key"),
        "no kid": (token(signers["rsa"], None, claims()), "unknown_token_key"),
        "kid that climbs": (token(signers["rsa"], "../../../etc/passwd", claims()), "unknown_token_key"),
        "key in the header": (token(rsa_key(), "evil", claims(), jwk=jwk(rsa_key(), "evil")), "unknown_token_key"),
        "RSA for an EC key": (token(signers["rsa"], "ec", claims(), alg="ES256"), "invalid_token"),
        "another algorithm": (token(signers["rsa"], "rsa", claims(), alg="RS512"), "unknown_token_key"),
        "critical": (token(signers["rsa"], "rsa", claims(), crit=["b64"], b64=False), "invalid_token"),
        "Edwards": (token(ed25519.Ed25519PrivateKey.generate(), "edwards", claims()), "unknown_token_key"),
        "opaque": ("0123456789abcdef0123456789abcdef", "invalid_api_key"),
        "only dots": ("..", "invalid_api_key"),
    }


async def test_no_forged_token_gets_in(trusting: Gate, signers: dict[str, PrivateKey]) -> None:
    for name, (credential, code) in forged(signers).items():
        reply = await shows(trusting, credential)
        assert (name, reply.status, error(reply)["code"]) == (name, 401, code)
    assert trusting.engine.requests == []


async def test_token_keys_rotate_while_streams_go_on(
    trusting: Gate, issuer: Mount, signers: dict[str, PrivateKey]
) -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        await say(writer, "one")
        begun.release()
        await go_on.wait()
        await say(writer, "two")
        writer.write(b"data: [DONE]\n\n")

    trusting.engine.answer = answer
    old = token(signers["ec"], "ec", claims())
    async with openai.AsyncOpenAI(base_url=f"http://{trusting.address}:8080/v1", api_key=old, max_retries=0) as client:

        async def stream() -> list[str | None]:
            chunks = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "count"}], stream=True
            )
            return [chunk.choices[0].delta.content async for chunk in chunks]

        streams = [asyncio.ensure_future(stream()) for _ in range(50)]
        for _ in streams:
            await asyncio.wait_for(begun.acquire(), 60)
        trusting.engine.answer = hello
        issuer.hold(jwks_json="{")
        await until_said(trusting, "jwks.json of the token issuer's Secret is not JSON")
        assert (await shows(trusting, old)).status == 200
        off_the_curve = jwk(signers["new"], "new") | {"x": url(bytes(32))}
        issuer.hold(jwks_json=jwks(off_the_curve))
        await until_said(trusting, "its point is on no curve")
        assert (await shows(trusting, old)).status == 200
        issuer.hold(jwks_json=jwks(jwk(signers["new"], "new")))
        await until(lambda: _is(trusting, token(signers["new"], "new", claims()), 200))
        assert (await shows(trusting, old)).status == 401
        go_on.set()
        assert await asyncio.gather(*streams) == [["one", "two"]] * 50


async def test_the_openai_client_understands_that_a_token_has_expired(
    start_gate: StartGate, tmp_path: Path, signers: dict[str, PrivateKey]
) -> None:
    assert isinstance(signers["rsa"], rsa.RSAPrivateKey)
    mount = Mount(tmp_path / "issuer").hold(jwks_json=jwks(jwk(signers["rsa"], "rsa")))
    gate = await start_gate(
        GATE_TOKEN_KEYS=str(mount), GATE_TOKEN_ISSUER=ISSUER, GATE_TOKEN_AUDIENCES=f'["{AUDIENCE}"]',
        GATE_RUN=str(tmp_path / "run"),
    )  # fmt: skip
    old = token(signers["rsa"], "rsa", claims(exp=int(time.time()) - 3600))
    async with openai.AsyncOpenAI(base_url=f"http://{gate.address}:8080/v1", api_key=old, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
    assert (refused.value.code, "expired" in refused.value.message) == ("expired_token", True)


async def test_a_gate_that_starts_again_finds_what_it_left_and_is_not_in_its_own_way(
    start_gate: StartGate, tmp_path: Path, signers: dict[str, PrivateKey]
) -> None:
    issuer = Mount(tmp_path / "issuer").hold(jwks_json=jwks(jwk(signers["ec"], "ec"), jwk(signers["rsa"], "rsa")))
    settings = {
        "GATE_API_KEYS": str(Mount(tmp_path / "keys").hold(alice=ALICE)), "GATE_TOKEN_KEYS": str(issuer),
        "GATE_TOKEN_ISSUER": ISSUER, "GATE_TOKEN_AUDIENCES": f'["{AUDIENCE}"]', "GATE_RUN": str(tmp_path / "run"),
    }  # fmt: skip
    first = await start_gate(**settings)
    os.killpg(first.process.pid, signal.SIGKILL)  # as all of a container ends with its first process
    await first.process.wait()
    issuer.hold(jwks_json=jwks(jwk(signers["ec"], "ec")))
    second = await start_gate(**settings)
    assert (await shows(second, ALICE)).status == 200
    assert (await shows(second, token(signers["ec"], "ec", claims()))).status == 200
    assert (await shows(second, token(signers["rsa"], "rsa", claims()))).status == 401
    assert len(list((tmp_path / "run").glob("tokens-*"))) == 1
