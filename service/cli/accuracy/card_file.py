"""Edit a card's file, and replace the files that it names. What is not edited stays, comments too."""
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


@contextmanager
def replaced(folder: Path, former: str | None, name: str | None = None, content: bytes = b"") -> Iterator[None]:
    """Write a file into a model's folder. When the `with` ends, delete the `former` file, unless it is the same.

    Without a `name` nothing is written. If an exception is raised, the written file is deleted, unless it was there
    before, and the former one stays. So the card can be edited inside the `with`.
    """
    path = folder / name if name else None
    is_new = path is not None and not path.exists()
    if path:
        path.write_bytes(content)
    try:
        yield
    except BaseException:
        if path and is_new:
            path.unlink()
        raise
    if former and former != name:
        (folder / former).unlink(missing_ok=True)
