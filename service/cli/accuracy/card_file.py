"""Edits a card's file, and keeps its comments and all that is not edited."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from service.models import atomic_write, text_file

TABLES: Final = ("serving", "measured")


@contextmanager
def edited(folder: Path) -> Iterator[Any]:
    """Yield the card of a model's folder as a document of tomlkit, and replace the file when the `with` ends.

    The document has the tables of `TABLES`.
    """
    import tomlkit

    path = folder / "card.toml"
    document: Any = tomlkit.parse(text_file.read(path))
    for name in TABLES:
        document.setdefault(name, tomlkit.table())
    yield document
    atomic_write.write(path, tomlkit.dumps(document).encode(), mode=stat.S_IMODE(path.stat().st_mode))
