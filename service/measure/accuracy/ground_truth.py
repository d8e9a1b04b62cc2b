"""Check images and masks before anything is scored, so that a broken file never ends a run of hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from service.models.cards import CardError
from service.tasks.scoring_base import IGNORED, UNCHANGED, LabelledImage, Mask, Remark, mask_values, upright

ORIENTATION: Final = 0x0112  # the EXIF tag
TURNING: Final = range(5, 9)  # values of the tag that exchange width and height
CHANGING: Final = range(2, 9)  # values that change the image at all
IRREGULAR: Final = "is not a regular file"
TURNED: Final = "was turned alike"
TAKEN: Final = "was taken as it is, because it has the same size in both positions"


@dataclass
class Checked:
    """The images that can be scored, the files that are left out, remarks, and all values that the masks have."""

    images: list[LabelledImage] = field(default_factory=list)
    left_out: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    values: set[int] = field(default_factory=set)

    @property
    def mask_problem(self) -> str:
        """Why no mask can be scored: all were drawn with 255, which means no class. Empty if they can."""
        if IGNORED not in self.values or self.values > {0, IGNORED}:
            return ""
        values = "only the value 255" if self.values == {IGNORED} else "only the values 0 and 255"
        return (
            f"the masks have {values}, and 255 means no class; "
            "if it is the class 1, use --values 255=1, and if it is no class, --values 255=none"
        )


def check(images: Sequence[LabelledImage], given: Mapping[int, int] | None) -> Checked:
    """Check all images and masks. `given` has the class ids of mask values that replace those of the layout."""
    found = Checked()
    for image in images:
        reason = _unreadable(image.path)
        if reason:
            found.left_out.append(Remark(image.path, reason))
        elif image.mask is None:
            found.images.append(image)
        else:
            _check_mask(found, replace(image, values=_replaced(image.values, given or {})), image.mask)
    if given or any(image.values != UNCHANGED for image in images):
        found.values = set()  # the meaning of the values is stated
    return found


def _replaced(values: Sequence[int], given: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(given.get(value, class_id) for value, class_id in enumerate(values))


def _check_mask(found: Checked, image: LabelledImage, mask: Path) -> None:
    try:
        if _is_irregular(mask):
            raise CardError(f"{mask} {IRREGULAR}")
        drawn = mask_values(mask)
        turn, note = _turn(image.path, mask, drawn)
    except CardError as error:
        found.left_out.append(Remark(image.path if not image.label else mask, _without_path(str(error), mask)))
        if image.label:  # a label needs no mask
            found.images.append(replace(image, mask=None))
        return
    found.values.update(np.unique(drawn).tolist())
    present = frozenset({image.values[value] for value in np.unique(drawn)} - {IGNORED})
    if note:
        found.notes.append(Remark(mask, f"the image is turned by its EXIF orientation, and the mask {note}"))
    if present or image.label:
        found.images.append(replace(image, turn=turn or 1, present=present))
    else:
        found.left_out.append(Remark(image.path, "no pixel of its mask has a class"))


def _without_path(message: str, path: Path) -> str:
    return f"its mask {message.removeprefix(str(path)).strip()}"


def _turn(path: Path, mask: Path, drawn: Mask) -> tuple[int, str]:
    """Return the EXIF orientation by which the mask must be turned, or 0, and what is done with the mask, if anything.

    An image that Pillow cannot open is left to the decoder of the service. Raises `CardError` for another size.
    """
    try:
        with Image.open(path) as opened:
            (width, height), orientation = opened.size, opened.getexif().get(ORIENTATION, 1)
    except Exception:
        return 0, ""
    stored = (height, width)
    shown = stored[::-1] if orientation in TURNING else stored
    if drawn.shape == shown:
        return 0, TAKEN if orientation in CHANGING and shown == stored else ""
    if drawn.shape == stored and upright(drawn, orientation).shape == shown:
        return int(orientation), TURNED
    raise CardError(f"{mask} is {_size(drawn.shape)}, and the image {_size(shown)}")


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _is_irregular(path: Path) -> bool:
    """Return whether a path is a pipe, a device or a folder. Opening a pipe would block."""
    return path.exists() and not path.is_file()


def _unreadable(path: Path) -> str | None:
    if _is_irregular(path):
        return f"it {IRREGULAR}"
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        if path.is_symlink() and not path.exists():
            return f"it links to a file that does not exist, {path.readlink()}"
        return f"it cannot be read: {error.strerror}"
