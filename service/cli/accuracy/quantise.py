"""`resnest-service quantise`: quantise a model to int8, measure the loss of accuracy, and update its card."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click

from service.cli.accuracy import card_file, left_out
from service.cli.options import path_option, store
from service.cli.terminal import confirm
from service.config.cores import SLEEPING_THREADS
from service.errors import ServiceError
from service.host.run_options import RunOptions
from service.host.served_models.selection import select_models
from service.imaging import decoder, preprocess
from service.imaging.decoder import ImageLimits
from service.models.cards import CardError, Int8, ModelCard, Serving
from service.models.weights import checksums
from service.tasks.scoring_base import Remark

if TYPE_CHECKING:
    from service.engines import Engine, Images
    from service.measure.accuracy.agreement import Agreement
    from service.tasks.torch_head import BatchArrays

FEW = 100  # images: with fewer, the value ranges depend too much on the sample


@dataclass(frozen=True)
class Int8Comparison:
    """Int8 against single precision on images that did not calibrate it, and the milliseconds of a single image."""

    agreement: "Agreement"
    exact_ms: float
    int8_ms: float


@click.command()
@store
@click.argument("model")
@path_option(
    "--image-folder",
    "folder",
    kind="folder",
    exists=True,
    required=True,
    help="Folder of images like those that the model will process, subfolders included.",
)
@click.option("--count", type=click.IntRange(2), default=600, show_default=True, help="Maximum number of images used.")
@click.option("--yes", is_flag=True, help="Update the card without asking.")
def quantise(store: Path, model: str, folder: Path, count: int, *, yes: bool) -> None:
    """Quantise MODEL to int8, measure the loss of accuracy, and ask whether to update its card.

    Every second image calibrates the quantisation. The other images measure the loss against single precision. Int8
    runs only with OpenVINO on CPUs. To undo it, set `precision = "auto"` on the card.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    from service.engines.openvino import quantise as quantising

    quantising.require_installed()
    (card,) = select_models(RunOptions(store, (model,)), _say)
    checksums.verify(card)
    remarks: list[Remark] = []
    prepared = list(_preprocess(card, _sample(folder, count, remarks), remarks))
    lines = left_out.say(remarks, folder)
    calibration, validation = prepared[::2], prepared[1::2]
    if not validation:
        raise CardError(f"{folder} has fewer than two readable images")
    few = f"; at least {FEW} would be safer" if len(calibration) < FEW else ""
    _say(f"Calibrating {card.name} with {len(calibration)} images{few}")
    with contextlib.redirect_stdout(sys.stderr):  # NNCF prints its progress to standard output
        data = quantising.quantise(card, calibration)
    with _candidate_card(card, data) as candidate:
        comparison = _compare(card, candidate, validation)
        click.echo(_table(card, comparison, len(data)))
        if not yes:
            confirm(f"Serve {card.name} in int8 from the next start on?")
        _write(candidate, comparison, lines)
    _say(f"Updated {card.folder / 'card.toml'}")


def _sample(folder: Path, count: int, remarks: list[Remark]) -> list[Path]:
    """Return at most `count` images of the folder, evenly spaced in the sorted list of all."""
    from service.measure.accuracy import listing

    found = listing.images(folder, remarks)
    count = min(count, len(found))
    return [found[index * len(found) // count] for index in range(count)]


def _preprocess(card: ModelCard, paths: Sequence[Path], remarks: list[Remark]) -> "Iterator[Images]":
    from service.measure import image_file

    for path in paths:
        try:
            decoded = decoder.decode(image_file.read(path), ImageLimits(), needed=preprocess.needed_side(card.input))
        except (ServiceError, OSError) as error:
            reason = (
                f"it is {error.code()}" if isinstance(error, ServiceError) else f"it cannot be read: {error.strerror}"
            )
            remarks.append(Remark(path, reason))
            continue
        yield preprocess.prepare(card.input, decoded.image)


@contextlib.contextmanager
def _candidate_card(card: ModelCard, data: bytes) -> Iterator[ModelCard]:
    """Write the int8 file and yield the card that would use it."""
    digest = hashlib.sha256(data).hexdigest()
    form = Int8(file=f"int8-{digest[:8]}.zip", sha256=digest, made_of=str(card.checksum))
    with card_file.replaced(card.folder, card.int8.file if card.int8 else None, form.file, data):
        yield card.model_copy(update={"int8": form, "serving": _serving(card, "int8")})


def _serving(card: ModelCard, precision: str) -> Serving:
    return card.serving.model_copy(update={"precision": precision})


def _compare(card: ModelCard, candidate: ModelCard, images: "Sequence[Images]") -> Int8Comparison:
    from service.engines.openvino import engine as openvino_engine
    from service.measure.accuracy.agreement import agreement
    from service.measure.accuracy.scoring import scoring_of

    exact = _TimedEngine(openvino_engine.load(card.model_copy(update={"serving": _serving(card, "fp32")})))
    int8 = _TimedEngine(openvino_engine.load(candidate))
    found = agreement(((exact(image), int8(image)) for image in images), scoring_of(card.task).compare)
    return Int8Comparison(found, exact.median_ms, int8.median_ms)


class _TimedEngine:
    """An engine that runs single images and records the time of each."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._taken: list[float] = []

    def __call__(self, image: "Images") -> "BatchArrays":
        begun = time.perf_counter()
        outputs = self._engine(image[None])
        self._taken.append(time.perf_counter() - begun)
        return outputs

    @property
    def median_ms(self) -> float:
        return median(self._taken) * 1e3


def _table(card: ModelCard, comparison: Int8Comparison, size: int) -> str:
    from service.measure.accuracy.scoring import scoring_of
    from service.measure.tables import table

    head = (
        "AGAINST SINGLE PRECISION",
        scoring_of(card.task).same,
        "MEAN SCORE DIFFERENCE",
        "MS PER IMAGE",
        "MS BEFORE",
        "FILE",
    )
    row = (
        f"{comparison.agreement.images} images",
        f"{100 * comparison.agreement.same:.2f} %",
        f"{comparison.agreement.difference:.5f}",
        f"{comparison.int8_ms:.1f}",
        f"{comparison.exact_ms:.1f}",
        f"{size / 1e6:.0f} MB",
    )
    return table(head, [row])


def _write(candidate: ModelCard, comparison: Int8Comparison, lines: Sequence[str]) -> None:
    """Update the card's file and keep the rest of its text."""
    found = comparison.agreement
    with card_file.edited(candidate.folder) as document:
        document["serving"]["precision"] = "int8"
        document["int8"] = candidate.int8.model_dump() if candidate.int8 else {}
        document["measured"]["int8"] = {
            "images": found.images,
            "same": round(found.same, 5),
            "score_difference": round(found.difference, 6),
            **({"left_out": list(lines)} if lines else {}),
        }


def _say(what: str) -> None:
    click.echo(what, err=True)
