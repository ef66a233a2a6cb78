"""TLS at the clients' port, client certificates, and their renewal without a closed connection."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path  # noqa: TC003  (pytest reads annotations of fixtures)

import pytest
import pytest_asyncio

from tests.gate.conftest import Gate, Reply, Request, StartGate, hello, read_reply
from tests.gate.shown import Certificate, Mount, certificate
from tests.gate.test_callers import ALICE, until, until_logged, until_said

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORITY, OTHERS = certificate("authority"), certificate("others")


def context(
    folder: Path, shows: Certificate | None = None, trusts: Certificate = AUTHORITY, most: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    told = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    told.load_verify_locations(cadata=trusts.pem.decode())
    if shows:
        path = folder / f"{shows.certificate.serial_number}.pem"
        path.write_bytes(shows.pem + shows.key_pem)
        told.load_cert_chain(path)
    if most:
        told.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        told.maximum_version = most
    return told


async def ask(gate: Gate, tls: ssl.SSLContext | None, *headers: str) -> Reply:
    reader, writer = await asyncio.open_connection(
        gate.address, 8080, ssl=tls, server_hostname="model" if tls else None
    )
    try:
        writer.write("\r\n".join(["GET /v1/models HTTP/1.1", "host: model", *headers, "", ""]).encode())
        return await asyncio.wait_for(read_reply(reader), 10)
    finally:
        writer.close()


def serving(made: Certificate) -> dict[str, str | bytes]:
    return {"tls.crt": made.pem, "tls.key": made.key_pem, "ca.crt": AUTHORITY.pem}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    return Mount(tmp_path_factory.mktemp("tls")).hold_all(serving(certificate("model", AUTHORITY)))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def encrypted(start_gate: StartGate, served: Mount, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return await start_gate(GATE_TLS=str(served), GATE_RUN=str(tmp_path_factory.mktemp("run")))


@pytest.fixture
def gate(encrypted: Gate) -> Gate:
    encrypted.engine.requests.clear()
    encrypted.engine.answer = hello
    return encrypted


async def test_clients_come_in_by_tls(gate: Gate, tmp_path: Path) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert (await ask(gate, context(tmp_path, most=version))).status == 200


async def test_and_by_nothing_else(gate: Gate, tmp_path: Path) -> None:
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await ask(gate, None)
    assert gate.engine.requests == []


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning", "ignore:.*TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(gate: Gate, tmp_path: Path) -> None:
    old = context(tmp_path, most=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await ask(gate, old)


async def test_the_kubelet_and_prometheus_come_in_as_before(gate: Gate) -> None:
    for path in ("/health", "/metrics", "/gate/health", "/gate/metrics"):
        assert (await gate.ask("GET", path, port=8081, connection="close")).status == 200


async def test_a_new_certificate_is_served_while_streams_go_on(gate: Gate, served: Mount, tmp_path: Path) -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none")
        begun.release()
        await go_on.wait()
        writer.write(b"two")

    gate.engine.answer = answer
    streams = [asyncio.ensure_future(ask(gate, context(tmp_path))) for _ in range(50)]
    for _ in streams:
        await asyncio.wait_for(begun.acquire(), 60)
    gate.engine.answer = hello
    served.hold_all({**serving(certificate("model", AUTHORITY)), "tls.key": certificate("x").key_pem})
    await until_said(gate, "the Secret with the certificate changed, and what was before stays in force")
    assert (await ask(gate, context(tmp_path))).status == 200
    renewed = certificate("model", OTHERS)
    served.hold_all(serving(renewed))

    async def is_renewed() -> bool:
        try:
            return (await ask(gate, context(tmp_path, trusts=OTHERS))).status == 200
        except ssl.SSLCertVerificationError:
            return False

    await until(is_renewed)
    go_on.set()
    assert {reply.body for reply in await asyncio.gather(*streams)} == {b"onetwo"}
    assert renewed.key_pem.splitlines()[1].decode() not in gate.log.read_text()


async def test_only_clients_with_a_certificate_get_in(start_gate: StartGate, tmp_path: Path) -> None:
    tls = Mount(tmp_path / "tls").hold_all(serving(certificate("model", AUTHORITY)))
    clients = Mount(tmp_path / "clients").hold_all({"ca.crt": AUTHORITY.pem})
    gate = await start_gate(GATE_TLS=str(tls), GATE_CLIENT_CA=str(clients), GATE_RUN=str(tmp_path / "run"))
    known, stranger = certificate("registry", AUTHORITY), certificate("registry", OTHERS)
    assert (await ask(gate, context(tmp_path, known))).status == 200
    await until_logged(gate, "certificate//CN=registry", 200)
    for shown in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(gate, context(tmp_path, shown))
    assert len(gate.engine.requests) == 1
    clients.hold_all({"ca.crt": OTHERS.pem})

    async def is_known() -> bool:
        try:
            return (await ask(gate, context(tmp_path, stranger))).status == 200
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return False

    await until(is_known)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await ask(gate, context(tmp_path, known))


async def test_certificate_and_key_are_both_needed_where_both_are_asked(start_gate: StartGate, tmp_path: Path) -> None:
    gate = await start_gate(
        GATE_TLS=str(Mount(tmp_path / "tls").hold_all(serving(certificate("model", AUTHORITY)))),
        GATE_CLIENT_CA=str(Mount(tmp_path / "clients").hold_all({"ca.crt": AUTHORITY.pem})),
        GATE_API_KEYS=str(Mount(tmp_path / "keys").hold(alice=ALICE)),
        GATE_RUN=str(tmp_path / "run"),
    )
    tls = context(tmp_path, certificate("registry", AUTHORITY))
    assert (await ask(gate, tls)).status == 401
    assert (await ask(gate, tls, f"authorization: Bearer {ALICE}")).status == 200
    await until_logged(gate, "key/alice", 200)


async def test_the_gate_ends_when_it_is_told_with_all_that_it_started(start_gate: StartGate, tmp_path: Path) -> None:
    tls = Mount(tmp_path / "tls").hold_all(serving(certificate("model", AUTHORITY)))
    gate = await start_gate(GATE_TLS=str(tls), GATE_RUN=str(tmp_path / "run"))
    reader, writer = await asyncio.open_connection(gate.address, 8080, ssl=context(tmp_path), server_hostname="model")
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: m\r\n\r\n")
    assert (await read_reply(reader)).status == 200
    gate.process.terminate()
    assert await asyncio.wait_for(gate.process.wait(), 15) == 0
    with pytest.raises(ConnectionError):
        await ask(gate, None)
    writer.close()


async def test_what_is_logged_can_be_read(gate: Gate) -> None:
    for line in gate.log.read_text().splitlines():
        if line.startswith("{"):
            assert isinstance(json.loads(line), dict)
