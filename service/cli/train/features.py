"""The features of photos, by the code that serves: decoding, preprocessing and the network up to its last layer."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from service.cli.train import near_copies
from service.cli.train.near_copies import Fingerprints, Pixels
from service.config.cores import usable_cores
from service.errors import ServiceError
from service.measure import image_file
from service.measure.accuracy import datasets, listing
from service.models.cards import CardError, ModelCard
from service.tasks import can_run, task_of
from service.tasks.scoring_base import Remark

if TYPE_CHECKING:
    from service.measure.pipeline import Pipeline

BATCH: Final = 16
NONE: Final = "there is none"  # the reason where no photo was given

Features = npt.NDArray[np.float32]
Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Extracted:
    """What is known of the photos that could be read: `indices` among those given, digests of their bytes, features."""

    indices: list[int]
    digests: list[str]
    prints: Fingerprints
    features: Features
    left_out: list[Remark]


@dataclass(frozen=True)
class _Read:
    """A photo that was decoded, and the digest of its bytes."""

    index: int
    digest: str
    pixels: Pixels


def operation_of(card: ModelCard) -> str:
    """Return the operation whose output is the input of the last layer. Raises `CardError` if there is none."""
    operation = task_of(card).features
    if operation is None or not can_run(card, operation):
        kind = card.task if operation is None else f"a network of {card.network.library}"
        raise CardError(
            f"{card.name} ({kind}) cannot be trained; choose a classifier of this project, such as starter-classifier "
            "or resnest50"
        )
    return operation


def extract(pipeline: "Pipeline", paths: Sequence[Path], step: Step) -> Extracted:
    """Return the features of all photos that can be read. `step` gets the numbers of finished and of bad photos."""
    left_out: list[Remark] = []
    read: list[tuple[int, str]] = []
    prints, features = [], []
    for batch in _batches(pipeline, paths):
        good = [each for each in batch if isinstance(each, _Read)]
        bad = [each for each in batch if isinstance(each, Remark)]
        left_out += bad
        if good:
            (output,) = pipeline.infer_batch(np.stack([each.pixels for each in good])).values()
            features.append(np.asarray(output, np.float32))
            prints += [near_copies.fingerprint(each.pixels) for each in good]
            read += [(each.index, each.digest) for each in good]
        step(len(batch), len(bad))
    if not read:
        raise CardError("no photo could be read: " + (", ".join(sorted({each.reason for each in left_out})) or NONE))
    return Extracted(
        [index for index, _ in read],
        [digest for _, digest in read],
        np.stack(prints),
        np.concatenate(features),
        left_out,
    )


def require_readable(pipeline: "Pipeline", folder: Path) -> None:
    """Raise `CardError` if no image of a folder can be read. At most the images before the first good one are read."""
    left_out: list[Remark] = []
    for path in listing.walk(folder, left_out):
        found = _prepared(pipeline, 0, path)
        if isinstance(found, _Read):
            return
        left_out.append(found)
    reasons = "; ".join(listing.summary(left_out, folder, datasets.SHOWN)) or NONE
    raise CardError(f"no image of {folder} can be read: {reasons}")


def _batches(pipeline: "Pipeline", paths: Sequence[Path]) -> Iterator[list[_Read | Remark]]:
    """Yield the decoded photos in batches. While the network runs one, the threads decode the next."""

    def read(index: int) -> _Read | Remark:
        return _prepared(pipeline, index, paths[index])

    starts = range(0, len(paths), BATCH)
    with ThreadPoolExecutor(usable_cores()) as pool:
        waiting = None
        for start in starts:
            begun = [pool.submit(read, index) for index in range(start, min(start + BATCH, len(paths)))]
            if waiting:
                yield [each.result() for each in waiting]
            waiting = begun
        if waiting:
            yield [each.result() for each in waiting]


def _prepared(pipeline: "Pipeline", index: int, path: Path) -> _Read | Remark:
    try:
        upload = image_file.read(path)
        return _Read(index, hashlib.sha256(upload).hexdigest(), pipeline.prepare(upload).pixels)
    except ServiceError as error:
        return Remark(path, f"it is not a usable image: {error.code()}")
    except OSError as error:
        return Remark(path, f"it cannot be read: {error.strerror}")
