"""`python -m benchmarks.costs.reduced_jpeg FOLDER`: how decoding JPEGs at reduced scale changes classifications.

FOLDER is a dataset as `evaluate` reads it. Each photo is enlarged, gets noise (enlarging adds no detail as fine as a
camera's grain), and is saved as a JPEG. The program compares the service's answer with that for the same JPEG decoded
at full size. `--least` tries another rule than the service's, which decodes to no less than twice the needed side.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from PIL import Image

from service.imaging import decoder, preprocess
from service.imaging.decoder import LEAST_SCALE, ImageLimits
from service.measure.accuracy import datasets
from service.measure.accuracy.scoring import scoring_of
from service.measure.pipeline import Pipeline, Prepared
from service.models import cards
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics

NOISE = 6.0  # standard deviation for each pixel and channel, of 255
QUALITY = 90
FACTORS = (4, 6, 8, 16)  # of the needed side: these JPEGs are decoded at 1/2, 1/2, 1/4 and 1/8
SCORES = "scores"


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), default="model_store", show_default=True)
@click.option("--model", default="starter-classifier", show_default=True)
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Photos, chosen at random.")
@click.option("--least", type=click.FloatRange(1), default=LEAST_SCALE, show_default=True, help="Of the needed side.")
def main(folder: Path, store: Path, model: str, count: int, least: float) -> None:
    """Compare the answers, and print a line for each size of JPEG."""
    card = cards.read(store / model)
    pipeline = Pipeline.load(card, "cpu")
    photos = [each.path for each in datasets.read(folder).images]
    chosen = np.random.default_rng(0).permutation(len(photos))[:count]
    for factor in FACTORS:
        short = math.ceil(factor * least / LEAST_SCALE * preprocess.needed_side(card.input))
        answers = [both(pipeline, upload, least) for upload in enlarge([photos[index] for index in chosen], short)]
        found = numerics.compare([ours for ours, _ in answers], [whole for _, whole in answers], scoring_of(card.task))
        result = f"{found.equal:.1%} of {found.images} labels equal, mean score difference {found.difference:.4f}"
        click.echo(f"{card.name}, short side {short}: {result}")


def enlarge(photos: list[Path], short: int) -> Iterator[bytes]:
    """Yield the photos as JPEGs whose shorter side has `short` pixels."""
    random = np.random.default_rng(0)
    for path in photos:
        with Image.open(path) as opened:
            scale = short / min(opened.size)
            width, height = (max(short, round(side * scale)) for side in opened.size)
            smooth = np.asarray(opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grain = random.standard_normal(smooth.shape, np.float32) * NOISE
        out = io.BytesIO()
        Image.fromarray((smooth + grain).round().clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
        yield out.getvalue()


def both(pipeline: Pipeline, upload: bytes, least: float = LEAST_SCALE) -> tuple[BatchArrays, BatchArrays]:
    """Return the answer for the image decoded to `least` of the needed side, and for that decoded at full size."""
    spec = pipeline.card.input
    needed = round(least / LEAST_SCALE * preprocess.needed_side(spec))
    decoded = (decoder.decode(upload, ImageLimits(), needed=side) for side in (needed, None))
    prepared = (Prepared(preprocess.prepare(spec, each.image), each.width, each.height) for each in decoded)
    ours, theirs = ({SCORES: pipeline.infer([each])[0].arrays[SCORES][None]} for each in prepared)
    return ours, theirs


if __name__ == "__main__":
    main()
