"""Image augmentation: random crops, RandAugment (arXiv 1909.13719), mixup (1710.09412), CutMix (1905.04899)."""

import math
import random
from collections.abc import Callable

import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional

GREY = (124, 116, 104)
MAGNITUDES = 30


def random_resized_crop(image: Image.Image, size: int, scale: tuple[float, float] = (0.25, 1.0)) -> Image.Image:
    """Return a random crop, resized to a square of `size` pixels (arXiv 1409.4842).

    The crop has `scale` of the area and an aspect ratio of 3:4 to 4:3.
    """
    width, height = image.size
    for _ in range(10):
        area = width * height * random.uniform(*scale)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if w <= width and h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            break
    else:
        w = h = min(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    method = random.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC))
    return image.resize((size, size), method, box=(left, top, left + w, top + h))


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)


Operation = Callable[[Image.Image, float], Image.Image]
# Each takes a signed strength in -1..1. The ranges are those of the search space in the RandAugment paper.
OPERATIONS: tuple[Operation, ...] = (
    lambda image, _: image,
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, s: image.rotate(30 * s, Image.Resampling.BILINEAR, fillcolor=GREY),
    lambda image, s: ImageOps.posterize(image, 8 - int(4 * abs(s))),
    lambda image, s: ImageOps.solarize(image, 256 - int(256 * abs(s))),
    lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    lambda image, s: _affine(image, 1, 0.3 * s, 0, 0, 1, 0),
    lambda image, s: _affine(image, 1, 0, 0, 0.3 * s, 1, 0),
    lambda image, s: _affine(image, 1, 0, 0.45 * s * image.width, 0, 1, 0),
    lambda image, s: _affine(image, 1, 0, 0, 0, 1, 0.45 * s * image.height),
)


def rand_augment(image: Image.Image, operations: int = 2, magnitude: int = 9) -> Image.Image:
    """Apply `operations` random operations with a strength of about `magnitude` of 30, in either direction."""
    for operation in random.choices(OPERATIONS, k=operations):
        strength = min(1.0, max(0.0, random.gauss(magnitude, 2) / MAGNITUDES))
        image = operation(image, random.choice((-1, 1)) * strength)
    return image


def mix(images: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return `(n, 3, h, w)` images and `(n, classes)` soft labels for images and `(n,)` labels.

    A third of the batches does not change, a third gets mixup (alpha 0.2), and a third gets CutMix (alpha 1).
    """
    targets = functional.one_hot(labels, classes).float()
    kind = random.choice(("plain", "mixup", "cutmix"))
    if kind == "plain":
        return images, targets
    if kind == "mixup":
        return mixup(images, targets, 0.2)
    order = torch.randperm(len(images), device=images.device)
    images, share = _cut(images, order, random.random())
    return images, targets * share + targets[order] * (1 - share)


def mixup(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Return images `(n, 3, h, w)` and soft labels `(n, classes)`, both mixed with those of another order.

    The share of the mixture is one draw from Beta(alpha, alpha).
    """
    order = torch.randperm(len(images), device=images.device)
    share = random.betavariate(alpha, alpha)
    return images * share + images[order] * (1 - share), targets * share + targets[order] * (1 - share)


def _cut(images: Tensor, order: Tensor, share: float) -> tuple[Tensor, float]:
    height, width = images.shape[2:]
    h, w = (int(side * math.sqrt(1 - share)) for side in (height, width))
    y, x = random.randint(0, height - h), random.randint(0, width - w)
    mixed = images.clone()
    mixed[:, :, y : y + h, x : x + w] = images[order, :, y : y + h, x : x + w]
    return mixed, 1 - h * w / (height * width)
