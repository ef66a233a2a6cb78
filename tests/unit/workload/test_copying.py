"""Models that are copied out of their images: what the pod has for it, what the copy does, and when it is needed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bailiwick.workload.copying import COMMAND
from bailiwick.workload.troubles import stages_of, trouble_of
from tests.unit.workload.given import DIGEST, IMAGE, model, plan, pod

if TYPE_CHECKING:
    from bailiwick.api.sovereignmodel import SovereignModel

POLICIES = Path(__file__).parents[3] / "charts/bailiwick/policies/pods.yaml"
BY_TAG = {"oci": {"image": "registry.example/tiny:1", "mount": "Copy"}}
COPIED = {"oci": {"image": f"registry.example/tiny@{DIGEST}", "mount": "Copy"}}
VOLUME = {"oci": {**IMAGE["oci"], "mount": "Volume"}}


def of(source: Any, *adapters: Any, **said: Any) -> SovereignModel:
    listed = [{"name": f"a{number}", "source": each} for number, each in enumerate(adapters)]
    return model(model={"name": "tiny", "source": source, **said}, adapters=listed)


def names(served: SovereignModel) -> list[str]:
    return [each["name"] for each in pod(plan(served))["initContainers"]]


ORDERS: dict[str, tuple[SovereignModel, list[str]]] = {
    "nothing is copied": (of(IMAGE, VOLUME), ["seal", "gate"]),
    "a model by digest": (of(COPIED), ["seal", "copier", "copy", "gate"]),
    "a model by tag, whose files are looked at": (of(BY_TAG), ["seal", "copier", "copy", "verify", "gate"]),
    "a model of which more is said": (of(COPIED, digest=DIGEST), ["seal", "copier", "copy", "verify", "gate"]),
    "an adapter alone": (of(IMAGE, IMAGE, COPIED), ["seal", "copier", "copy-adapter-1", "gate"]),
    "both": (
        of(BY_TAG, BY_TAG), ["seal", "copier", "copy", "copy-adapter-0", "verify", "verify-adapter-0", "gate"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ORDERS)
def test_the_pod_is_sealed_then_copies_then_verifies(row: str) -> None:
    served, order = ORDERS[row]
    assert names(served) == order


def test_a_copy_is_where_a_volume_would_be() -> None:
    copied, mounted = (pod(plan(of(source))) for source in (COPIED, IMAGE))
    assert copied["containers"] == mounted["containers"]
    assert {"name": "model", "emptyDir": {}} in copied["volumes"]
    (copy,) = (each for each in copied["initContainers"] if each["name"] == "copy")
    assert {"name": "model", "mountPath": "/.bailiwick/files"} in copy["volumeMounts"]
    assert copy["image"] == COPIED["oci"]["image"]


def test_the_room_of_all_copies_is_kept_free_and_not_exceeded() -> None:
    sized = {"oci": {**COPIED["oci"], "size": "20Gi"}}
    made = pod(plan(of(sized, sized, COPIED)))
    (first,) = (each for each in made["initContainers"] if each["name"] == "copier")
    assert first["resources"]["requests"]["ephemeral-storage"] == str(40 * 2**30)
    limits = {each["name"]: each.get("emptyDir") for each in made["volumes"]}
    assert (limits["model"], limits["adapter-0"], limits["adapter-1"]) == (*[{"sizeLimit": "20Gi"}] * 2, {})


RELEASES: dict[str, tuple[Any, tuple[int, int] | None, bool]] = {
    "a volume on a release that has them": (IMAGE, (1, 36), True),
    "a volume on a later one": (IMAGE, (2, 0), True),
    "a volume on an earlier one": (IMAGE, (1, 35), False),
    "a volume on an earlier one, with the feature": (VOLUME, (1, 34), True),
    "a copy on an earlier one": (COPIED, (1, 34), True),
    "a claim on an earlier one": ({"persistentVolumeClaim": {"claimName": "weights"}}, (1, 34), True),
    "a volume on one that nobody knows": (IMAGE, None, True),
}


@pytest.mark.parametrize("row", RELEASES)
@pytest.mark.parametrize("where", ["spec.model", "spec.adapters[a0]"])
def test_image_volumes_need_a_release_that_has_them(row: str, where: str) -> None:
    source, release, allowed = RELEASES[row]
    served = of(source) if where == "spec.model" else of(COPIED, source)
    verdict = plan(served, kubernetes=release).verdict
    assert verdict.reason == ("Allowed" if allowed else "UnsupportedSource")
    if not allowed:
        assert f"{where}.source.oci is mounted as an image volume" in verdict.message
        assert "this API server is 1.35" in verdict.message
        assert f"set {where}.source.oci.mount to Copy" in verdict.message


def inside(root: Path, program: str = 'exec "$@"') -> subprocess.CompletedProcess[str]:
    """Run what a pod would, with ``root`` for its root and the machine's own commands for the program's."""
    tool = root / ".bailiwick/tools/busybox"
    tool.parent.mkdir(parents=True, exist_ok=True)
    (root / ".bailiwick/files").mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\n{program}\n")
    tool.chmod(0o755)
    script = re.sub(r"(^|[ =|'])/", rf"\1{root}/", COMMAND[3])
    assert script.count(str(root)) == 14, "every path"
    return subprocess.run(["/bin/sh", "-ec", script], capture_output=True, text=True, check=False)


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


FILES = {"config.json": "{}", "a b.txt": "b", ".gitattributes": "g", "sub/x.txt": "x", "sub/.y/z.txt": "z"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A model's image with what a container runtime adds to it."""
    runtime = dict.fromkeys(("etc/hosts", "proc/1", "sys/a", "dev/null", "run/b", "var/run/c", ".dockerenv"), "")
    for path, content in {**FILES, **runtime}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "copy.json").symlink_to("config.json")
    return tmp_path


def test_a_copy_has_the_files_of_the_image_and_no_others(image: Path) -> None:
    files = image / ".bailiwick/files"
    for _ in range(2):  # it may be interrupted, and begins anew
        assert inside(image).returncode == 0
        assert held(files) == FILES | {"copy.json": "{}"}
        assert (files / "copy.json").is_symlink()
        (files / "stale.json").write_text("")
        (files / "sub/x.txt").write_text("half of it")


def test_a_copy_that_fails_ends_with_the_failure(image: Path) -> None:
    failed = inside(image, 'case $1 in cp) echo "cp: write error: No space left on device" >&2; exit 1 ;; esac')
    assert failed.returncode == 1
    ended = {"exitCode": failed.returncode, "message": failed.stderr}
    found = trouble_of({"metadata": {}, "spec": {"replicas": 1}}, [replica(terminated=ended)])
    assert found is not None
    assert found.reason == "NoSpace"


def test_a_replica_that_copies_says_so() -> None:
    assert stages_of([replica(running={})]) == "1 copying the weights"


def replica(**state: Any) -> dict[str, Any]:
    status = {"initContainerStatuses": [{"name": "copy", "state": state}]}
    return {"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": status}


def test_the_border_knows_the_command_by_heart() -> None:
    policy = yaml.safe_load(POLICIES.read_text())
    (known,) = (each["expression"] for each in policy["spec"]["variables"] if each["name"] == "copies")
    found = known[known.index("each.command[3] ==") :]
    script = re.findall(r"\"[^\"]*\"|'[^']*'", found[: found.index("!has(each.args)")])
    assert "".join(each[1:-1] for each in script[:3]) in COMMAND[3]
    for word in COMMAND[:3]:
        assert f"'{word}'" in known
