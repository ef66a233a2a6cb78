"""A folder of weights against what was said of it: what passes, and what is refused, by which words."""

from __future__ import annotations

import json
import os
import shutil
import struct
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bailiwick.cli import main
from bailiwick.cli.offline.modelfiles import CONFIG
from bailiwick.cli.offline.profiles import digests
from bailiwick.weights import folder as folders
from bailiwick.weights import manifest
from bailiwick.weights.problems import WeightsError
from bailiwick.weights.profile import compare
from bailiwick.weights.signature import Key
from bailiwick.weights.verification import Expected, verify
from bailiwick.workload.sizing.profile import Profile, write_profile

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SIGNED = Path(__file__).parent / "signed"
"""What model-signing 1.1.1 signed: `model_signing sign key tiny --private_key KEY --signature tiny/model.sig`."""
KEY = "".join((SIGNED / "pub.pem").read_text().split("-----")[2].split())
OTHER = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="  # noqa: E501


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the signed folder."""
    return Path(shutil.copytree(SIGNED / "tiny", tmp_path / "tiny"))


def seen(folder: Path) -> dict[str, str]:
    paths = [path for path in folders.files(folder) if path not in folders.BESIDE]
    return dict(folders.digests(folder, paths))


def refusal(folder: Path, **expected: Any) -> WeightsError:
    with pytest.raises(WeightsError) as refused:
        verify(folder, Expected(**expected), NOW)
    return refused.value


def signed(folder: Path, *keys: str) -> dict[str, Any]:
    return {"signature": folder / "model.sig", "keys": tuple(map(Key.read, keys or (KEY,)))}


def listed(folder: Path) -> dict[str, Any]:
    """The manifest of the folder as it is now, beside the folder."""
    path = folder.parent / "SHA256SUMS"
    path.write_bytes(manifest.write(seen(folder)))
    return {"manifest": path}


def digest(folder: Path) -> dict[str, Any]:
    return {"digest": manifest.digest(seen(folder))}


WAYS: dict[str, Callable[[Path], dict[str, Any]]] = {"digest": digest, "manifest": listed, "signature": signed}


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_changed_passes(tiny: Path, way: str) -> None:
    found = verify(tiny, Expected(**WAYS[way](tiny)), NOW)
    assert found.files == 4
    assert found.digest == manifest.digest(seen(tiny))


def test_signature_and_manifest_together_pass(tiny: Path) -> None:
    verify(tiny, Expected(**listed(tiny), **signed(tiny)), NOW)


@pytest.mark.parametrize("way", WAYS)
def test_one_changed_bit_is_refused(tiny: Path, way: str) -> None:
    expected = WAYS[way](tiny)
    weights = tiny / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    refused = refusal(tiny, **expected)
    assert refused.reason == ("DigestDiffers" if way == "digest" else "FileDiffers")
    if way != "digest":
        assert "model.safetensors was changed" in refused.message
        assert f"seen sha256:{seen(tiny)['model.safetensors']}" in refused.message


@pytest.mark.parametrize(
    ("way", "reason"), [("digest", "DigestDiffers"), ("manifest", "FileUnlisted"), ("signature", "FileUnlisted")]
)
def test_a_file_more_is_refused(tiny: Path, way: str, reason: str) -> None:
    expected = WAYS[way](tiny)
    (tiny / "generation_config.json").write_text("{}")
    refused = refusal(tiny, **expected)
    assert refused.reason == reason
    if way != "digest":
        assert "generation_config.json is not listed" in refused.message


@pytest.mark.parametrize(
    ("way", "reason"), [("digest", "DigestDiffers"), ("manifest", "FileMissing"), ("signature", "FileMissing")]
)
def test_a_file_less_is_refused(tiny: Path, way: str, reason: str) -> None:
    expected = WAYS[way](tiny)
    (tiny / "config.json").unlink()
    assert refusal(tiny, **expected).reason == reason


def test_what_git_needs_is_not_signed_and_passes(tiny: Path) -> None:
    (tiny / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    verify(tiny, Expected(**signed(tiny)), NOW)


def test_another_key_is_refused(tiny: Path) -> None:
    refused = refusal(tiny, **signed(tiny, OTHER))
    assert refused.reason == "SignatureInvalid"
    assert "none of the 1 keys" in refused.message


def test_one_of_several_keys_is_enough(tiny: Path) -> None:
    verify(tiny, Expected(**signed(tiny, OTHER, KEY)), NOW)


def test_a_key_counts_until_its_end(tiny: Path) -> None:
    verify(tiny, Expected(**signed(tiny, f"{KEY}@2026-11-21T00:00:01Z")), NOW)
    refused = refusal(tiny, **signed(tiny, f"{KEY}@2026-11-21T00:00:00Z"))
    assert refused.reason == "KeyExpired"
    assert "until 2026-11-21T00:00:00Z" in refused.message


def _payload(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def changed(bundle: Any) -> Any:
        envelope = bundle["dsseEnvelope"]
        payload = change(json.loads(b64decode(envelope["payload"])))
        return {**bundle, "dsseEnvelope": {**envelope, "payload": b64encode(json.dumps(payload).encode()).decode()}}

    return changed


FORGED: dict[str, Callable[[Any], Any]] = {
    "no bundle": lambda _: [],
    "nothing": lambda _: None,
    "no envelope": lambda bundle: {key: value for key, value in bundle.items() if key != "dsseEnvelope"},
    "no signature": lambda bundle: {**bundle, "dsseEnvelope": {**bundle["dsseEnvelope"], "signatures": []}},
    "another type": lambda bundle: {**bundle, "dsseEnvelope": {**bundle["dsseEnvelope"], "payloadType": "x"}},
    "no base64": lambda bundle: {**bundle, "dsseEnvelope": {**bundle["dsseEnvelope"], "payload": "?"}},
    "another list": _payload(lambda statement: {**statement, "predicate": {"resources": []}}),
    "the same, written otherwise": _payload(lambda statement: statement),
}


@pytest.mark.parametrize("row", FORGED)
def test_a_forged_signature_is_refused(tiny: Path, row: str) -> None:
    file = tiny / "model.sig"
    file.write_text(json.dumps(FORGED[row](json.loads(file.read_text()))))
    assert refusal(tiny, **signed(tiny)).reason == "SignatureInvalid"


@pytest.mark.parametrize(("field", "reason"), [("signature", "SignatureMissing"), ("manifest", "ManifestMissing")])
def test_a_file_that_should_say_it_and_is_not_there_is_a_refusal(tiny: Path, field: str, reason: str) -> None:
    refused = refusal(tiny, **{field: tiny.parent / "nowhere"})
    assert refused.reason == reason
    assert "nowhere cannot be read" in refused.message


PICKLE, ZIP = b"\x80\x04\x95rest", b"PK\x03\x04rest"
STRAYS: dict[str, tuple[str, bytes, str]] = {
    **{f"a file .{ending}": (f"x.{ending}", b"text", "can run code") for ending in ("bin", "pt", "pth", "ckpt", "pkl")},
    "upper case": ("X.PT", b"text", "can run code"),
    "a pickle in a folder": ("sub/pytorch_model.bin", PICKLE, "can run code"),
    "a pickle called weights": ("x.safetensors", PICKLE, "its content is a pickle"),
    "a zip called weights": ("x.safetensors", ZIP, "its content is a zip archive"),
    "a pickle called text": ("x.txt", PICKLE, "its content is a pickle"),
    "a pickle called a tokenizer": ("tokenizer.model", PICKLE, "its content is a pickle"),
    "a zip called JSON": ("x.json", ZIP, "its content is a zip archive"),
    "code": ("modeling_tiny.py", b"print()", "only .safetensors,"),
    "a shared object": ("x.so", b"\x7fELF", "only .safetensors,"),
    "no ending": ("weights", b"\x00", "only .safetensors,"),
    "weights of another engine": ("x.gguf", b"GGUF", "only .safetensors,"),
    "binary data called text": ("x.json", b"{\x00}", "holds binary data"),
    "weights that are none": ("x.safetensors", b"<html>not found</html>", "not in the format"),
    "weights that are empty": ("x.safetensors", b"", "not in the format"),
    "a header longer than its file": ("x.safetensors", struct.pack("<Q", 100) + b"{}", "not in the format"),
    "a name with a line end": ("a\nb.json", b"{}", "a name that no manifest can hold"),
}


@pytest.mark.parametrize("row", STRAYS)
def test_what_could_run_or_is_not_what_it_says_is_refused(tiny: Path, row: str) -> None:
    name, content, why = STRAYS[row]
    (tiny / name).write_bytes(content)
    refused = refusal(tiny)
    assert refused.reason == "ForbiddenFile"
    assert why in refused.message


ALLOWED = {
    "tokenizer.model": b"\x0a\x0e\x00sentencepiece",
    "chat_template.jinja": b"{{ x }}",
    "LICENSE": b"MIT",
    "LICENSE.txt": b"MIT",
    "merges.txt": b"a b",
    "README.md": b"#",
    "model-00001-of-00002.safetensors": struct.pack("<Q", 2) + b"{}",
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_models_consist_of_passes(tiny: Path, name: str) -> None:
    (tiny / name).write_bytes(ALLOWED[name])
    assert verify(tiny, Expected(), NOW).digest is None


def test_gguf_is_for_the_engine_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF\x03")
    verify(tmp_path, Expected(weights="gguf"), NOW)
    assert refusal(tmp_path).reason == "ForbiddenFile"
    (tmp_path / "tiny.gguf").write_bytes(b"lmgg\x03")
    assert "instead of GGUF" in refusal(tmp_path, weights="gguf").message


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused = refusal(tmp_path)
    assert refused.reason == "NoWeights"
    assert "only config.json" in refused.message


def _out(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_text("{}")
    (folder / "x.json").symlink_to(outside)


def _up(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to("../..")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "x.json")


LINKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link out": (_out, "x.json is a link out of the folder"),
    "a link to the folder above": (_up, "sub/up is a link out of the folder"),
    "a link to a folder within": (lambda folder: (folder / "more").symlink_to("sub"), "neither a file nor a folder"),
    "a link to nothing": (lambda folder: (folder / "x.json").symlink_to("gone"), "x.json is a link to nothing"),
    "a link to itself": (lambda folder: (folder / "x.json").symlink_to("x.json"), "x.json is a link to nothing"),
    "a pipe": (_pipe, "x.json is neither a file nor a folder"),
}


@pytest.mark.parametrize("row", LINKS)
def test_what_leads_elsewhere_is_refused(tiny: Path, row: str) -> None:
    make, why = LINKS[row]
    make(tiny)
    refused = refusal(tiny)
    assert refused.reason == "ForbiddenFile"
    assert why in refused.message


def test_a_link_within_the_folder_is_the_file(tiny: Path) -> None:
    (tiny / "copy.json").symlink_to("config.json")
    found = seen(tiny)
    assert found["copy.json"] == found["config.json"]
    verify(tiny, Expected(), NOW)


def test_the_folder_that_every_disk_has_does_not_count(tiny: Path) -> None:
    (tiny / "lost+found").mkdir(mode=0)
    verify(tiny, Expected(**digest(tiny)), NOW)
    (tiny / "sub" / "lost+found").mkdir()
    (tiny / "sub" / "lost+found" / "x.pt").write_bytes(b"")
    assert refusal(tiny).reason == "ForbiddenFile"


def profile(folder: Path, **files: str) -> Path:
    """A profile that was written from these files, and from the folder's config.json."""
    path = folder.parent / "profile.json"
    written = {"config.json": f"sha256:{seen(folder)['config.json']}", **files}
    path.write_text(json.dumps({"version": 1, "files": written, "config": {}}))
    return path


ANOTHER = "sha256:" + "1" * 64
PROFILES: dict[str, tuple[dict[str, str], str]] = {
    "of another model": ({"config.json": ANOTHER}, f"another config.json: expected {ANOTHER}, seen sha256:"),
    "of a model with another index": ({"model.safetensors.index.json": ANOTHER}, "index.json', which is not there"),
    "of a file elsewhere": ({"../profile.json": ANOTHER}, "'../profile.json', which is not there"),
}


@pytest.mark.parametrize("row", PROFILES)
def test_a_profile_of_other_weights_is_refused(tiny: Path, row: str) -> None:
    files, words = PROFILES[row]
    written = profile(tiny, **files)
    refused = refusal(tiny, profile=written)
    assert refused.reason == "ProfileDiffers"
    assert words in refused.message
    assert "--write-profile" in refused.message
    with pytest.raises(WeightsError, match="ProfileDiffers"):
        compare(tiny, written)


SAYING_NOTHING: dict[str, bytes | None] = {
    "absent": None,
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff",
    "a list": b"[]",
    "no files": b"{}",
    "files that are none": b'{"files": 1}',
    "digests that are none": b'{"files": {"config.json": 1}}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("row", SAYING_NOTHING)
def test_a_profile_that_says_nothing_holds_no_pod_back(tiny: Path, row: str) -> None:
    written, content = tiny.parent / "profile.json", SAYING_NOTHING[row]
    if content is not None:
        written.write_bytes(content)
    assert verify(tiny, Expected(profile=written), NOW).files == 4


def test_what_the_planner_writes_is_what_is_compared(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "written.json"
    files = digests({CONFIG: tiny / CONFIG})
    written.write_text(write_profile(Profile(config=json.loads((tiny / CONFIG).read_text()), files=files)))
    assert run(monkeypatch, "compare", "--profile", str(written), str(tiny)) == 0
    assert run(monkeypatch, "verify", "--profile", str(written), str(tiny)) == 0
    (tiny / CONFIG).write_text("{}")
    for action in ("compare", "verify"):
        capsys.readouterr()
        assert run(monkeypatch, action, "--profile", str(written), str(tiny)) == 1
        assert capsys.readouterr().err.startswith("ProfileDiffers: the profile was written from another config.json: ")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bailiwick", "weights", *arguments])
    return main()


def test_the_command_writes_what_it_takes(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "digest", str(tiny)) == 0
    told = capsys.readouterr().out.strip()
    assert run(monkeypatch, "manifest", str(tiny)) == 0
    written = tiny / "SHA256SUMS"
    written.write_text(capsys.readouterr().out)
    signature = ("--signature", str(tiny / "model.sig"), "--key", KEY)
    assert run(monkeypatch, "verify", "--digest", told, "--manifest", str(written), *signature, str(tiny)) == 0
    assert capsys.readouterr().out == f"5 files, {told}\n"


def test_the_command_ends_with_the_reason(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny / "x.pt").write_bytes(b"")
    assert run(monkeypatch, "verify", str(tiny)) == 1
    assert capsys.readouterr().err.startswith("ForbiddenFile: x.pt must not be served: ")
