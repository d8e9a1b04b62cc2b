"""Fake models, whose output is encoded in the upload, and images for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from service.errors import ImageCorrupt
from service.measure.accuracy import subjects
from service.measure.accuracy.subjects import Run, Subject
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.scoring_base import LabelledImage, PipelineOutput, TrueInstance
from tests.stores import write_store

SIZE = (4, 2)  # width and height of the images here
CORRUPT = 255


def fake_classifier(*uploads: bytes) -> list[PipelineOutput]:
    """Return scores of seven classes, 1 for the class that is the upload's first byte. Reject `CORRUPT`."""
    if any(upload[0] == CORRUPT for upload in uploads):
        raise ImageCorrupt("made to be")
    return [PipelineOutput({"scores": np.eye(7, dtype=np.float32)[upload[0]]}, *SIZE) for upload in uploads]


def fake_segmenter(*uploads: bytes) -> list[PipelineOutput]:
    """Return the mask that is the content of each upload."""
    return [PipelineOutput({"mask": np.frombuffer(each, np.uint8).reshape(SIZE[::-1])}, *SIZE) for each in uploads]


def fake_detector(*uploads: bytes) -> list[PipelineOutput]:
    """Return one detection of the whole image: the class is the upload's first byte, and the mask fills the box."""
    whole = {"boxes": np.array([[0, 0, 1, 1]], np.float32), "scores": np.array([0.9], np.float32)}
    masks = np.full((1, 28, 28), 255, np.uint8)
    return [
        PipelineOutput({**whole, "class_ids": np.array([upload[0]], np.uint16), "masks": masks}, *SIZE)
        for upload in uploads
    ]


def with_object(folder: Path, true: TrueInstance, predicted: int) -> LabelledImage:
    """Return an image with an object, and with the class that `fake_detector` will return."""
    path = folder / f"{len(list(folder.glob('*.jpg')))}.jpg"
    path.write_bytes(bytes([predicted]))
    return LabelledImage(path, instances=(true,), size=SIZE)


def labelled(folder: Path, *pairs: tuple[str, int]) -> list[LabelledImage]:
    """Return images with true labels, and with the classes that `fake_classifier` will predict."""
    images = []
    for index, (label, predicted) in enumerate(pairs):
        path = folder / f"{index}.jpg"
        path.write_bytes(bytes([predicted]))
        images.append(LabelledImage(path, label))
    return images


def masked(folder: Path, true: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> LabelledImage:
    """Return an image with a true mask, and with the mask that `fake_segmenter` will return."""
    index = len(list(folder.glob("*.jpg")))
    image, mask = folder / f"{index}.jpg", folder / f"{index}.png"
    image.write_bytes(np.array(found, np.uint8).tobytes())
    Image.fromarray(np.array(true, np.uint8)).save(mask)
    return LabelledImage(image, mask=mask)


def card_of(store: Path, name: str) -> ModelCard:
    """Return the card of one of the tests' models."""
    return cards.read(store / name)


def made_subject(folder: Path, name: str, run: Run) -> Subject:
    """Return one of the tests' models, which runs `run` and loads no weights. Its store is written into `folder`."""
    return subjects.of_card(card_of(write_store(folder / "store", name, weights=False), name), run)
