"""`resnest-service quantise`: a model's network in int8, what that loses, and a card that asks for it."""
# ruff: noqa: PLC0415 - what a command needs is imported when it runs

import contextlib
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from service.cli.options import store
from service.config.cores import SLEEPING_THREADS
from service.errors import ServiceError
from service.host.supervisor import RunOptions, chosen
from service.imaging import decoder, preprocess
from service.imaging.decoder import ImageLimits
from service.measure.accuracy.datasets import SUFFIXES
from service.measure.tables import table
from service.models import files
from service.models.cards import CardError, Int8, ModelCard, Serving

if TYPE_CHECKING:
    from service.engines import Arrays, Engine, Pictures
    from service.measure.accuracy.agreement import Agreement

FEW = 100  # pictures, below which the ranges they cause are a matter of luck


@dataclass(frozen=True)
class Outcome:
    """Int8 beside single precision on pictures that did not calibrate it; milliseconds of a lone picture of each."""

    agreement: "Agreement"
    exact_ms: float
    int8_ms: float


@click.command()
@store
@click.argument("model")
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="A folder, with all below it, of pictures as the model will see them.",
)
@click.option("--count", type=click.IntRange(2), default=600, show_default=True, help="So many of them at the most.")
@click.option("--yes", is_flag=True, help="Write it to the card without asking.")
def quantise(store: Path, model: str, pictures: Path, count: int, *, yes: bool) -> None:
    """Make MODEL's network int8, tell what that loses, and ask whether its card shall name it.

    Every second picture calibrates it; the others tell what is lost against single precision. It is for OpenVINO on
    CPUs. To undo it put `precision = "auto"` back on the card.
    """
    os.environ |= SLEEPING_THREADS | os.environ
    from service.engines.openvino import quantise as quantising

    quantising.require_installed()
    (card,) = chosen(RunOptions(store, (model,)), _say)
    prepared = list(_prepared(card, _spread(pictures, count)))
    calibrating, judging = prepared[::2], prepared[1::2]
    if not judging:
        raise CardError(f"{pictures} has fewer than two pictures that can be read")
    few = f"; {FEW} and more would be safer" if len(calibrating) < FEW else ""
    _say(f"Calibrating {card.name} with {len(calibrating)} pictures{few}")
    with contextlib.redirect_stdout(sys.stderr):  # NNCF draws its progress there
        data = quantising.quantise(card, calibrating)
    with _placed(card, data) as candidate:
        outcome = _judged(card, candidate, judging)
        click.echo(_told(card, outcome, len(data)))
        if not yes:
            click.confirm(f"Serve {card.name} in int8 from the next start on?", abort=True)
        _write(candidate, outcome)
    _say(f"{card.folder / 'card.toml'} says so")


def _spread(folder: Path, count: int) -> list[Path]:
    """So many of the folder's pictures, from all of it alike."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    count = min(count, len(found))
    return [found[place * len(found) // count] for place in range(count)]


def _prepared(card: ModelCard, paths: Sequence[Path]) -> "Iterator[Pictures]":
    for path in paths:
        try:
            decoded = decoder.decode(path.read_bytes(), ImageLimits(), needed=preprocess.needed_side(card.input))
        except ServiceError as error:
            _say(f"Leaving out {path}: {error.code()}")
            continue
        yield preprocess.prepare(card.input, decoded.image)


@contextlib.contextmanager
def _placed(card: ModelCard, data: bytes) -> Iterator[ModelCard]:
    """The card as it would be, with its file beside it; the file goes again where it comes to nothing."""
    digest = hashlib.sha256(data).hexdigest()
    path = card.folder / f"int8-{digest[:8]}.zip"
    new = not path.exists()
    path.write_bytes(data)
    form = Int8(file=path.name, sha256=digest, made_of=str(card.checksum))
    try:
        yield card.model_copy(update={"int8": form, "serving": _serving(card, "int8")})
    except BaseException:
        if new:
            path.unlink()
        raise
    if card.int8 and card.int8.file != path.name:
        (card.folder / card.int8.file).unlink(missing_ok=True)


def _serving(card: ModelCard, precision: str) -> Serving:
    return card.serving.model_copy(update={"precision": precision})


def _judged(card: ModelCard, candidate: ModelCard, pictures: "Sequence[Pictures]") -> Outcome:
    from service.engines.openvino import engine as openvino_engine
    from service.measure.accuracy.agreement import agreement

    exact = _Timed(openvino_engine.load(card.model_copy(update={"serving": _serving(card, "fp32")})))
    coarse = _Timed(openvino_engine.load(candidate))
    found = agreement((exact(picture), coarse(picture)) for picture in pictures)
    return Outcome(found, exact.median_ms, coarse.median_ms)


class _Timed:
    """An engine for lone pictures, that remembers how long each took."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._taken: list[float] = []

    def __call__(self, picture: "Pictures") -> "Arrays":
        begun = time.perf_counter()
        answers = self._engine(picture[None])
        self._taken.append(time.perf_counter() - begun)
        return answers

    @property
    def median_ms(self) -> float:
        return median(self._taken) * 1e3


def _told(card: ModelCard, outcome: Outcome, size: int) -> str:
    same = "SAME LABEL" if card.task == "classification" else "SAME PIXELS"
    head = ("AGAINST SINGLE PRECISION", same, "MEAN SCORE DIFFERENCE", "MS A PICTURE", "BEFORE", "FILE")
    row = (
        f"{outcome.agreement.pictures} pictures",
        f"{100 * outcome.agreement.same:.2f} %",
        f"{outcome.agreement.difference:.5f}",
        f"{outcome.int8_ms:.1f}",
        f"{outcome.exact_ms:.1f}",
        f"{size / 1e6:.0f} MB",
    )
    return table(head, [row])


def _write(candidate: ModelCard, outcome: Outcome) -> None:
    """The card's own text with what is new."""
    import tomlkit

    path = candidate.folder / "card.toml"
    document: Any = tomlkit.parse(path.read_text(encoding="utf-8"))
    document.setdefault("serving", tomlkit.table())["precision"] = "int8"
    document["int8"] = candidate.int8.model_dump() if candidate.int8 else {}
    found = outcome.agreement
    document.setdefault("measured", tomlkit.table())["int8"] = {
        "pictures": found.pictures,
        "same": round(found.same, 5),
        "score_difference": round(found.difference, 6),
    }
    files.write(path, tomlkit.dumps(document).encode(), mode=stat.S_IMODE(path.stat().st_mode))


def _say(what: str) -> None:
    click.echo(what, err=True)
