"""`bailiwick status` on a real API server: what the operator wrote, as whoever asks may see it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.client import eventually
from e2e.cluster.apiserver import free_ports
from tests.apiserver.realm import OURS
from tests.apiserver.terminal import bailiwick, piped, terminal
from tests.apiserver.worlds import served_team

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.client import Manifest
    from tests.apiserver.realm import Policy, Realm

pytestmark = pytest.mark.apiserver

FRANKFURT = "aws:///eu-central-1a/i-0123456789abcdef1"
VIRGINIA = "aws:///us-east-1a/i-0123456789abcdef2"
RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def policy(world: Realm) -> Policy:
    """A policy with one node inside and one outside."""
    inside, _ = world.node(FRANKFURT), world.node(VIRGINIA)
    policy = world.policy("DE")
    policy.in_force().holds(inside)
    return policy


@pytest.fixture(scope="module")
def team(world: Realm, policy: Policy) -> str:
    """A namespace that the policy governs, with a model whose pods nobody starts."""
    return served_team(world, policy)


@pytest.fixture
def talk(world: Realm, team: str) -> Iterator[Callable[[Manifest], Manifest]]:
    """Changes the spec of another model there, which goes after the test."""
    world.model(team, "talk")
    world.served(team, "talk")
    yield lambda spec: world.client.patch(OURS, "SovereignModel", "talk", {"spec": spec}, team)
    world.client.delete(OURS, "SovereignModel", "talk", team)
    eventually(lambda: not world.find("SovereignModel", "talk", team), what="the model is gone")


def row(text: str, *begins: str) -> list[str]:
    """The words of the one line that begins so."""
    (found,) = [line.split() for line in text.splitlines() if line.split()[: len(begins)] == list(begins)]
    return found


def told(kubeconfig: Path, *arguments: str) -> Any:
    done = bailiwick(kubeconfig, "status", "-o", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_operator_wrote_is_shown_wrong_first(world: Realm, policy: Policy, team: str) -> None:
    done = bailiwick(world.server.kubeconfig(), "status", "-n", team)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\033" not in done.stdout
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("NOT AS IT SHOULD BE (")
    assert second.startswith(f"SovereignModel {team}/chat: ")
    assert " is False: " in second
    (inside,) = policy.inside()
    assert f"DE 1 ({inside})" in " ".join(row(done.stdout, policy.name, "DE"))
    assert "WrongPlace 1 (" in " ".join(row(done.stdout, policy.name, "DE"))
    assert row(done.stdout, policy.name, "Enforce")[2] == "True"
    assert row(done.stdout, team, "chat")[4] == "0/1"


def test_json_and_yaml_say_the_same(world: Realm, policy: Policy, team: str) -> None:
    kubeconfig = world.server.kubeconfig()
    (model,) = told(kubeconfig, "-n", team)["models"]
    assert (model["name"], model["ready"], model["policies"], model["eligibleNodes"]) == (
        "chat",
        "False",
        [policy.name],
        1,
    )
    again = yaml.safe_load(bailiwick(kubeconfig, "status", "-n", team, "-o", "yaml").stdout)
    assert again["models"] == [model]


def test_models_of_other_namespaces_are_shown_when_asked_for(world: Realm, team: str) -> None:
    kubeconfig = world.server.kubeconfig()
    assert told(kubeconfig)["models"] == []  # the context names no namespace
    assert [each["namespace"] for each in told(kubeconfig, "-A")["models"]] == [team]
    both = bailiwick(kubeconfig, "status", "-A", "-n", team)
    assert (both.returncode, "not allowed with" in both.stderr) == (2, True)


def test_the_namespace_of_the_context_is_the_one_that_counts(world: Realm, team: str, tmp_path: Path) -> None:
    config = yaml.safe_load(world.server.kubeconfig().read_text())
    config["contexts"][0]["context"]["namespace"] = team
    (own := tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    assert [each["name"] for each in told(own)["models"]] == ["chat"]
    done = bailiwick(own, "status", "--context", "nowhere")
    assert (done.returncode, "nowhere" in done.stderr) == (1, True)


def test_who_may_see_models_alone_sees_them_and_is_told_of_the_rest(world: Realm, team: str) -> None:
    rule = {"apiGroups": ["bailiwick.dev"], "resources": ["sovereignmodels"], "verbs": ["list", "watch"]}
    role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "looks", "namespace": team}, "rules": [rule]}
    world.create(role)
    binding = {
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "looks", "namespace": team},
        "roleRef": {"apiGroup": RBAC.partition("/")[0], "kind": "Role", "name": "looks"},
        "subjects": [{"apiGroup": RBAC.partition("/")[0], "kind": "User", "name": "paul"}],
    }  # fmt: skip
    world.create(binding)
    paul = world.server.kubeconfig("paul", ())
    seen = eventually(lambda: told(paul, "-n", team)["models"] and told(paul, "-n", team), what="the role counts")
    assert [each["name"] for each in seen["models"]] == ["chat"]
    assert seen["unseen"] == [
        "you may not list residencypolicies; ask for the ClusterRole bailiwick-viewer",
        "you may not list territories; ask for the ClusterRole bailiwick-viewer",
    ]
    everywhere = bailiwick(paul, "status", "-A")
    assert everywhere.returncode == 1
    assert "you may not list sovereignmodels; ask for the ClusterRole bailiwick-viewer" in everywhere.stderr
    assert everywhere.stdout == ""


def test_a_server_that_does_not_answer_is_named_with_what_to_do(world: Realm, tmp_path: Path) -> None:
    config = yaml.safe_load(world.server.kubeconfig().read_text())
    (port,) = free_ports(1)
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    (nowhere := tmp_path / "nowhere.yaml").write_text(yaml.safe_dump(config))
    done = bailiwick(nowhere, "status")
    assert done.returncode == 1
    assert done.stderr.startswith("bailiwick status: the API server does not answer (")
    assert "kubectl version" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_watched_in_a_pipe_each_change_is_one_line_of_json(
    world: Realm, team: str, talk: Callable[[Manifest], Manifest]
) -> None:
    with piped(world.server.kubeconfig(), "status", "-n", team, "--watch", "-o", "json") as (process, lines):
        views = (json.loads(line)["models"] for line in lines)
        assert [(each["name"], each["replicas"]) for each in next(views)] == [("chat", 1), ("talk", 1)]
        talk({"replicas": 3})
        assert any(shown[1]["replicas"] == 3 for shown in views)
        world.client.delete(OURS, "SovereignModel", "talk", team)
        assert any(len(shown) == 1 for shown in views)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_watched_on_a_terminal_the_view_is_drawn_in_place_and_in_colour(
    world: Realm, team: str, talk: Callable[[Manifest], Manifest]
) -> None:
    with terminal(world.server.kubeconfig(), "status", "-n", team, "--watch") as screen:
        screen.until(lambda text: "Ctrl-C ends" in text and text.count("0/1") == 2)
        assert "\033[31m" in screen.written
        talk({"replicas": 7})
        screen.until(lambda text: "0/7" in text)
        last = screen.written.rsplit("\033[H", 1)[-1]
        assert last.count("0/1") == 1
        assert "Ctrl-C ends" in last
        screen.process.send_signal(signal.SIGINT)
        assert screen.process.wait(30) == 130
        assert "Traceback" not in screen.written


def test_where_not_all_fits_the_explanations_give_way_to_the_tables(world: Realm, team: str) -> None:
    with terminal(world.server.kubeconfig(), "status", "-n", team, "--watch", height=20) as screen:
        seen = screen.until(lambda text: "MODELS" in text)
        assert "chat: Placed is False: Unschedulable" in seen
        assert "the scheduler has not looked at it yet" not in seen
        assert "lines more" not in seen
