"""The site of docs/ as it stands, and sites that are wrong in one thing."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
import yaml

from handbook.building import CONFIGURATION, SiteError, build, navigation_faults
from handbook.reading import Page, faults
from handbook.staging import MissingFileError, Staging

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    build(ROOT, folder)
    return folder


def test_the_site_of_this_repository_is_whole(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    folders = {page.parent if page.name in {"README", "index"} else page for page in pages}
    assert not [folder for folder in folders if not (site / folder / "index.html").exists()]


def test_a_browser_is_asked_to_fetch_something_and_all_of_it_is_there(site: Path) -> None:
    start = Page.read(site / "index.html")
    assert {Path(address).suffix for address in start.fetched} >= {".css", ".js"}
    assert not [address for address in start.fetched if not (site / address.partition("?")[0]).exists()]


def test_the_search_finds_pages_of_docs_and_not_the_files_they_show(site: Path) -> None:
    found = (site / "search.json").read_text()
    assert "threat-model/" in found
    assert "files/charts/" not in found


def test_what_a_page_links_to_beside_docs_is_a_page(site: Path) -> None:
    policy = (site / "files/charts/bailiwick/policies/pods.yaml/index.html").read_text()
    assert "validations" in policy
    assert "../files/charts/bailiwick/policies/" in " ".join(Page.read(site / "border/index.html").links)


@pytest.fixture
def little(tmp_path: Path) -> Path:
    """A repository with two pages and a policy that is linked to."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts/policy.yaml").write_text("kind: Policy\n")
    (tmp_path / "docs/index.md").write_text("# Start\n\n[other](other.md#part), [policy](../charts/policy.yaml)\n")
    (tmp_path / "docs/other.md").write_text("# Other\n\n## Part\n")
    _configure(tmp_path, [{"Start": "index.md"}, {"More": [{"Other": "other.md"}]}])
    return tmp_path


def _configure(root: Path, navigation: list[object]) -> None:
    told = {"site_name": "Little", "theme": {"name": "material", "font": False}, "nav": navigation}
    (root / CONFIGURATION).write_text(yaml.safe_dump(told))


def test_a_repository_that_is_right_becomes_a_site(little: Path) -> None:
    build(little, little / "site")
    assert (little / "site/files/charts/policy.yaml/index.html").exists()


@pytest.mark.parametrize(
    ("page", "line", "said"),
    [
        ("other.md", "[x](gone.md)", "docs/other.md links to docs/gone.md, which the repository does not have"),
        ("other.md", "[x](../charts/gone.yaml)", "docs/other.md links to charts/gone.yaml"),
        ("other.md", "[x](../../passwd)", "docs/other.md links to ../passwd"),
        ("other.md", "[x](index.md#gone)", "anchor does not exist"),
        ("other.md", "![x](https://abroad.example/x.png)", "other/index.html: fetches https://abroad.example/x.png"),
        ("third.md", "# Third", "docs/third.md is not in the navigation"),
    ],
    ids=["no page", "no file", "a file outside the repository", "no anchor", "a picture from elsewhere", "not found"],
)
def test_one_thing_wrong_and_there_is_no_site(little: Path, page: str, line: str, said: str) -> None:
    path = little / "docs" / page
    path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    with pytest.raises(SiteError) as refusal:
        build(little, little / "site")
    assert said in str(refusal.value)
    assert not (little / "site").exists()


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="#gone">', "#gone names no heading"),
        ('<a href="../b/#gone">', "../b/#gone names no heading"),
        ('<a href="../c/">', "../c/ leads nowhere"),
        ('<a href="../../site.html">', "../../site.html leads nowhere"),
        ('<img src="https://abroad.example/x.png">', "fetches https://abroad.example/x.png"),
        ('<script src="//abroad.example/x.js"></script>', "fetches //abroad.example/x.js"),
        ('<link rel="stylesheet" href="https://abroad.example/x.css">', "fetches https://abroad.example/x.css"),
        ('<link rel="preconnect" href="https://abroad.example">', "fetches https://abroad.example"),
        ('<style>@import "https://abroad.example/x.css";</style>', "fetches https://abroad.example/x.css"),
        ('<p style="background: url(https://abroad.example/x.png)">', "fetches https://abroad.example/x.png"),
        ('<pre class="mermaid">', "fetches //mermaid.invalid"),
    ],
)
def test_a_page_that_leads_nowhere_or_asks_another_host_is_told(tmp_path: Path, html: str, fault: str) -> None:
    (tmp_path / "site.html").write_text("")
    assert faults(_built(tmp_path / "site", html)) == [f"a/index.html: {fault}"]


@pytest.mark.parametrize(
    "html",
    [
        '<h2 id="here"><a href="#here">', '<a href="../b/#there">', '<a href="../b/">', '<a href="mailto:a@b.example">',
        '<a href="https://abroad.example/">', '<link rel="canonical" href="https://abroad.example/">',
        '<img src="../b/x.png">',
    ],
)  # fmt: skip
def test_what_a_reader_may_follow_is_no_fault(tmp_path: Path, html: str) -> None:
    assert faults(_built(tmp_path, html)) == []


def _built(site: Path, html: str) -> Path:
    for name, body in (("a", html), ("b", '<h2 id="there">')):
        (site / name).mkdir(parents=True)
        (site / name / "index.html").write_text(f"<html><body>{body}</body></html>")
    return site


def test_navigation_leads_to_pages_that_are_there_once_each(little: Path) -> None:
    _configure(little, [{"Start": "index.md"}, {"Again": "index.md"}, {"Other": "other.md"}, {"No": "no.md"}])
    told = yaml.safe_load((little / CONFIGURATION).read_text())["nav"]
    assert list(navigation_faults(little / "docs", told)) == [
        "mkdocs.yml: there is no docs/no.md",
        "mkdocs.yml: index.md is there twice",
    ]


def test_links_in_code_stay_as_they_are(little: Path) -> None:
    code = "`[x](gone.md)`\n\n```\n[x](gone.md)\n```"
    (little / "docs/other.md").write_text(f"# Other\n\n## Part\n\n{code}\n")
    staging = Staging(little)
    staging.collect()
    assert code in staging.pages[PurePosixPath("other.md")]


def test_files_that_link_to_each_other_are_shown_once(little: Path) -> None:
    (little / "A.md").write_text("# A\n\n[b](B.md)\n")
    (little / "B.md").write_text("# B\n\n[a](A.md) [gone](gone.md)\n")
    (little / "docs/other.md").write_text("[a](../A.md)\n")
    with pytest.raises(MissingFileError, match=r"B\.md links to gone\.md"):
        Staging(little).collect()
    (little / "gone.md").write_text("# Found\n")
    staging = Staging(little)
    staging.collect()
    assert "[b](B.md)" in staging.pages[PurePosixPath("files/A.md")]
    assert "(../files/A.md)" not in staging.pages[PurePosixPath("other.md")]
    assert "(files/A.md)" in staging.pages[PurePosixPath("other.md")]


def test_styles_that_the_theme_brings_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(//fonts.example/a.woff2) }")
    assert faults(tmp_path) == ["a.css: fetches //fonts.example/a.woff2"]
