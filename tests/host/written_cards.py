"""Cards with arbitrary bytes as their weight files, because packaging does not read them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.models import cards
from service.models.cards import ModelCard
from tests.stores import write_store


def written_card(store: Path, name: str = "tiny-classifier", changes: Mapping[str, Any] | None = None) -> ModelCard:
    """Write a store with one model, and return its card."""
    folder = write_store(store, name, weights=False, changes=changes) / name
    data = b"not really weights"
    (folder / "weights.safetensors").write_bytes(data)
    text = (folder / "card.toml").read_text(encoding="utf-8")
    (folder / "card.toml").write_text(text.replace("0" * 64, hashlib.sha256(data).hexdigest()), encoding="utf-8")
    return cards.read(folder)
