"""`python -m benchmarks.costs.masks`: the CPU time from logits to a mask, and from a mask to each rendering.

The logits are made: octaves of smooth noise, of which a few classes win in most places, as in a photo. The reference
upsamples the logits of every class and takes the softmax of each pixel. It takes turns with the product's function.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from service.imaging import masks, polygons, rle
from service.measure.tables import table
from service.tasks.segmentation.head import segment
from service.tasks.segmentation.masks_head import class_scores

EXAMPLE: Final = Path(__file__).parents[2] / "model_store" / "example.jpg"
CLASSES: Final = (150, 59, 21, 2)
MAPS: Final = ((49, 65), (98, 130))  # Height and width of the network's map: output stride 8 and 4.
SIZE: Final = (392, 520)  # Of the network's input.
UPLOADS: Final = ((1155, 866), (4000, 3000))  # 1 and 12 megapixels.
OCTAVES: Final = ((4, 4.0), (8, 2.0), (16, 1.0), (32, 0.5))  # Waves across the map, and their height in logits.
LARGE: Final = 400  # Pixels of a class whose score is compared.


class Turn(NamedTuple):
    """CPU milliseconds of the reference and of the product in one turn."""

    reference: float
    product: float


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=9, show_default=True, help="Turns of each measurement.")
def main(repeats: int) -> None:
    """Print a table of masks from logits, and one of renderings."""
    torch.set_num_threads(1)
    head = ("CLASSES", "MAP", "REFERENCE MS", "MS", "RATIO", "EQUAL PIXELS", "SCORE DIFFERENCE")
    click.echo(table(head, [from_logits(classes, size, repeats) for classes in CLASSES for size in MAPS]))
    click.echo(table(("IMAGE", "RENDERING", "MS"), list(renderings(repeats))))


def from_logits(classes: int, size: tuple[int, int], repeats: int) -> tuple[str, ...]:
    """Return a row: median times, the ratio's least, median and most, and how far the results are apart."""
    logits = made_logits(classes, *size)
    turns = [
        Turn(cpu_ms(partial(reference, logits)), cpu_ms(partial(segment, upsample, logits[None], SIZE)))
        for _ in range(repeats)
    ]
    ratios = sorted(turn.reference / turn.product for turn in turns)
    expected, found = reference(logits), segment(upsample, logits[None], SIZE)
    pixels = torch.bincount(expected[0].flatten(), minlength=classes)
    apart = (expected[1] - found["class_scores"][0]).abs()[pixels > LARGE]
    return (
        str(classes),
        f"{size[1]}x{size[0]}",
        f"{median(turn.reference for turn in turns):.1f}",
        f"{median(turn.product for turn in turns):.1f}",
        f"{ratios[0]:.1f} / {median(ratios):.1f} / {ratios[-1]:.1f}",
        f"{(expected[0] == found['mask'][0]).float().mean():.4%}",
        f"mean {apart.mean():.4f}, most {apart.max():.4f}",
    )


def renderings(repeats: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each rendering of a mask of 150 classes: the size of the image, the name, the median time."""
    mask = segment(upsample, made_logits(CLASSES[0], *MAPS[0])[None], SIZE)["mask"][0].numpy()
    palette = [(class_id, class_id * 7 % 256, class_id * 13 % 256) for class_id in range(CLASSES[0])]
    with Image.open(EXAMPLE) as opened:
        example = opened.convert("RGB")
    for width, height in UPLOADS:
        large, image = masks.resize(mask, width, height), example.resize((width, height))
        for name, render in _renderings(mask, large, image, palette).items():
            yield f"{width}x{height}", name, f"{median(cpu_ms(render) for _ in range(repeats)):.1f}"


def _renderings(
    mask: masks.Mask, large: masks.Mask, image: Image.Image, palette: Sequence[masks.Colour]
) -> dict[str, Callable[[], object]]:
    width, height = image.size
    return {
        "resize": partial(masks.resize, mask, width, height),
        "segments": partial(masks.segments, large, np.zeros(256)),
        "png": partial(masks.png, large, palette),
        "rle": partial(rle.encode, large),
        "polygons": partial(polygons.polygons, mask, width, height),
        "polygons, tolerance 2": partial(polygons.polygons, mask, width, height, 2.0),
        "overlay, PNG": partial(masks.overlay, image, mask, palette),
        "overlay, WebP": partial(masks.overlay, image, mask, palette, kind="WEBP"),
    }


def made_logits(classes: int, height: int, width: int) -> Tensor:
    """Return logits `(classes, height, width)` of octaves of noise, the same every time."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(1, classes, height, width)
    for waves, amplitude in OCTAVES:
        noise = torch.randn(1, classes, height * waves // 64 + 1, width * waves // 64 + 1, generator=generator)
        total += amplitude * functional.interpolate(noise, (height, width), mode="bicubic")
    return total[0]


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate `(n, classes, h, w)` to `(n, classes, *size)`, as MMSegmentation's networks do."""
    return functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def reference(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mask `SIZE` and the scores `(classes,)` from the upsampled logits of every class."""
    upsampled = upsample(logits[None], SIZE)[0]
    highest, mask = upsampled.max(dim=0)
    likely = upsampled.sub_(highest).exp_().sum(dim=0).reciprocal_()
    return mask, class_scores(mask, likely, len(logits))


def cpu_ms(run: Callable[[], object]) -> float:
    """Return the CPU milliseconds of one call."""
    begun = time.process_time()
    run()
    return (time.process_time() - begun) * 1e3


if __name__ == "__main__":
    main()
