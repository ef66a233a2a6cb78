"""What is committed is what the models say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from bailiwick.api.schema import KINDS, crd
from bailiwick.cli import generate

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def files() -> dict[Path, str]:
    return generate.generated(ROOT)


def test_committed_files_are_as_generated(files: dict[Path, str]) -> None:
    assert generate.differences(ROOT, files) == []


def test_generating_twice_gives_the_same_bytes(files: dict[Path, str]) -> None:
    assert generate.generated(ROOT) == files


def test_yaml_reads_back_as_the_same_object_and_has_no_aliases(files: dict[Path, str]) -> None:
    for kind in KINDS:
        text = files[Path(f"crds/bailiwick.dev_{kind.presents.plural}.yaml")]
        assert yaml.safe_load(text) == crd(kind)
        assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AliasToken | yaml.AnchorToken)]


def test_one_version_is_served_and_nothing_is_converted() -> None:
    for kind in KINDS:
        spec = crd(kind)["spec"]
        assert [(each["served"], each["storage"]) for each in spec["versions"]] == [(True, True)]
        assert spec.get("conversion", {"strategy": "None"}) == {"strategy": "None"}


def test_a_difference_is_found_and_mended(tmp_path: Path, files: dict[Path, str]) -> None:
    assert generate.write(tmp_path, files) == list(files)
    assert generate.write(tmp_path, files) == []
    names = [f"bailiwick.dev_{plural}.yaml" for plural in ("territories", "jurisdictions", "moons")]
    changed, gone, stray = (tmp_path / "crds" / name for name in names)
    changed.write_text(changed.read_text().replace("20000", "20001"))
    gone.unlink()
    stray.write_text("kind: Moon\n")
    assert {path.name for path in generate.differences(tmp_path, files)} == set(names)
    assert len(generate.write(tmp_path, files)) == 3
    assert generate.differences(tmp_path, files) == []
    assert not stray.exists()


def test_the_check_fails_on_a_difference(
    tmp_path: Path, files: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.write(tmp_path, files)
    for name in ("values.yaml", "values.schema.json"):
        (tmp_path / generate.CHART / name).write_text((ROOT / generate.CHART / name).read_text())
    shutil.copytree(ROOT / generate.CHART / "policies", tmp_path / generate.CHART / "policies")
    monkeypatch.setattr("sys.argv", ["generate", "--check", "--root", str(tmp_path)])
    assert generate.main() == 0
    (tmp_path / "docs/reference/api.md").write_text("")
    assert generate.main() == 1
    assert capsys.readouterr().out == "docs/reference/api.md is not as generated: run `make generate`\n"
    monkeypatch.setattr("sys.argv", ["generate", "--root", str(tmp_path)])
    assert generate.main() == 0
    assert generate.differences(tmp_path, files) == []


def test_the_reference_has_every_field_of_every_kind() -> None:
    page = (ROOT / "docs/reference/api.md").read_text()
    for kind in KINDS:
        assert f"## {kind.__name__}\n" in page
        for field in kind.model_fields["spec"].annotation.model_fields.values():  # type: ignore[union-attr]
            assert f"| `{field.alias}` |" in page
