"""What contestants answer, wherever each puts it in its JSON, and whether two of them say the same."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

SCORES = {"same": 1e-3, "null": 1e-4, "usual": 5e-2}  # by which they may differ, of engines of one or two precisions
PIXELS = {"same": 0.005, "null": 0.0, "usual": 0.05}  # of a mask that may


@dataclass
class Said:
    """What a server says of a picture: the score of each class it names, and the mask's PNG where there is one."""

    scores: dict[int, float] = field(default_factory=dict)
    mask: bytes | None = None

    @property
    def best(self) -> int:
        """The class of the highest score."""
        return max(self.scores, key=lambda class_id: self.scores[class_id])


def read(document: Any, said: Said | None = None) -> Said:
    """Everything that an answer says, in lists, objects and strings of JSON however deep."""
    said = said or Said()
    if isinstance(document, str):
        document = json.loads(document) if document[:1] in {"[", "{"} else None
    if isinstance(document, dict):
        if "class_id" in document:
            said.scores[document["class_id"]] = document["score"]
        mask = document.get("mask")
        if mask:
            said.mask = base64.b64decode(mask if isinstance(mask, str) else mask["data"])
    parts = document.values() if isinstance(document, dict) else document if isinstance(document, list) else []
    for part in parts:
        read(part, said)
    return said


def differ(first: Sequence[Said], second: Sequence[Said], kind: str) -> str | None:
    """Where two contestants' answers are not those of one model; None where they are."""
    for place, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        wrong = _masks_differ(ours, theirs, kind) if ours.mask else _scores_differ(ours, theirs, kind)
        if wrong:
            return f"picture {place}: {wrong}"
    return None


def _scores_differ(ours: Said, theirs: Said, kind: str) -> str | None:
    both = ours.scores.keys() & theirs.scores.keys()
    worst = max((abs(ours.scores[each] - theirs.scores[each]) for each in both), default=1.0)
    same_best = both and ours.best == theirs.best
    return None if same_best and worst <= SCORES[kind] else f"{ours.scores} and {theirs.scores}"


def _masks_differ(ours: Said, theirs: Said, kind: str) -> str | None:
    if not (ours.mask and theirs.mask):
        return "one has a mask, the other has none"
    one, other = (np.asarray(Image.open(io.BytesIO(each))) for each in (ours.mask, theirs.mask))
    if one.shape != other.shape:
        return f"masks of {one.shape} and {other.shape}"
    share = float((one != other).mean())
    return None if share <= PIXELS[kind] else f"{share:.1%} of the masks' pixels differ"
