"""Create a model's folder in the store so that a reader sees the whole model or none of it."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.models import cards

RESERVED: Final = ("archives", "labels", "recipes")  # folders of the store that are not models
NAME_RULE: Final = "use lower-case letters, digits, dots, dashes, underscores"


def is_name(text: str) -> bool:
    """Return whether a model may have this name."""
    return re.fullmatch(cards.NAME, text) is not None and text not in RESERVED


@contextmanager
def building(store: Path) -> Iterator[Path]:
    """Yield a hidden folder in the store. It is deleted at exit unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=store))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(built: Path, folder: Path) -> None:
    """Rename a built folder to its place. A folder that is there is replaced, and restored if that fails."""
    if not folder.exists():
        built.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    try:
        built.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
