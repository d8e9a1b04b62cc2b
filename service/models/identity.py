"""What tells one model's answers from another's, of whatever name."""

import hashlib
import json
from typing import Any, Final

from service.models.cards import ModelCard

ASKED: Final[dict[str, Any]] = {
    **dict.fromkeys(("version", "network", "input", "best", "int8"), True),
    "labels": {"language", "names"},
    "serving": {"engine", "precision"},
}


def identity(card: ModelCard) -> str:
    """A SHA-256 in hexadecimal that differs where answers may: of the weights' checksum, the labels and the card.

    Of the card it takes what answers depend on, and neither its name nor how it is served. The checksum of weights
    that were pulled is read from the disk each time. Raises `CardError` where the labels cannot be read.
    """
    labels = [label.model_dump() for label in card.classes]
    told = json.dumps([card.checksum, card.model_dump(mode="json", include=ASKED), labels])
    return hashlib.sha256(told.encode()).hexdigest()
