"""`python -m benchmarks.costs.reduced_jpeg FOLDER`: what decoding JPEGs at reduced scale changes in classifications.

Each photo of a data set, as `evaluate` reads one, is enlarged and given noise, since enlarging makes nothing as fine
as a camera's grain, and saved as a JPEG. Its answer as the service gives it is held against that for the same JPEG
decoded whole.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from PIL import Image

from service.imaging import decoder, preprocess
from service.imaging.decoder import ImageLimits
from service.measure.accuracy import datasets
from service.measure.accuracy.scoring import scoring_of
from service.measure.pipeline import Pipeline, Prepared
from service.models import cards
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics

NOISE = 6.0  # deviation of each pixel and channel, of 255
QUALITY = 90
TIMES = (4, 6, 8, 16)  # the side that is needed: decoded at 1/2, 1/2, 1/4 and 1/8
SCORES = "scores"


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), default="model_store", show_default=True)
@click.option("--model", default="starter-classifier", show_default=True)
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Photos, drawn at random.")
def main(folder: Path, store: Path, model: str, count: int) -> None:
    """A line for each size of JPEG."""
    card = cards.read(store / model)
    pipeline = Pipeline.load(card, "cpu")
    photos = [each.path for each in datasets.read(folder).images]
    drawn = np.random.default_rng(0).permutation(len(photos))[:count]
    for times in TIMES:
        short = times * preprocess.needed_side(card.input)
        answers = [both(pipeline, upload) for upload in large([photos[place] for place in drawn], short)]
        found = numerics.compare([ours for ours, _ in answers], [whole for _, whole in answers], scoring_of(card.task))
        told = f"{found.equal:.1%} of {found.images} labels equal, scores {found.difference:.4f} apart in the mean"
        click.echo(f"{card.name}, short side {short}: {told}")


def large(photos: list[Path], short: int) -> Iterator[bytes]:
    """The photos as JPEGs of this short side, in pixels."""
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


def both(pipeline: Pipeline, upload: bytes) -> tuple[BatchArrays, BatchArrays]:
    """The answer as it is served, and the one for the picture decoded whole."""
    served = pipeline.prepare(upload)
    decoded = decoder.decode(upload, ImageLimits()).image
    whole = Prepared(preprocess.prepare(pipeline.card.input, decoded), served.width, served.height)
    ours, theirs = ({SCORES: pipeline.infer([each])[0].arrays[SCORES][None]} for each in (served, whole))
    return ours, theirs


if __name__ == "__main__":
    main()
