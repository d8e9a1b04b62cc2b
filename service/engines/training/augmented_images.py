"""A data set of random crops, for a loader of torch."""

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from service.engines.training.augment import rand_augment, random_resized_crop


class AugmentedImages(Dataset[tuple[npt.NDArray[np.uint8], int]]):
    """Augmented square crops `(size, size, 3)` of RGB images, half of them mirrored, and the class ids of the images.

    `magnitude` is that of RandAugment, of 30; 0 leaves it out. `scale` is the range of the crop's share of the area.
    """

    def __init__(
        self,
        images: Sequence[Image.Image],
        class_ids: Sequence[int],
        size: int,
        magnitude: int = 9,
        scale: tuple[float, float] = (0.25, 1.0),
    ) -> None:
        self._images = images
        self._class_ids = class_ids
        self._size = size
        self._magnitude = magnitude
        self._scale = scale

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.uint8], int]:
        """Return a new random crop of an image, and its class id."""
        image = random_resized_crop(self._images[index], self._size, self._scale)
        if random.random() < 0.5:
            image = ImageOps.mirror(image)
        if self._magnitude:
            image = rand_augment(image, magnitude=self._magnitude)
        return np.array(image), self._class_ids[index]
