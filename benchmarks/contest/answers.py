"""Parse the answers of different servers, and compare them."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

# Maximum difference of scores, by kind of contest: "usual" compares engines of different precision.
SCORES = {"same": 1e-3, "null": 1e-4, "usual": 5e-2}
PIXELS = {"same": 0.005, "null": 0.0, "usual": 0.05}  # maximum share of the pixels of a mask that differ


@dataclass
class Answer:
    """A server's answer to one image: the scores by class, and the PNG of the mask, if there is one."""

    scores: dict[int, float] = field(default_factory=dict)
    mask: bytes | None = None

    @property
    def top_class(self) -> int:
        """The class with the highest score."""
        return max(self.scores, key=lambda class_id: self.scores[class_id])


def parse(document: Any, answer: Answer | None = None) -> Answer:
    """Collect the scores and the mask of a JSON answer, from lists, objects and strings of JSON at any depth."""
    answer = answer or Answer()
    if isinstance(document, str):
        document = json.loads(document) if document[:1] in {"[", "{"} else None
    if isinstance(document, dict):
        if "class_id" in document:
            answer.scores[document["class_id"]] = document["score"]
        mask = document.get("mask")
        if mask:
            answer.mask = base64.b64decode(mask if isinstance(mask, str) else mask["data"])
    parts = document.values() if isinstance(document, dict) else document if isinstance(document, list) else []
    for part in parts:
        parse(part, answer)
    return answer


def difference(first: Sequence[Answer], second: Sequence[Answer], kind: str) -> str | None:
    """Describe the first difference between the answers of two contestants. Return None if there is none."""
    for index, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        found = _mask_difference(ours, theirs, kind) if ours.mask else _score_difference(ours, theirs, kind)
        if found:
            return f"image {index}: {found}"
    return None


def _score_difference(ours: Answer, theirs: Answer, kind: str) -> str | None:
    both = ours.scores.keys() & theirs.scores.keys()
    worst = max((abs(ours.scores[each] - theirs.scores[each]) for each in both), default=1.0)
    same_top_class = both and ours.top_class == theirs.top_class
    return None if same_top_class and worst <= SCORES[kind] else f"{ours.scores} and {theirs.scores}"


def _mask_difference(ours: Answer, theirs: Answer, kind: str) -> str | None:
    if not (ours.mask and theirs.mask):
        return "one has a mask, the other has none"
    one, other = (np.asarray(Image.open(io.BytesIO(each))) for each in (ours.mask, theirs.mask))
    if one.shape != other.shape:
        return f"masks of {one.shape} and {other.shape}"
    share = float((one != other).mean())
    return None if share <= PIXELS[kind] else f"{share:.1%} of the masks' pixels differ"
