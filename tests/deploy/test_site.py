"""The site has every page of the repository, and the links between them lead somewhere."""

import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deploy.site import pages
from tests.commands import ran
from tests.laws.sources import ROOT, listed
from tests.laws.test_docs import PAGES, RECORDS

zensical = pytest.importorskip("zensical", reason="needs the extra release")


class References(HTMLParser):
    """The addresses and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses |= {value for name in ("href", "src") if (value := values.get(name))}
        self.ids |= {value for value in (values.get("id"),) if value}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, rendered as `make site` does."""
    folder = tmp_path_factory.mktemp("site")
    pages.collect(folder / "pages")
    command = ["-m", "zensical", "build", "--clean", "--strict", "--config-file", "zensical.toml"]
    ran(sys.executable, *command, folder=folder)
    return folder / "site"


def rendered(site: Path, page: Path) -> Path:
    """Return the file of a page: that of README.md is index.html."""
    path = site / page.relative_to(ROOT).with_suffix(".html")
    return path.with_name("index.html") if page.name == "README.md" else path


def test_every_page_is_on_the_site(site: Path) -> None:
    missing = [str(page.relative_to(ROOT)) for page in [*PAGES, *RECORDS] if not rendered(site, page).is_file()]

    assert not missing, listed(missing)


def test_the_navigation_has_every_page_but_the_records() -> None:
    text = pages.CONFIGURATION.read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w/]+\.md)"', text))

    assert tomllib.loads(text)["project"]["nav"]
    assert {str(page.relative_to(ROOT)) for page in PAGES} <= named


def test_a_link_of_the_site_leads_to_a_file_and_a_section(site: Path) -> None:
    found = {path: References(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in found.items():
        for address in page.addresses:
            target, _, section = address.partition("#")
            if "://" in target or target.startswith(("mailto:", "data:", "javascript:", "/")):
                continue
            to = (path.parent / target.partition("?")[0]).resolve() if target else path
            to = to / "index.html" if to.is_dir() else to
            if not to.exists() or (section and to in found and section not in found[to].ids):
                broken.append(f"{path.relative_to(site)}: {address}")

    assert len(found) > len(RECORDS)
    assert not broken, listed(broken)


def test_the_site_requests_no_other_host(site: Path) -> None:
    foreign = {
        f"{path.name}: {address}"
        for path in site.rglob("*.html")
        for address in re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', path.read_text("utf-8"))
    }

    assert not foreign, listed(foreign)
