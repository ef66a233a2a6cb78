from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.cluster import binaries
from e2e.cluster.binaries import GO, OTHER_MINORS, PROGRAMS, Program, of_version
from e2e.cluster.keys import key_of
from e2e.cluster.steps import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_every_program_is_pinned_and_known_to_its_group(program: Program) -> None:
    assert program.version.startswith("v")
    if program.package.startswith("./"):
        assert (GO / program.group / program.package / "main.go").exists()
    else:
        tools = (GO / program.group / "go.mod").read_text().partition("tool (")[2].partition(")")[0].split()
        assert program.package in tools


def test_a_program_is_called_as_go_calls_it() -> None:
    assert PROGRAMS["etcd"].built_as == "server"  # go.etcd.io/etcd/server/v3
    assert PROGRAMS["kubectl"].built_as == "kubectl"
    assert PROGRAMS["coredns"].built_as == "coredns"


def test_programs_of_one_batch_have_different_names() -> None:
    for group in {program.group for program in PROGRAMS.values()}:
        names = [program.built_as for program in PROGRAMS.values() if program.group == group]
        assert len(names) == len(set(names))


def test_the_servers_of_another_minor_version_are_of_that_version() -> None:
    assert of_version("kube-apiserver", "") == of_version("kube-apiserver", "1.36") == "kube-apiserver"
    for minor in OTHER_MINORS:
        assert PROGRAMS[of_version("kube-apiserver", minor)].version.startswith(f"v{minor}.")
    assert of_version("etcd", "1.34") == "etcd", "one store for all"


def test_a_version_that_cannot_be_run_is_refused_with_those_that_can() -> None:
    with pytest.raises(ClusterError, match=r"no Kubernetes 1\.33 to run: expected one of 1\.34, 1\.35, 1\.36, 1\.37"):
        of_version("kube-apiserver", "1.33")


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a", b"b") == key_of(b"a", "b")


def test_a_group_moves_when_a_version_or_a_flag_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubernetes").mkdir()
    module = tmp_path / "kubernetes" / "go.mod"
    monkeypatch.setattr(binaries, "GO", tmp_path)
    monkeypatch.setenv("BAILIWICK_CACHE", str(tmp_path / "cache"))
    kubelet = PROGRAMS["kubelet"]

    module.write_text("k8s.io/kubernetes v1.36.3")
    first = binaries.path_of(kubelet)
    assert binaries.path_of(kubelet) == first
    module.write_text("k8s.io/kubernetes v1.36.4")
    assert binaries.path_of(kubelet) != first
    module.write_text("k8s.io/kubernetes v1.36.3")
    monkeypatch.setitem(PROGRAMS, "kubelet", replace(kubelet, tags="providerless"))
    assert binaries.path_of(kubelet) != first
