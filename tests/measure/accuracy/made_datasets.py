"""Models that are made up: each answers what the upload is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import ImageCorrupt
from service.measure.accuracy.datasets import Photo
from service.measure.pipeline import Answer
from service.models import cards
from service.models.cards import ModelCard

SIZE = (4, 2)  # width and height of the pictures here
CORRUPT = 255


def says(*uploads: bytes) -> list[Answer]:
    """A model of seven classes that answers the one which is the upload's first byte, or refuses it."""
    if any(upload[0] == CORRUPT for upload in uploads):
        raise ImageCorrupt("made to be")
    return [Answer({"scores": np.eye(7, dtype=np.float32)[upload[0]]}, *SIZE) for upload in uploads]


def sees(*uploads: bytes) -> list[Answer]:
    """A model that answers the mask which the upload is."""
    return [Answer({"mask": np.frombuffer(each, np.uint8).reshape(SIZE[::-1])}, *SIZE) for each in uploads]


def labelled(folder: Path, *pairs: tuple[str, int]) -> list[Photo]:
    """Photos of true labels, and what `says` will say of them."""
    photos = []
    for place, (label, answer) in enumerate(pairs):
        path = folder / f"{place}.jpg"
        path.write_bytes(bytes([answer]))
        photos.append(Photo(path, label))
    return photos


def masked(folder: Path, true: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> Photo:
    """A photo of a true mask, and what `sees` will see in it."""
    place = len(list(folder.glob("*.jpg")))
    picture, mask = folder / f"{place}.jpg", folder / f"{place}.png"
    picture.write_bytes(np.array(found, np.uint8).tobytes())
    Image.fromarray(np.array(true, np.uint8)).save(mask)
    return Photo(picture, mask=mask)


def card_of(store: Path, name: str) -> ModelCard:
    """The card of one of the tests' models."""
    return cards.read(store / name)
