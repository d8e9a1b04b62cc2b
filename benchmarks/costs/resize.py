"""`python -m benchmarks.costs.resize FOLDER`: the speed of `resizer = "simd"`, and how it changes results.

FOLDER is a dataset as `evaluate` reads it. The program compares the results for the same decoded image, resized with
cykooz-resizer and with Pillow: for the photos themselves, and for copies that are enlarged as in `reduced_jpeg`. Then
it measures the CPU time of `decode_jobs.prepare`, from the upload to the input of the network, with both in turn.
"""

import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.costs.reduced_jpeg import enlarge
from service.imaging import decoder, preprocess, resizers
from service.imaging.decoder import ImageLimits
from service.measure.accuracy import datasets
from service.measure.accuracy.scoring import scoring_of
from service.measure.pipeline import Pipeline, Prepared
from service.models import cards
from service.models.inputs import Input
from service.tasks import decode_jobs
from service.tasks.torch_head import BatchArrays

RESIZERS: Final = ("simd", "pillow")
SHORT_SIDES: Final = (0, 960, 3024)  # of the compared images, in pixels; 0 for the photos themselves
SIZES: Final = ((335, 500), (1280, 960), (4032, 3024))  # of the timed images, in pixels
REPEATS: Final = 15
MIN_S: Final = 0.02  # CPU time of one repeat; the clock's steps are shorter


@dataclass(frozen=True)
class Difference:
    """Two results for one image: which labels or mask pixels are equal, and how far scores and pixels differ."""

    equal: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.floating]
    levels: npt.NDArray[np.int16]


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), default="model_store", show_default=True)
@click.option("--model", default="starter-classifier", show_default=True)
@click.option("--count", type=click.IntRange(1), help="Photos, chosen at random. Default: all.")
@click.option("--short", "sides", type=int, multiple=True, default=SHORT_SIDES, show_default=True)
def main(folder: Path, store: Path, model: str, count: int | None, sides: tuple[int, ...]) -> None:
    """Print a line for each size of the compared images, and one for each timed image."""
    pipeline = Pipeline.load(cards.read(store / model), "cpu")
    photos = [each.path for each in datasets.read(folder).images]
    chosen = [photos[index] for index in np.random.default_rng(0).permutation(len(photos))[:count]]
    for short in sides:
        uploads = enlarge(chosen, short) if short else (path.read_bytes() for path in chosen)
        click.echo(f"{model}, short side {short or 'as it is'}: {summary(differences(pipeline, uploads))}")
    for size in SIZES:
        for kind in ("JPEG", "PNG"):
            upload = timed_image(chosen[0], size, kind)
            simd, pillow = times(upload, Input(profile="official", size=224))
            click.echo(f"{kind} {size[0]}x{size[1]}: {simd:.2f} ms, Pillow {pillow:.2f} ms, ratio {simd / pillow:.2f}")


def differences(pipeline: Pipeline, uploads: Iterable[bytes]) -> Iterator[Difference]:
    """Yield the difference between the results of both resizers for each upload."""
    scoring = scoring_of(pipeline.card.task)
    for upload in uploads:
        decoded = decoder.decode(upload, ImageLimits(), needed=preprocess.needed_side(pipeline.card.input))
        inputs = [preprocess.prepare(spec, decoded.image) for spec in both(pipeline.card.input)]
        ours, theirs = (result(pipeline, Prepared(each, decoded.width, decoded.height)) for each in inputs)
        found = scoring.compare(ours, theirs)
        levels = np.subtract(*inputs, dtype=np.int16, casting="unsafe")
        yield Difference(np.asarray(found.same), np.asarray(found.differences), np.abs(levels).reshape(-1))


def both(spec: Input) -> list[Input]:
    """Return the input with each resizer. Raises `ClickException` if cykooz-resizer is missing."""
    specs = [spec.model_copy(update={"resizer": resizer}) for resizer in RESIZERS]
    if not resizers.uses_simd(specs[0]):
        raise click.ClickException("cykooz-resizer is not installed")
    return specs


def result(pipeline: Pipeline, prepared: Prepared) -> BatchArrays:
    """Return the outputs for one image as a batch."""
    return {name: array[None] for name, array in pipeline.infer([prepared])[0].arrays.items()}


def summary(found: Iterable[Difference]) -> str:
    """Return the shares and differences over all images."""
    images = list(found)
    equal = np.concatenate([each.equal for each in images])
    scores = np.concatenate([each.scores for each in images])
    levels = np.concatenate([each.levels for each in images])
    return (
        f"{len(images)} images, {equal.mean():.3%} of {equal.size} labels or pixels equal; "
        f"score difference mean {scores.mean():.5f}, max {scores.max():.4f}; "
        f"input differs in {(levels > 0).mean():.1%} of bytes, by at most {levels.max()}"
    )


def timed_image(photo: Path, size: tuple[int, int], kind: str) -> bytes:
    """Return the photo, enlarged and cut to `size`, as a file of the format."""
    width, height = size
    (enlarged,) = enlarge([photo], max(size))
    out = io.BytesIO()
    with Image.open(io.BytesIO(enlarged)) as opened:
        opened.crop((0, 0, width, height)).save(out, kind, quality=90)
    return out.getvalue()


def times(upload: bytes, spec: Input) -> list[float]:
    """Return the CPU milliseconds of `decode_jobs.prepare` with each resizer: the lowest of interleaved repeats."""
    specs = both(spec)
    runs = max(1, round(MIN_S / cpu_s(upload, specs[0], 1)))
    repeats = [[cpu_s(upload, each, runs) for each in specs] for _ in range(REPEATS)]
    return [1000 * min(of_spec) / runs for of_spec in zip(*repeats, strict=True)]


def cpu_s(upload: bytes, spec: Input, runs: int) -> float:
    """Return the CPU seconds of preparing the upload `runs` times."""
    start = time.process_time()
    for _ in range(runs):
        decode_jobs.prepare(upload, ImageLimits(), [spec])
    return time.process_time() - start


if __name__ == "__main__":
    main()
