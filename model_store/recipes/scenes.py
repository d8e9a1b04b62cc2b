"""Scenes for a detector: real photos, cut-out pets pasted on other photos, photos in a grid, and flowers alone.

The photos show one large, centred animal each. A detector that sees only them learns "one big box". Pasted pets and
grids have several animals of many sizes, with exact masks (Cut, Paste and Learn, arXiv 1708.01642; mosaic, arXiv
2004.10934, section 3.4).
"""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import photos
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from service.engines.training.augment import GREY
from service.tasks.scoring_base import IGNORED

CLASSES = ("cat", "dog")
KINDS = {"photo": 0.75, "pasted": 0.13, "grid": 0.07, "flower": 0.05}  # Shares of the scenes.
VISIBLE = 0.25  # Of an animal's pixels: with less in sight it is no instance.
MIN_PIXELS = 64
ON_FLOWERS = 0.6  # Of the pasted scenes have a flower photo as background.
PASTED_SIDE = (0.2, 0.9)  # Longer side of a pasted animal, as a share of the scene's shorter side.
Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right and bottom in pixels
Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """An image `(h, w, 3)`, the masks `(n, h, w)` of its instances, and their class ids `(n,)`, 0 cat or 1 dog."""

    image: Pixels
    masks: Masks
    class_ids: npt.NDArray[np.int64]

    def boxes(self) -> npt.NDArray[np.float32]:
        """Return the boxes `(n, 4)` around the masks: x1, y1, x2, y2 in pixels."""
        return np.array([box_of(mask) for mask in self.masks], np.float32).reshape(-1, 4)


def box_of(mask: Masks) -> Box:
    """Return the box x1, y1, x2, y2 around the pixels of a mask `(h, w)`, which has at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class MaskedImage:
    """A decoded photo, the mask of its animal in 0 and 255, and the class id of it. A flower has no animal."""

    image: Image.Image
    mask: Image.Image | None
    class_id: int


def masked_image(photo: photos.Photo) -> MaskedImage:
    """Return the decoded photo. The ignored pixels of a trimap are the rim of its animal, and belong to it."""
    if not photo.mask:
        return MaskedImage(photo.image(), None, -1)
    mask = Image.fromarray(np.where(photo.mask_ids() > 0, IGNORED, 0).astype(np.uint8))
    return MaskedImage(photo.image(), mask, CLASSES.index(photo.label))


def has_animal(shown: MaskedImage) -> bool:
    """Return whether there is an animal: one trimap of the data set is empty."""
    return shown.mask is not None and shown.mask.getbbox() is not None


class Canvas:
    """A scene in the making: what is placed later hides what is below it."""

    def __init__(self, height: int, width: int) -> None:
        self.image = Image.new("RGB", (width, height), GREY)
        self.masks: list[Masks] = []
        self.class_ids: list[int] = []
        self.areas: list[float] = []

    def place(self, shown: MaskedImage, scale: float, offset: tuple[float, float], box: Box) -> None:
        """Place a whole image, enlarged by `scale`, with its corner at `offset`, inside `box` of the canvas."""
        left, top, right, bottom = box
        size = (right - left, bottom - top)
        matrix = (1 / scale, 0, (left - offset[0]) / scale, 0, 1 / scale, (top - offset[1]) / scale)
        pixels = shown.image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)
        self._hide(np.ones((size[1], size[0]), bool), left, top)
        self.image.paste(pixels, (left, top))
        if shown.mask:
            mask = shown.mask.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            whole = np.count_nonzero(np.asarray(shown.mask)) * scale**2
            self._add(np.asarray(mask) > IGNORED // 2, left, top, shown.class_id, whole)

    def paste(self, shown: MaskedImage, side: float, centre: tuple[float, float]) -> None:
        """Paste the animal of an image alone, `side` pixels long, around `centre`."""
        box = shown.mask.getbbox() if shown.mask else None
        if not shown.mask or not box:
            raise ValueError("an image without an animal cannot be pasted")
        scale = side / max(box[2] - box[0], box[3] - box[1])
        size = (max(8, round((box[2] - box[0]) * scale)), max(8, round((box[3] - box[1]) * scale)))
        pixels = shown.image.resize(size, Image.Resampling.BILINEAR, box=box)
        alpha = shown.mask.resize(size, Image.Resampling.BILINEAR, box=box).filter(ImageFilter.BoxBlur(0.7))
        left, top = round(centre[0] - size[0] / 2), round(centre[1] - size[1] / 2)
        self.image.paste(pixels, (left, top), alpha)
        mask = np.asarray(alpha) > IGNORED // 2
        self._hide(mask, left, top)
        self._add(mask, left, top, shown.class_id, float(mask.sum()))

    def _hide(self, mask: Masks, left: int, top: int) -> None:
        hidden = self._whole(mask, left, top)
        self.masks = [each & ~hidden for each in self.masks]

    def _add(self, mask: Masks, left: int, top: int, class_id: int, area: float) -> None:
        self.masks.append(self._whole(mask, left, top))
        self.class_ids.append(class_id)
        self.areas.append(area)

    def _whole(self, mask: Masks, left: int, top: int) -> Masks:
        """Return the mask `(h, w)` of the whole canvas from one whose corner is at `left` and `top`."""
        height, width = self.image.height, self.image.width
        whole = np.zeros((height, width), bool)
        y1, x1 = max(top, 0), max(left, 0)
        y2, x2 = min(top + mask.shape[0], height), min(left + mask.shape[1], width)
        if y2 > y1 and x2 > x1:
            whole[y1:y2, x1:x2] = mask[y1 - top : y2 - top, x1 - left : x2 - left]
        return whole

    def scene(self) -> Scene:
        """Return the scene, without the animals of which too little is in sight."""
        seen = [
            index for index, mask in enumerate(self.masks) if mask.sum() >= max(MIN_PIXELS, VISIBLE * self.areas[index])
        ]
        masks = np.array([self.masks[index] for index in seen]).reshape(len(seen), self.image.height, self.image.width)
        return Scene(np.array(self.image), masks, np.array([self.class_ids[index] for index in seen], np.int64))


def _fit(canvas: Canvas, shown: MaskedImage, box: Box, zoom: float) -> None:
    """Place an image so that it fits into `box`, times `zoom`: smaller leaves a margin, larger cuts it."""
    width, height = box[2] - box[0], box[3] - box[1]
    scale = zoom * min(width / shown.image.width, height / shown.image.height)
    across, down = shown.image.width * scale, shown.image.height * scale
    # A smaller one is at the top left, as the served input is padded at the right and the bottom.
    left = box[0] + random.uniform(min(0.0, width - across), 0.0)
    top = box[1] + random.uniform(min(0.0, height - down), 0.0)
    right, bottom = min(box[2], round(left + across)), min(box[3], round(top + down))
    canvas.place(shown, scale, (left, top), (box[0], box[1], right, bottom))


def _zoom() -> float:
    return random.uniform(0.9, 1.0) if random.random() < 0.5 else random.uniform(1.0, 1.3)


def varied(shown: MaskedImage) -> MaskedImage:
    """Return the image with other brightness, contrast and colour, and half of the times mirrored."""
    image, mask = shown.image, shown.mask
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(random.uniform(0.6, 1.4))
    if random.random() < 0.5:
        image, mask = ImageOps.mirror(image), mask and ImageOps.mirror(mask)
    return MaskedImage(image, mask, shown.class_id)


class Scenes:
    """Draws random scenes from the images of pets with masks, and of flowers."""

    def __init__(self, pets: list[MaskedImage], flowers: list[MaskedImage]) -> None:
        self.pets = pets
        self.flowers = flowers

    def draw(self, height: int, width: int, kind: str | None = None) -> Scene:
        """Return a scene of a random or the given kind of `KINDS`."""
        kind = kind or random.choices(list(KINDS), list(KINDS.values()))[0]
        canvas, whole = Canvas(height, width), (0, 0, width, height)
        if kind == "grid":
            self._grid(canvas)
        elif kind == "pasted":
            self._pasted(canvas)
        else:
            drawn = random.choices(self.flowers if kind == "flower" else self.pets, k=4)
            upright = [each for each in drawn if (each.image.height > each.image.width) == (height > width)]
            _fit(canvas, varied((upright or drawn)[0]), whole, _zoom())
        return canvas.scene()

    def _pasted(self, canvas: Canvas) -> None:
        width, height = canvas.image.size
        below = self.flowers if random.random() < ON_FLOWERS else self.pets
        fill = max(width, height) / min(width, height)
        _fit(canvas, varied(random.choice(below)), (0, 0, width, height), fill * random.uniform(1.0, 1.3))
        for _ in range(random.randint(1, 4)):
            side = min(width, height) * random.uniform(*PASTED_SIDE)
            centre = (random.uniform(0.1, 0.9) * width, random.uniform(0.1, 0.9) * height)
            canvas.paste(varied(random.choice(self.pets)), side, centre)

    def _grid(self, canvas: Canvas) -> None:
        width, height = canvas.image.size
        x, y = round(width * random.uniform(0.3, 0.7)), round(height * random.uniform(0.3, 0.7))
        cells = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        if random.random() < 0.5:
            cells = (
                [(0, 0, x, height), (x, 0, width, height)]
                if width > height
                else [(0, 0, width, y), (0, y, width, height)]
            )
        for cell in cells:
            shown = random.choice(self.flowers if random.random() < 0.1 else self.pets)
            _fit(canvas, varied(shown), cell, random.uniform(1.0, 1.8))
