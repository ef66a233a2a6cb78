"""A group of two is one engine: vLLM's leader and worker as LeaderWorkerSet starts them, each with its own address.

The image's vLLM, without a cluster: told word for word what the templates of the group say, with the addresses and the
places of this machine in them. Beside it, one engine alone, to compare.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
import yaml

from bailiwick.api.acceleratorclass import AcceleratorClass
from bailiwick.api.residencypolicy import ResidencyPolicy
from bailiwick.api.sovereignmodel import SovereignModel
from bailiwick.residency.jurisdictions import Atlas
from bailiwick.residency.policies import compile_policy
from bailiwick.workload.eligibility import Eligibility
from bailiwick.workload.layout import ENGINE_PORT
from bailiwick.workload.leaderworkerset import RENDEZVOUS_PORT
from bailiwick.workload.plan import Settings, plan_workload
from e2e.cluster.places import ROOT
from e2e.engines import vllm_process
from e2e.gate import process as gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASS = ROOT / "charts" / "bailiwick" / "acceleratorclasses" / "cpu.yaml"
MODEL, GATE = "assistant", "127.0.89.1"
ALONE, LEADER, WORKER = "127.0.91.1", "127.0.91.2", "127.0.91.3"
STARTS_WITHIN = 600.0
STEP_SECONDS = 30
"""After which a leader takes a step of its group for lost, in this test; 300 where nobody says."""
SLOW_MACHINE = 60.0
QUESTIONS = ("Count from one to ten.", "What is the capital of France?", "Write a short poem about the sea.")


def containers(**parallelism: int) -> dict[str, Any]:
    """The pods' engine containers for a model on CPUs whose nodes have one socket each, by the field they stand in."""
    (on,) = yaml.safe_load_all(CLASS.read_text())
    (offer,) = (each for each in on["spec"]["engines"] if each["name"] == "vllm")
    # A stage gets its buffers when vLLM warms up, which it leaves out on CPUs where --enforce-eager is said.
    offer["arguments"] = ['--compilation-config={"mode": 1}', "--kv-cache-memory-bytes", "256M", vllm_process.QUICK]
    offer["environment"] += [
        {"name": "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "value": str(STEP_SECONDS)},
        {"name": "VLLM_CPU_OMP_THREADS_BIND", "value": "nobind"},  # both members would choose the same core
    ]
    on["spec"] |= {"engines": [offer], "resources": ["example.com/socket"], "devicesPerNode": 1}
    policy = {"metadata": {"name": "p"}, "spec": {"namespaceSelector": {}, "place": {"allow": ["DE"]}}}
    asked = {
        "metadata": {"name": MODEL, "namespace": "clinic", "uid": "u"},
        "spec": {
            "model": {"name": MODEL, "source": {"oci": {"image": "registry.example/m:1"}}},
            "accelerators": {"classes": ["cpu"]},
            "context": {"maxLength": 2048, "maxSequences": 16},
            "parallelism": parallelism,
        },
    }
    made = plan_workload(
        SovereignModel.read(asked),
        policies=[compile_policy(ResidencyPolicy.read(policy), Atlas(()))],
        classes={"cpu": AcceleratorClass.read(on)},
        eligible=lambda *_: Eligibility(),
        settings=Settings(gate_image="gate", weights_image="weights"),
        offered=["LeaderWorkerSet"],
    )
    assert made.verdict.allowed, made.verdict
    specs = {each["kind"]: each["spec"] for each in made.objects if "spec" in each}
    found = specs["LeaderWorkerSet"]["leaderWorkerTemplate"] if "LeaderWorkerSet" in specs else specs["Deployment"]
    return {
        name: template["spec"]["containers"][0] for name, template in found.items() if name.lower().endswith("template")
    }


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
    return port


async def health() -> int:
    """What the kubelet sees of the leader; 0 when the gate does not answer."""
    try:
        reader, writer = await asyncio.open_connection(GATE, gate.PROBE_PORT)
        writer.write(f"GET /health HTTP/1.1\r\nHost: {GATE}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    except (OSError, TimeoutError):
        return 0
    return int(answer.split()[1]) if answer else 0


async def ready(*engines: vllm_process.Engine) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while await health() != 200:
        for each in engines:
            assert each.runs, each.said()
        assert time.monotonic() < until, "\n".join(each.said() for each in engines)
        await asyncio.sleep(0.5)


def client(seconds: float = 300) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://{GATE}:8080/v1", api_key="none", max_retries=0, timeout=seconds)


async def answers() -> list[str]:
    """What is answered through the gate, without chance."""
    found = []
    async with client() as asking:
        for question in QUESTIONS:
            made = await asking.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=48, temperature=0
            )
            found.append(made.choices[0].message.content or "")
    return found


@dataclass(frozen=True)
class Group:
    """Two members, and what one engine alone answers."""

    leader: vllm_process.Engine
    worker: vllm_process.Engine
    rendezvous: int
    started: float
    alone: list[str]


@asynccontextmanager
async def one(folder: Path, front: Path) -> AsyncIterator[vllm_process.Engine]:
    """One engine alone, behind the gate."""
    port = free_port()
    here = {str(ENGINE_PORT): str(port), "status.podIP": ALONE}
    async with (
        vllm_process.running(containers(tensor=1)["template"], {}, folder=folder, here=here) as engine,
        gate.running(front, GATE, port, {}),
    ):
        await ready(engine)
        yield engine


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def group(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Group]:
    alone, before, first, second, front = map(tmp_path_factory.mktemp, ("alone", "before", "leader", "worker", "gate"))
    async with one(alone, before):
        expected = await answers()
    made, port, rendezvous = containers(tensor=1, pipeline=2), free_port(), free_port()
    here = {str(ENGINE_PORT): str(port), str(RENDEZVOUS_PORT): str(rendezvous)}
    of_both = {"LWS_LEADER_ADDRESS": LEADER, "LWS_GROUP_SIZE": "2"}
    begun = time.monotonic()
    async with (
        vllm_process.running(
            made["leaderTemplate"], of_both | {"LWS_WORKER_INDEX": "0"},
            folder=first, here=here | {"status.podIP": LEADER},
        ) as leader,
        vllm_process.running(
            made["workerTemplate"], of_both | {"LWS_WORKER_INDEX": "1"},
            folder=second, here=here | {"status.podIP": WORKER},
        ) as worker,
        gate.running(front, GATE, port, {}),
    ):  # fmt: skip
        await ready(leader, worker)
        yield Group(leader, worker, rendezvous, time.monotonic() - begun, expected)


def children(of: int) -> dict[int, str]:
    """What a process has started: process ids, and what they are called."""
    pids = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in pids}


async def test_a_group_answers_as_one_engine_does(group: Group) -> None:
    print(f"ready after {group.started:.0f} s")
    assert await answers() == group.alone
    assert "Paris" in group.alone[1]


async def test_each_member_has_its_stage(group: Group) -> None:
    for member, rank in ((group.leader, 0), (group.worker, 1)):
        assert f"Worker_PP{rank}" in member.log.read_text(errors="replace")
        assert f"Worker_PP{1 - rank}" not in member.log.read_text(errors="replace")


async def test_a_stream_comes_through_the_gate(group: Group) -> None:
    async with client() as asking:
        chunks = await asking.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTIONS[0]}], max_tokens=20, temperature=0, stream=True
        )
        assert len([chunk async for chunk in chunks]) > 10


async def test_only_the_leader_serves_http(group: Group) -> None:
    assert "Starting vLLM server" in group.leader.log.read_text(errors="replace")
    assert "Starting vLLM server" not in group.worker.log.read_text(errors="replace")


async def test_a_worker_whose_engine_dies_ends_and_its_leader_cannot_tell(group: Group) -> None:
    """So the whole group is made anew when one container restarts: LeaderWorkerSet sees what a leader does not."""
    (engine,) = (pid for pid, name in children(group.worker.process.pid).items() if "Worker" in name)
    begun = time.monotonic()
    os.kill(engine, signal.SIGKILL)
    await asyncio.wait_for(group.worker.process.wait(), SLOW_MACHINE)
    print(f"the worker's container ended {time.monotonic() - begun:.1f} s after its engine")
    group.worker.kill()
    assert await health() == 200, "a leader without requests notices nothing"
    begun = time.monotonic()
    async with client(STEP_SECONDS + SLOW_MACHINE) as asking:
        with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as failed:
            await asking.completions.create(model=MODEL, prompt="Once", max_tokens=4)
    assert not isinstance(failed.value, openai.APITimeoutError)
    print(f"its request failed after {time.monotonic() - begun:.1f} s: {failed.value}")
    await asyncio.wait_for(group.leader.process.wait(), STEP_SECONDS + SLOW_MACHINE)
    print(f"the leader ended after {time.monotonic() - begun:.1f} s")
