"""Cards whose weights can be pulled, and published checkpoints."""

import hashlib
from pathlib import Path
from typing import Any

from service.models import cards
from service.models.cards import ModelCard
from tests.models.weights.misbehaving import Server
from tests.stores import write_store

Source = tuple[str, dict[str, str]]  # a URL, and the checksum and key profile of its file


def write_card(store: Path, *sources: Source, **fields: Any) -> ModelCard:
    """Write and return the card of a tiny classifier whose weights are pulled from these sources."""
    path = write_store(store, "tiny-classifier-b", weights=False) / "tiny-classifier-b" / "card.toml"
    before, _, _ = path.read_text(encoding="utf-8").partition("[weights]\n")  # the last table
    tables = ["[weights]", *_lines({"file": "weights/tiny.safetensors", **fields})]
    for url, described in sources:
        tables += ["[[weights.sources]]", *_lines({"urls": [url], **described})]
    path.write_text(before + "\n".join(tables) + "\n", encoding="utf-8")
    return cards.read(path.parent)


def _lines(fields: dict[str, Any]) -> list[str]:
    return [f"{key} = {value!r}" for key, value in fields.items()]


def prefix(data: bytes) -> dict[str, str]:
    """Return what the authors publish about a file: the first digits of its SHA-256."""
    return {"sha256": hashlib.sha256(data).hexdigest()[:8]}


def offered(server: Server, data: bytes, name: str = "file") -> str:
    """Put a file on the server and return its URL."""
    server.files[name] = data
    return server.url("whole", name)


def published(server: Server, store: Path, data: bytes, **more: str) -> ModelCard:
    """Return a card whose weights are this file, at a URL that works."""
    return write_card(store, (offered(server, data), {**prefix(data), **more}))
