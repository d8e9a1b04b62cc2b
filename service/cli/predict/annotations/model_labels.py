"""The labels of the model that answered, which results do not have: from its card, or from a running service."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from service.models import zoo
from service.tasks import task_of


def of_store(store: Path, model: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of the labels of a model and version in a store, empty if it is not there."""
    if not store.is_dir():
        return ()
    family = model.get("name", "").partition("@")[0]
    cards = zoo.read_zoo(store, task_of).values()
    found = (card for card in cards if (card.family, card.version) == (family, model.get("version")))
    card = next(found, None)
    return [task_of(card).label(label) for label in card.classes] if card else ()


def of_service(url: str, api_key: str | None, model: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of the labels of a model of a running service. Raises `CardError`."""
    from service.measure.accuracy.remote import Service  # noqa: PLC0415 - few exports ask a service

    service = Service(url, {"Authorization": f"Bearer {api_key}"} if api_key else {})
    document = json.loads(service.ask(f"/v1/models/{quote(model.get('name', ''))}"))
    rows: Sequence[Mapping[str, Any]] = document["labels"]
    return rows
