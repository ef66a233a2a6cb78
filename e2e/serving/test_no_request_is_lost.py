"""Rolling updates, rotated keys and drained nodes under load: every answer comes whole, and strangers get none."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.demo.attacks import ABROAD, INSIDE
from e2e.kubectl import wait_until
from e2e.serving.conftest import FORMER_KEY, KEY, KEYS, MODEL, NAMESPACE, SIGNER, ready, secret
from e2e.serving.load import Load
from tests.gate.shown import claims, rsa_key, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from e2e.demo.install import Installed
    from e2e.kubectl import Kubectl

REQUESTS = 500
"""At least so many, over everything that happens here."""
BEFORE_AND_AFTER = 20
"""Of them on either side of what happens, so that both sides are seen to serve."""
QUESTION = {"model": MODEL, "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def load(kubectl: Kubectl, installed: Installed, served: Mapping[str, Any]) -> Iterator[Load]:
    """Clients that ask from the first test of this module to the last."""
    load = Load(kubectl, NAMESPACE)
    endpoint = served["status"]["endpoint"]
    load.start(endpoint=endpoint, model=MODEL, image=installed.engine_image, node=INSIDE, keys=[FORMER_KEY, KEY])
    yield load
    assert load.stop().failures == []


@pytest.fixture
def nothing_lost(load: Load) -> Iterator[None]:
    """Some requests before, some after, and none of all that was lost."""
    load.more(BEFORE_AND_AFTER)
    yield
    load.more(BEFORE_AND_AFTER)
    assert load.count().failures == []


def pods(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """The model's pods by name."""
    found = kubectl.items("pods", "-n", NAMESPACE, "-l", f"bailiwick.dev/model={MODEL}")
    return {each["metadata"]["name"]: each for each in found}


def gone(kubectl: Kubectl, names: set[str]) -> None:
    wait_until(lambda: not names & set(pods(kubectl)), what="the former pods are gone", seconds=600)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.mark.usefixtures("nothing_lost")
def test_a_rolling_update_loses_no_request(kubectl: Kubectl) -> None:
    former = set(pods(kubectl))
    change = json.dumps({"spec": {"context": {"maxSequences": 7}}})
    kubectl.must("patch", "smodel", MODEL, "-n", NAMESPACE, "--type=merge", "-p", change)
    gone(kubectl, former)
    ready(kubectl)


@pytest.mark.usefixtures("nothing_lost")
def test_a_rotation_of_keys_loses_no_request(kubectl: Kubectl, load: Load) -> None:
    """Both keys count, the clients take the new one, and the former counts no more: with the same pods."""
    replicas = pods(kubectl)
    addresses = [each["status"]["podIP"] for each in replicas.values()]

    def every_gate_says(key: str, status: int) -> None:
        def says() -> bool:
            asked = [f"http://{address}:8080/v1/models" for address in addresses]
            return all(load.ask(url, method="GET", headers=bearer(key))[0] == status for url in asked)

        wait_until(says, what=f"every gate answers {status}", seconds=150)

    every_gate_says(KEY, 401)
    kubectl.apply(secret(KEYS, load=KEY, former=FORMER_KEY))
    every_gate_says(KEY, 200)
    load.next_key()
    load.more(BEFORE_AND_AFTER)
    kubectl.apply(secret(KEYS, load=KEY))
    every_gate_says(FORMER_KEY, 401)
    assert set(pods(kubectl)) == set(replicas)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A request that is none of the clients', and what it gets. Tokens expire, so they are made when shown."""

    expected: tuple[int, str | None]
    credential: Callable[[], str | None] = lambda: KEY
    path: str = "/chat/completions"
    method: str = "POST"


STRANGERS = {
    "a good token": Stranger((200, None), lambda: token(SIGNER, "e2e", claims())),
    "an expired token": Stranger(
        (401, "expired_token"), lambda: token(SIGNER, "e2e", claims(exp=int(time.time()) - 60))
    ),
    "a forged token": Stranger((401, "invalid_token"), lambda: token(rsa_key(), "e2e", claims())),
    "a wrong key": Stranger((401, "invalid_api_key"), lambda: "another-key-" + 20 * "3"),
    "no credential": Stranger((401, "no_credential"), lambda: None),
    "another method": Stranger((405, "method_not_allowed"), method="GET"),
    "a path of the engine alone": Stranger((404, "path_not_allowed"), path="/load_lora_adapter"),
    "a path that climbs": Stranger((404, "path_not_allowed"), path="/../metrics"),
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_who_asks_what_is_judged_while_others_are_served(
    load: Load, served: Mapping[str, Any], stranger: Stranger
) -> None:
    credential = stranger.credential()
    headers = bearer(credential) if credential else {}
    url = served["status"]["endpoint"] + stranger.path
    assert load.ask(url, method=stranger.method, headers=headers, body=QUESTION) == stranger.expected


@pytest.mark.usefixtures("nothing_lost")
def test_a_drained_node_loses_no_request(kubectl: Kubectl) -> None:
    former = {name for name, pod in pods(kubectl).items() if pod["spec"]["nodeName"] == ABROAD}
    assert former, "no replica is on the node that is drained"
    try:
        kubectl.must(
            "drain", ABROAD, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
            f"--pod-selector=bailiwick.dev/model={MODEL}", "--timeout=300s", timeout=310,
        )  # fmt: skip
        # The other node may have no room for a second replica: the first goes on.
        gone(kubectl, former)
    finally:
        kubectl.must("uncordon", ABROAD)


def test_of_all_requests_none_was_lost(load: Load) -> None:
    load.more(max(0, REQUESTS - load.count().whole))
    assert load.count().failures == []
