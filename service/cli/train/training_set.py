"""The photos of a training with their features, and which of them are held out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from service.cli.terminal import progress
from service.cli.train import features, labelled_photos, near_copies, split
from service.cli.train.features import Features
from service.cli.train.labelled_photos import Labelled
from service.cli.train.split import Ids
from service.measure.accuracy import datasets, listing
from service.models.cards import CardError
from service.tasks.scoring_base import LabelledImage, Remark

if TYPE_CHECKING:
    from service.measure.pipeline import Pipeline

FOLDS: Final = 5

Say = Callable[[str], object]


@dataclass(frozen=True)
class TrainingSet:
    """Photos, the number of each label's photos, and the features `(n, d)`.

    `groups` numbers sets of near copies, and `folds` the parts of the cross-validation. `held_out` photos take no part
    in any choice.
    """

    labels: tuple[str, ...]
    images: Sequence[LabelledImage]
    class_ids: Ids
    features: Features
    groups: Ids
    held_out: npt.NDArray[np.bool_]
    folds: Ids
    left_out: int

    def counts(self, chosen: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Return how many of the chosen photos each label has."""
        found = np.bincount(self.class_ids[chosen], minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, found, strict=True))

    def chosen(self, mask: npt.NDArray[np.bool_]) -> list[LabelledImage]:
        """Return the images for which the mask is true."""
        return [self.images[index] for index in np.flatnonzero(mask).tolist()]


def prepare(labelled: Labelled, pipeline: "Pipeline", hold_out: int, seed: int, say: Say) -> TrainingSet:
    """Return the photos that can be used, one of `hold_out` of each label held out. `say` gets what is left out.

    Raises `CardError` if too few are left.
    """
    data = labelled.dataset
    with progress("Photos", len(data.images), 0) as step:
        found = features.extract(pipeline, [image.path for image in data.images], step)
    images = [data.images[index] for index in found.indices]
    kept, copies = labelled_photos.without_copies(images, found.digests)
    remarks = [*data.left_out, *found.left_out, *copies]
    for line in listing.summary(remarks, data.root, datasets.SHOWN):
        say(f"Left out: {line}")
    images = [images[index] for index in kept]
    groups = near_copies.groups(found.prints[kept])
    _say_near_copies(images, groups, labelled, say)
    different = {(image.label, int(group)) for image, group in zip(images, groups, strict=True)}
    labelled_photos.require_enough(labelled, Counter(label for label, _ in different))
    class_ids = np.array([labelled.folders.index(image.label) for image in images])
    held_out = split.deal(class_ids, groups, hold_out, seed) == 0
    folds = np.full(len(images), -1)
    folds[~held_out] = split.deal(class_ids[~held_out], groups[~held_out], FOLDS, seed)
    chosen = found.features[kept]
    ready = TrainingSet(labelled.folders, images, class_ids, chosen, groups, held_out, folds, len(remarks))
    _require_spread(ready)
    return ready


def _say_near_copies(images: Sequence[LabelledImage], groups: Ids, labelled: Labelled, say: Say) -> None:
    sizes = np.bincount(groups)
    near = [Remark(image.path, "near copy") for image, group in zip(images, groups, strict=True) if sizes[group] > 1]
    if near:
        (line,) = listing.summary(near, labelled.dataset.root, datasets.SHOWN)
        say(f"Note: near copies stay together, all held out or none: {line.partition(': ')[2]}")


def _require_spread(found: TrainingSet) -> None:
    """Raise `CardError` if a label has no photo on one side of a split, since its photos are copies of others'."""
    trained = ~found.held_out
    parts = [found.counts(found.held_out), *(found.counts(trained & (found.folds != fold)) for fold in range(FOLDS))]
    missing = sorted({label for counts in parts for label, count in counts.items() if not count})
    if missing:
        raise CardError(
            f"the photos of {', '.join(missing)} are near copies of other labels' photos, so they cannot be checked "
            "apart from them; remove the copies"
        )
