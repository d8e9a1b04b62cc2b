"""Collect the pages of the site in a folder, from which `make site` renders them.

    python -m deploy.site.pages build/pages

The pages and the files to which they link keep their paths, so the links between them work as they are. A link to a
folder becomes one to the page that describes it.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("zensical.toml")
PAGES = ("*.md", "docs/**/*.md", "clients/*/README.md", "model_store/**/README.md")
ASSETS = ("clients/javascript/example/*", "clients/javascript/src/*.js")  # the example page and its modules
INDEX = "README.md"
LINK = re.compile(r"(\]\(|src=\")([^)\s\"#:]+)(?=[)#\"])")


def pages(root: Path = ROOT) -> list[Path]:
    """Return the Markdown files of the site."""
    return sorted({path for pattern in PAGES for path in root.glob(pattern)})


def linked(page: Path) -> Iterator[Path]:
    """Yield the files and folders of the repository to which a page links."""
    for _, target in LINK.findall(page.read_text(encoding="utf-8")):
        yield (page.parent / target).resolve()


def collect(into: Path, root: Path = ROOT) -> None:
    """Write the pages and what they link to into a new folder. Raise `FileNotFoundError` for a broken link."""
    shutil.rmtree(into, ignore_errors=True)
    found = pages(root)
    for page in found:
        _target(into, root, page).write_text(_written(page), encoding="utf-8")
    assets = {path for pattern in ASSETS for path in root.glob(pattern)}
    for file in ({file for page in found for file in linked(page)} | assets) - set(found):
        if not file.is_dir():
            shutil.copyfile(file, _target(into, root, file))
    shutil.copyfile(CONFIGURATION, into.parent / CONFIGURATION.name)


def _written(page: Path) -> str:
    """Return the text of a page for the site."""
    return LINK.sub(lambda link: link[1] + _leading(page, link[2]), page.read_text(encoding="utf-8"))


def _leading(page: Path, target: str) -> str:
    """Return a link that leads to a page also where the target is a folder."""
    return f"{target.rstrip('/')}/{INDEX}" if (page.parent / target / INDEX).is_file() else target


def _target(into: Path, root: Path, file: Path) -> Path:
    target = into / file.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


if __name__ == "__main__":
    collect(Path(sys.argv[1]).resolve())
