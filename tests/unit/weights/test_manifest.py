"""Manifests as people write them: what is read, and what is refused with the line that is wrong."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bailiwick.weights import manifest
from bailiwick.weights.problems import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

A, B = "a" * 64, "b" * 64

READ = {
    "as sha256sum writes it": (f"{A}  config.json\n", {"config.json": A}),
    "of binary files": (f"{A} *config.json\n", {"config.json": A}),
    "as find writes it": (f"{A}  ./sub/x.txt\n", {"sub/x.txt": A}),
    "without its last newline": (f"{A}  a\n{B}  b", {"a": A, "b": B}),
    "with an empty line": (f"{A}  a\n\n{B}  b\n", {"a": A, "b": B}),
    "a name with spaces": (f"{A}  my model.safetensors\n", {"my model.safetensors": A}),
    "a name that is not English": (f"{A}  Größe.json\n", {"Größe.json": A}),
}

REFUSED = {
    "nothing": (b"", "it lists no file"),
    "only empty lines": (b"\n\n", "it lists no file"),
    "another encoding": (f"{A}  Größe".encode("latin-1"), "byte 68 is not UTF-8"),
    "a short digest": (f"{A[1:]}  a\n".encode(), "line 1 is not 64"),
    "upper case": (f"{A.upper()}  a\n".encode(), "line 1 is not 64"),
    "one space": (f"{A} a\n".encode(), "line 1 is not 64"),
    "no path": (f"{A}  \n".encode(), "line 1 is not 64"),
    "BSD's form": (f"SHA256 (a) = {A}\n".encode(), "line 1 is not 64"),
    "Windows' line ends": (f"{A}  a\r\n".encode(), "line 1 is not 64"),
    "an escaped name": (f"\\{A}  a\\nb\n".encode(), "line 1 is not 64"),
    "a path that leaves": (f"{A}  a\n{B}  ../b\n".encode(), "line 2: '../b' is no path"),
    "a path that leaves later": (f"{A}  a/../../b\n".encode(), "is no path below the folder"),
    "an absolute path": (f"{A}  /etc/passwd\n".encode(), "'/etc/passwd' is no path"),
    "an empty part": (f"{A}  a//b\n".encode(), "'a//b' is no path"),
    "a folder": (f"{A}  a/\n".encode(), "'a/' is no path"),
    "the folder itself": (f"{A}  .\n".encode(), "'.' is no path"),
    "a file twice": (f"{A}  a\n{B}  ./a\n".encode(), "line 2: 'a' is given twice"),
    "too long": (b"x" * (manifest.MOST_BYTES + 1), "bytes, and 16777216 are the most"),
}


@pytest.mark.parametrize("row", READ)
def test_a_manifest_is_read(row: str) -> None:
    text, digests = READ[row]
    assert manifest.parse(text.encode()) == digests


@pytest.mark.parametrize("row", REFUSED)
def test_a_manifest_is_refused_with_the_line_and_the_remedy(row: str) -> None:
    text, why = REFUSED[row]
    with pytest.raises(WeightsError) as refusal:
        manifest.parse(text)
    assert refusal.value.reason == "ManifestInvalid"
    assert why in refusal.value.message
    assert "bailiwick weights manifest FOLDER" in refusal.value.message


_NAMES = st.text(string.ascii_letters + string.digits + "._- äß", min_size=1, max_size=12).filter(manifest.is_path)
_DIGESTS = st.dictionaries(
    st.lists(_NAMES, min_size=1, max_size=3).map("/".join),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    min_size=1,
)


@given(_DIGESTS)
def test_what_is_written_is_read(digests: Mapping[str, str]) -> None:
    assert manifest.parse(manifest.write(digests)) == digests


@given(_DIGESTS, st.randoms())
def test_the_digest_does_not_depend_on_the_order(digests: Mapping[str, str], random: object) -> None:
    shuffled = sorted(digests, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert manifest.digest({path: digests[path] for path in shuffled}) == manifest.digest(digests)


_LINES = st.lists(
    st.one_of(st.text(max_size=80), st.builds("{}  {}".format, st.just(A), st.text(max_size=20))), max_size=6
)


@given(st.one_of(st.binary(max_size=300), _LINES.map(lambda lines: "\n".join(lines).encode(errors="surrogatepass"))))
def test_nothing_that_is_read_leaves_the_folder(text: bytes) -> None:
    try:
        digests = manifest.parse(text)
    except WeightsError:
        return
    for path, digest in digests.items():
        assert len(bytes.fromhex(digest)) == 32
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
        assert "\n" not in path
    assert manifest.parse(manifest.write(digests)) == digests
