"""A running llama.cpp server is what its module says: told what a pod tells it, behind the gate, without a cluster.

The server, the gate and the model are those of the images; strace watches whom the server speaks to.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.plan import Settings, plan_workload
from e2e.cluster import debian_root, gguf_files, llama_files
from e2e.cluster.prerequisites import Prerequisite, require
from e2e.engines.adapter import write_adapter

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "engines" / "llamacpp.yaml"
CLASS = ROOT / "charts" / "bailiwick" / "acceleratorclasses" / "cpu.yaml"
GATE = "127.0.77.1"
WITHIN = 60.0
"""Seconds to be ready, under strace; on a machine with nothing beside it half a second is enough."""
WRITTEN = "the-lighthouse-keeper-counts-gulls"
QUESTION = "What is the capital of France? Answer in one sentence."


@dataclass(frozen=True)
class Running:
    """The server and the gate in front of it."""

    pid: int
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    calls: Path
    folder: Path
    started: float
    """Seconds until the gate said that it is ready."""


def container(folder: Path, adapters: Path, scratch: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """What a pod tells the engine for the sample, with the places of this machine in it."""
    (model,) = yaml.safe_load_all(SAMPLE.read_text())
    model["spec"]["adapters"] = [{"name": "noise", "source": {"oci": {"image": "registry.example/noise:1"}}}]
    (on,) = yaml.safe_load_all(CLASS.read_text())
    policy = {"metadata": {"name": "p"}, "spec": {"namespaceSelector": {}, "place": {"allow": ["DE"]}}}
    made = plan_workload(
        SovereignModel.read(model),
        policies=[compile_policy(ResidencyPolicy.read(policy), Atlas(()))],
        classes={"cpu": AcceleratorClass.read(on)},
        eligible=lambda *_: Eligibility(),
        settings=Settings(gate_image="gate", weights_image="weights"),
    )
    (deployment,) = (each for each in made.objects if each["kind"] == "Deployment")
    (engine,) = deployment["spec"]["template"]["spec"]["containers"]
    here = {"/model": folder, "/adapters": adapters, "/tmp": scratch, "8000": port}  # noqa: S108 - the container's

    def place(text: str) -> str:
        first, slash, rest = text[1:].partition("/") if text.startswith("/") else (text, "", "")
        name = f"/{first}" if text.startswith("/") else first
        return str(here.get(name, name)) + slash + rest

    arguments = [place(each) for each in engine["args"]]
    return arguments, {each["name"]: place(each.get("value", "")) for each in engine["env"]}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    require((Prerequisite("strace", "strace", "the test watches whom the engine speaks to"),))
    folder, program = gguf_files.gguf_files(), llama_files.llama_files() / llama_files.PROGRAM
    scratch, told, adapters = (tmp_path_factory.mktemp(name) for name in ("scratch", "told", "adapters"))
    (adapters / "noise").mkdir()
    write_adapter(adapters / "noise" / "adapter.gguf")
    port = free_port()
    arguments, environment = container(folder, adapters, scratch, port)
    watched = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%network,execve", "-o", str(told / "calls")]
    haproxy = debian_root.program(debian_root.root_of("gate"), "usr/sbin/haproxy")
    configuration = ["-db", "-f", str(ROOT / "images/gate/haproxy.cfg")]
    begun = time.monotonic()
    with (told / "engine").open("wb") as out, (told / "gate").open("wb") as gate_out:
        gate = subprocess.Popen(
            [*haproxy, *configuration], stdout=gate_out, stderr=gate_out, start_new_session=True,
            env={"PATH": os.environ["PATH"], "GATE_ADDRESS": GATE, "ENGINE_PORT": str(port)},
        )  # fmt: skip
        engine = subprocess.Popen(
            [*watched, str(program), *arguments], stdout=out, stderr=out, start_new_session=True,
            env={"PATH": "/usr/bin", **environment},
        )  # fmt: skip
        try:
            while answer("GET", "/health", port=8081)[0] != 200:
                assert engine.poll() is None, (told / "engine").read_text()
                assert gate.poll() is None, (told / "gate").read_text()
                assert time.monotonic() - begun < WITHIN, (told / "engine").read_text()
                time.sleep(0.05)
            pid = int(Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()[0])
            took = time.monotonic() - begun
            yield Running(pid, port, engine, told / "engine", told / "calls", folder, took)
        finally:
            for process in (engine, gate):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def answer(method: str, path: str, body: Any = None, *, host: str = GATE, port: int = 8080) -> tuple[int, bytes]:
    """Status and body; 0 when nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        got = connection.getresponse()
        return got.status, got.read()
    except ConnectionError:
        return 0, b""
    finally:
        connection.close()


def question(text: str, *, tokens: int = 32, stream: bool = True) -> dict[str, Any]:
    return {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct", "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens, "temperature": 0, "stream": stream,
    }  # fmt: skip


def events(body: bytes) -> list[str]:
    return [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]


def test_it_is_ready_within_seconds(running: Running) -> None:
    print(f"ready after {running.started:.2f} s")
    assert running.started < WITHIN


def test_it_streams_an_answer_through_the_gate(running: Running) -> None:
    status, body = answer("POST", "/v1/chat/completions", question(f"{QUESTION} (My name is {WRITTEN}.)"))
    assert status == 200, body
    *pieces, last = events(body)
    assert last == "[DONE]"
    texts = [json.loads(each)["choices"][0]["delta"].get("content") or "" for each in pieces if '"delta"' in each]
    assert sum(1 for text in texts if text) > 3, "token by token"
    assert "Paris" in "".join(texts)
    assert json.loads(pieces[0])["model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_an_adapter_changes_what_asks_for_it_and_nothing_else(running: Running) -> None:
    def said(**more: Any) -> str:
        status, body = answer("POST", "/v1/chat/completions", question(QUESTION, stream=False) | more)
        assert status == 200, body
        text: str = json.loads(body)["choices"][0]["message"]["content"]
        return text

    assert "Paris" in said()
    assert "Paris" not in said(lora=[{"id": 0, "scale": 1.0}])
    assert "Paris" in said()


def test_it_is_called_what_clients_ask_for(running: Running) -> None:
    listed = json.loads(answer("GET", "/v1/models")[1])
    assert [each["id"] for each in listed["data"]] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/slots"), ("POST", "/slots/0"), ("GET", "/props"), ("POST", "/props"),
        ("GET", "/metrics"), ("GET", "/health"), ("GET", "/models"), ("POST", "/models/load"), ("POST", "/completion"),
        ("POST", "/completions"), ("POST", "/chat/completions"), ("POST", "/infill"), ("POST", "/tokenize"),
        ("POST", "/detokenize"), ("POST", "/apply-template"), ("GET", "/lora-adapters"), ("POST", "/lora-adapters"),
        ("GET", "/tools"), ("POST", "/tools"), ("GET", "/cors-proxy"), ("GET", "/v1/stream"), ("POST", "/predict"),
        ("POST", "/v1/chat/completions/control"),
    ],
)  # fmt: skip
def test_the_gate_shows_clients_nothing_but_the_inference_api(running: Running, method: str, path: str) -> None:
    status, body = answer(method, path, {} if method == "POST" else None)
    assert (status, json.loads(body)["error"]["code"]) == (404, "path_not_allowed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/slots"),
        ("POST", "/props"),
        ("GET", "/tools"),
        ("GET", "/cors-proxy"),
        ("POST", "/slots/0"),
    ],
)
def test_the_engine_itself_has_no_page_no_tools_and_no_slots(running: Running, method: str, path: str) -> None:
    status, _ = answer(method, path, {} if method == "POST" else None, host="127.0.0.1", port=running.port)
    assert status >= 400


def test_no_page_of_another_origin_may_read_an_answer(running: Running) -> None:
    page = "https://pages.example"
    for host, port, allowed in ((GATE, 8080, None), ("127.0.0.1", running.port, page)):
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("GET", "/v1/models", headers={"Origin": page})
        got = connection.getresponse()
        got.read()
        connection.close()
        assert (got.status, got.headers["Access-Control-Allow-Origin"]) == (200, allowed)


def test_prometheus_reads_its_metrics(running: Running) -> None:
    status, body = answer("GET", "/metrics", port=8081)
    assert status == 200
    assert b"llamacpp:requests_processing" in body


def test_it_listens_on_loopback_alone(running: Running) -> None:
    own = {str(path.readlink()) for path in Path(f"/proc/{running.pid}/fd").iterdir()}
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if f"socket:[{line.split()[9]}]" in own and (line.split()[3] == "0A" or table.startswith("udp"))
    ]
    assert listening == [f"0100007F:{running.port:04X}"]


def test_it_maps_the_file_and_does_not_copy_it(running: Running) -> None:
    size = (running.folder / gguf_files.NAME).stat().st_size
    status = Path(f"/proc/{running.pid}/status").read_text()
    anonymous, of_files = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) << 10 for name in ("RssAnon", "RssFile"))  # type: ignore[index]
    print(f"file {size >> 20} MiB; resident {of_files >> 20} MiB of files, {anonymous >> 20} MiB of its own")
    assert str(running.folder / gguf_files.NAME) in Path(f"/proc/{running.pid}/maps").read_text()
    assert of_files > size // 2, "the weights that were used are the kernel's pages of the file"


def test_it_starts_no_program_and_calls_nobody(running: Running) -> None:
    assert answer("POST", "/v1/chat/completions", question(QUESTION, stream=False))[0] == 200
    calls = running.calls.read_text()
    assert f"bind(3, {{sa_family=AF_INET, sin_port=htons({running.port})" in calls, "the control: strace sees it"
    outward = [line for line in calls.splitlines() if re.search(r"\bconnect\(|AF_INET6|sendmsg\(|SOCK_DGRAM", line)]
    assert outward == []
    assert calls.count("execve(") == 1


def test_what_people_write_is_not_in_its_log(running: Running) -> None:
    logged = running.log.read_text()
    assert "/v1/chat/completions" in logged or "slot" in logged, "the control: it logs requests"
    assert WRITTEN not in logged
    assert "Paris" not in logged


def test_told_to_stop_it_cuts_what_is_under_way(running: Running) -> None:
    """So a pod tells it only when its requests have had their time; an engine that drains needs no such pause.

    It ends at once, or when it sends the next of its signs of life to a client that waits: within 30 s.
    """
    connection = http.client.HTTPConnection(GATE, 8080, timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps(question("Count to one thousand.", tokens=1500)))
    stream = connection.getresponse()
    assert b"data: " in stream.readline()
    begun = time.monotonic()
    os.kill(running.pid, signal.SIGTERM)
    try:
        rest = stream.read()
    except (http.client.IncompleteRead, ConnectionError) as error:
        rest = getattr(error, "partial", b"")
    finally:
        stream.close()
        connection.close()
    running.process.wait(10)
    print(f"ended {time.monotonic() - begun:.2f} s after it was told to")
    assert b"[DONE]" not in rest
