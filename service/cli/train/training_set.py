"""The photos of a training with their features, and which of them are held out."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from service.cli.accuracy import left_out
from service.cli.terminal import progress
from service.cli.train import features, labelled_photos, near_copies, split
from service.cli.train.features import Features
from service.cli.train.labelled_photos import Labelled
from service.cli.train.near_copies import Fingerprints, Merged
from service.cli.train.split import Ids
from service.models import text_file
from service.models.cards import CardError
from service.tasks.scoring_base import LabelledImage

if TYPE_CHECKING:
    from service.measure.pipeline import Pipeline

FOLDS: Final = 5
SHOWN_LABELS: Final = 10  # whose near copies are named
WAY_OUT: Final = "if near copies show different things, as drawings may, count them all with --keep-near-copies"

Say = Callable[[str], object]


@dataclass(frozen=True)
class TrainingSet:
    """Photos, the number of each label's photos, and the features `(n, d)`.

    `groups` numbers sets of near copies, and `folds` the parts of the cross-validation. `held_out` photos take no part
    in any choice. `near_copies` has, by label, the number of photos that were merged, and an example, for the card.
    """

    labels: tuple[str, ...]
    images: Sequence[LabelledImage]
    class_ids: Ids
    features: Features
    groups: Ids
    held_out: npt.NDArray[np.bool_]
    folds: Ids
    left_out: int
    near_copies: Mapping[str, Any]

    def counts(self, chosen: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Return how many of the chosen photos each label has."""
        found = np.bincount(self.class_ids[chosen], minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, found, strict=True))

    def chosen(self, mask: npt.NDArray[np.bool_]) -> list[LabelledImage]:
        """Return the images for which the mask is true."""
        return [self.images[index] for index in np.flatnonzero(mask).tolist()]


def prepare(
    labelled: Labelled, pipeline: "Pipeline", hold_out: int, seed: int, say: Say, *, keeps_copies: bool = False
) -> TrainingSet:
    """Return the photos that can be used, one of `hold_out` of each label held out. `say` gets lines on near copies.

    With `keeps_copies`, photos that look alike count as different ones. Raises `CardError` if too few are left.
    """
    data = labelled.dataset
    with progress("Photos", len(data.images), 0) as step:
        found = features.extract(pipeline, [image.path for image in data.images], step)
    images = [data.images[index] for index in found.indices]
    kept, copies = labelled_photos.without_copies(images, found.digests)
    remarks = [*data.left_out, *found.left_out, *copies]
    left_out.say(remarks, data.root)
    images = [images[index] for index in kept]
    groups = np.arange(len(images)) if keeps_copies else near_copies.groups(found.prints[kept])
    shown = _merged(images, groups, found.prints[kept], data.root, say)
    if keeps_copies:
        say("Near copies count as different photos; if some are copies, the held-out accuracy is too high")
    different = {(image.label, int(group)) for image, group in zip(images, groups, strict=True)}
    labelled_photos.require_enough(labelled, Counter(label for label, _ in different), way_out=WAY_OUT if shown else "")
    class_ids = np.array([labelled.folders.index(image.label) for image in images])
    held_out = split.deal(class_ids, groups, hold_out, seed) == 0
    folds = np.full(len(images), -1)
    folds[~held_out] = split.deal(class_ids[~held_out], groups[~held_out], FOLDS, seed)
    chosen = found.features[kept]
    ready = TrainingSet(labelled.folders, images, class_ids, chosen, groups, held_out, folds, len(remarks), shown)
    _require_spread(ready)
    return ready


def _merged(images: Sequence[LabelledImage], groups: Ids, prints: Fingerprints, root: Path, say: Say) -> dict[str, Any]:
    """Say which photos are near copies. Return their number and an example by label, as for the card."""

    def names(found: Merged) -> list[str]:
        return [text_file.printable(os.path.relpath(images[index].path, root)) for index in found.example]

    labels = [image.label for image in images]
    counts = Counter(labels)
    merged = near_copies.merged(prints, groups, labels)
    for label, each in islice(merged.items(), SHOWN_LABELS):
        say(
            f"Near copies: {each.photos} of {counts[label]} photos of {label} look like another one, such as "
            f"{' and '.join(names(each))}"
        )
    if len(merged) > SHOWN_LABELS:
        say(f"Near copies: {len(merged) - SHOWN_LABELS} other labels have some, which are named on the card")
    if mixed := near_copies.across(groups, labels):
        say(f"Near copies: {mixed.photos} photos look like one of another label, such as {' and '.join(names(mixed))}")
    if merged or mixed:
        say(f"Near copies count as one photo, and are all held out or none. {WAY_OUT[0].upper()}{WAY_OUT[1:]}")
    return {label: {"merged": each.photos, "example": names(each)} for label, each in merged.items()}


def _require_spread(found: TrainingSet) -> None:
    """Raise `CardError` if a label has no photo on one side of a split, since its photos are copies of others'."""
    trained = ~found.held_out
    parts = [found.counts(found.held_out), *(found.counts(trained & (found.folds != fold)) for fold in range(FOLDS))]
    missing = sorted({label for counts in parts for label, count in counts.items() if not count})
    if missing:
        raise CardError(
            f"the photos of {', '.join(missing)} are near copies of other labels' photos, so they cannot be checked "
            f"apart from them; remove the copies, or {WAY_OUT}"
        )
