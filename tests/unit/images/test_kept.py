"""What is made once is there whole, or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from e2e.cluster.kept import kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAILIWICK_CACHE", str(tmp_path))
    return tmp_path


def write(target: Path) -> None:
    target.write_text("made")


def test_it_is_made_once(cache: Path) -> None:
    made = []

    def make(target: Path) -> None:
        made.append(target)
        write(target)

    for _ in range(2):
        assert kept("things", "thing-1", make) == cache / "things" / "thing-1"
    assert len(made) == 1


def test_a_maker_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(target: Path) -> None:
        target.write_text("half")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        kept("things", "thing-1", fail)
    assert list((cache / "things").iterdir()) == []


def _make_for_ever(said: str) -> None:
    def make(target: Path) -> None:
        target.mkdir()
        (target / "half").touch()
        Path(said).touch()
        time.sleep(60)

    kept("things", "thing-1", make)


def test_a_maker_that_is_killed_is_in_nobodys_way(cache: Path) -> None:
    begun = cache / "begun"
    maker = multiprocessing.get_context("spawn").Process(target=_make_for_ever, args=(str(begun),))
    maker.start()
    for _ in range(200):
        if begun.exists():
            break
        time.sleep(0.05)
    assert maker.pid is not None
    os.kill(maker.pid, signal.SIGKILL)
    maker.join()
    assert kept("things", "thing-1", write).read_text() == "made"
    assert [path.name for path in (cache / "things").iterdir()] == ["thing-1"]


def test_old_generations_go_and_other_names_stay(cache: Path) -> None:
    for number, name in enumerate(("thing-1", "thing-2", "thing-3", "other-1")):
        path = kept("things", name, write)
        os.utime(path, (number, number))
    kept("things", "thing-4", write)
    assert sorted(path.name for path in (cache / "things").iterdir()) == ["other-1", "thing-3", "thing-4"]
