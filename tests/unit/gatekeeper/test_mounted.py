"""A Secret is read as one version of it, whatever the kubelet does meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from gatekeeper.mounted import Broken, contents, required
from tests.gate.shown import Mount

if TYPE_CHECKING:
    from pathlib import Path


def test_values_are_read_and_the_kubelets_own_entries_are_not(tmp_path: Path) -> None:
    Mount(tmp_path / "secret").hold(alice="a", bob="b")
    assert contents(tmp_path / "secret") == {"alice": b"a", "bob": b"b"}


def test_where_there_is_no_secret_there_is_nothing(tmp_path: Path) -> None:
    assert contents(tmp_path / "nothing") == {}
    (tmp_path / "empty").mkdir()
    assert contents(tmp_path / "empty") == {}
    assert contents(Mount(tmp_path / "emptied").hold(alice="a").hold_all({}).folder) == {}


def test_versions_are_never_mixed(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "secret").hold(crt="0", key="0")
    done = threading.Event()

    def rotate() -> None:
        for number in range(300):
            old = (mount.folder / "..data").resolve()
            mount.hold(crt=str(number), key=str(number))
            for path in old.iterdir():
                path.unlink()
            old.rmdir()
        done.set()

    thread = threading.Thread(target=rotate)
    thread.start()
    seen = []
    while not done.is_set():
        seen.append(contents(mount.folder))
    thread.join()
    assert {tuple(each) for each in seen} == {("crt", "key")}
    assert [each for each in seen if each["crt"] != each["key"]] == []


def test_what_must_be_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"the Secret x holds no tls.key: .* it has tls.crt"):
        required({"tls.crt": b"a"}, "tls.key", "x")
