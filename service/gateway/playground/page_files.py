"""The files of the playground: read once, named by their content, and sent with headers that fit that name."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

FOLDER: Final = "static"
PAGE: Final = "index.html"
ICON: Final = "favicon.ico"
MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# What the page writes for the address of its files, and for the modules that the browser may fetch at once.
BASE_MARK: Final = "{{base}}"
MODULES_MARK: Final = "<!-- modules -->"


class PageFile(NamedTuple):
    """The content of a file, its media type, and its entity tag."""

    content: bytes
    media_type: str
    tag: str


class PageFiles(NamedTuple):
    """The page, the icon, and all other files by path. `version` is a fingerprint of them all."""

    page: PageFile
    icon: PageFile
    others: Mapping[str, PageFile]
    version: str


def read_page_files() -> PageFiles:
    """Return the playground's files as the package has them. The page names the others below `playground/<version>/`.

    Raises `KeyError` for a file whose suffix has no media type.
    """
    contents = dict(sorted(_walk(files(__package__) / FOLDER, "")))
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    version = digest.hexdigest()[:16]
    page = _with_addresses(contents.pop(PAGE).decode(), f"playground/{version}", contents)
    found = {name: page_file(name, content) for name, content in contents.items()}
    return PageFiles(page_file(PAGE, page.encode()), found[ICON], found, version)


def page_file(name: str, content: bytes) -> PageFile:
    """Return a file with the media type of its suffix, and a strong entity tag of its content."""
    return PageFile(content, MEDIA_TYPES[name[name.rindex(".") :]], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _with_addresses(page: str, base: str, names: Mapping[str, bytes]) -> str:
    """Return the page with the address of its files, and with a preload of each module.

    Without it the browser would learn of a module only from the one that imports it.
    """
    modules = [f'<link rel="modulepreload" href="{base}/{name}">' for name in names if name.endswith(".js")]
    return page.replace(BASE_MARK, base).replace(MODULES_MARK, "\n    ".join(modules))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        found += _walk(entry, f"{name}/") if entry.is_dir() else [(name, entry.read_bytes())]
    return found
