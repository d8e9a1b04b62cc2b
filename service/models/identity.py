"""The identity of a model: a fingerprint that changes when the model's results may change."""

import hashlib
import json
from typing import Any, Final

from service.models.cards import ModelCard

IDENTITY_FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("version", "network", "input", "multiscale", "int8", "calibration"), True),
    "labels": {"language", "names"},
    "serving": {"engine", "precision"},
}


def identity(card: ModelCard) -> str:
    """Return a SHA-256 in hexadecimal over the checksum of the weights, the labels, and `IDENTITY_FIELDS` of the card.

    The name of the model and how it is served have no influence. Only what the files state counts: a gateway and a
    worker compare it, and one of them may be of a release whose cards have more members. The checksum of pulled weights
    is read from the disk at every call. Raises `CardError` if the labels cannot be read.
    """
    labels = [label.model_dump(exclude_defaults=True) for label in card.classes]
    stated = card.model_dump(mode="json", include=IDENTITY_FIELDS, exclude_unset=True)
    content = json.dumps([card.checksum, stated, labels])
    return hashlib.sha256(content.encode()).hexdigest()
