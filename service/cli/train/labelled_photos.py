"""The photos to learn from: a folder for each label, without what would make the result look better than it is."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from service.measure.accuracy import datasets, listing
from service.models import text_file
from service.models.cards import CardError
from service.tasks.scoring_base import Dataset, LabelledImage, Remark

MIN_PHOTOS: Final = 10  # of a label: two are held out, and eight are in five folds
MAX_NAMED: Final = 20  # labels in an error message


@dataclass(frozen=True)
class Labelled:
    """The photos of a folder, and every label that a folder stands for, also one without photos."""

    dataset: Dataset
    folders: tuple[str, ...]


def read(root: Path, split: str) -> Labelled:
    """Return the photos of a folder with a folder for each label. Raises `CardError`, which says what is missing."""
    data = datasets.read(root, "folders", split)
    folders = datasets.folder_names(root / split)
    _check_names(folders)
    images = tuple(replace(image, label=text_file.name(image.label)) for image in data.images)
    found = Labelled(replace(data, images=images), tuple(sorted(map(text_file.name, folders))))
    require_enough(found, Counter(image.label for image in images), data.left_out)
    return found


def require_enough(
    labelled: Labelled, counts: Mapping[str, int], left_out: Sequence[Remark] = (), way_out: str = ""
) -> None:
    """Raise `CardError` if there are fewer than two labels, or a label has too few photos: how many more it needs.

    The message has the files that were `left_out` and are not named yet. `way_out` is a further way out than more
    photos.
    """
    root, labels = labelled.dataset.root, labelled.folders
    if len(labels) < 2:
        raise CardError(
            f"{root} has one label, {labels[0]}, and a classifier needs at least two; "
            "add a folder of images that are not it, named for example other"
        )
    few = [(label, counts.get(label, 0)) for label in labels if counts.get(label, 0) < MIN_PHOTOS]
    if few:
        named = ", ".join(
            f"{label} has {count} and needs {MIN_PHOTOS - count} more" for label, count in few[:MAX_NAMED]
        )
        others = f", and {len(few) - MAX_NAMED} other labels need more" if len(few) > MAX_NAMED else ""
        lines = "; ".join(listing.summary(left_out, root, MAX_NAMED))
        raise CardError(
            f"{root} has too few photos to train and to check the result. Each label needs {MIN_PHOTOS} different "
            f"ones: {named}{others}. Add photos, or remove the folder{way_out and f'; {way_out}'}"
            f"{'. Left out: ' if lines else ''}{lines}"
        )


def without_copies(images: Sequence[LabelledImage], digests: Sequence[str]) -> tuple[list[int], list[Remark]]:
    """Return the indices of the images to keep, and a remark on each other one.

    Of several files with the same bytes the first is kept, or none if they are in folders of different labels.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(digests):
        same[digest].append(index)
    kept, remarks = [], []
    for indices in same.values():
        first = images[indices[0]]
        labels = sorted({images[index].label for index in indices})
        if len(labels) > 1:
            reason = f"the same file is in the folders of several labels: {', '.join(labels)}"
            remarks += [Remark(images[index].path, reason) for index in indices]
            continue
        kept.append(indices[0])
        remarks += [Remark(images[each].path, f"it is a copy of {first.path.name}") for each in indices[1:]]
    return sorted(kept), remarks


def _check_names(labels: Sequence[str]) -> None:
    """Raise `CardError` for labels that differ only by case, blanks or Unicode form, or that no label file can hold."""
    by_form: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_form[text_file.folded(label)].append(label)
        if not text_file.name(label).isprintable():
            raise CardError(f"the folder {text_file.printable(label)!r} has a name that is no label; rename it")
    alike = [names for names in by_form.values() if len(names) > 1]
    if alike:
        named = "; ".join(" and ".join(map(repr, names)) for names in alike)
        raise CardError(
            f"folders have names that mean the same label, apart from case, blanks or Unicode form: {named}; "
            "put their photos into one folder, or rename one"
        )
