"""`python -m benchmarks.gpu`, or `make bench-gpu`: the engine on a CUDA device, from its answers to its rate by HTTP.

It holds the answers against PyTorch's in single precision on the CPU, measures what the device can do and what share of
that the engine takes at each batch size, then what the service gives on this host and what holds it back.
`--device cpu` runs the same program where there is no GPU, to test it: its figures say nothing.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks import made_models, results
from benchmarks.contest.runner import ContestError
from benchmarks.gpu import roofline, service
from benchmarks.gpu.roofline import Ceilings
from benchmarks.gpu.service import Served
from benchmarks.scoreboard import markdown
from service.engines import Images, torch_cpu
from service.engines.cuda import batch_sizes
from service.engines.cuda import engine as cuda_engine
from service.engines.cuda.device import Cpu, Cuda, Device
from service.engines.cuda.engine import CudaEngine
from service.engines.heads import head_of
from service.imaging import preprocess
from service.measure.accuracy.scoring import scoring_of
from service.measure.load import report
from service.measure.tables import table
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics

TRAINED = ("starter-classifier", "starter-segmenter")  # a random network's answers say less about rounding
NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
DEVICES: dict[str, Callable[[str], Device]] = {"cuda": Cuda, "cpu": lambda _: Cpu()}
SIZES = {"cuda": (8192, 1024), "cpu": (256, 4)}  # a matrix's side, and the megabytes of a copy
MASKS = 5  # pictures of a classifier to one of a segmenter, which takes that much longer
NO_DEVICE = "There is no CUDA device here, so there is nothing to measure; `--device cpu` runs this program to test it."

HEAD = ("PICTURES", "MS", "PICTURES/S", "OF MATRICES", "OF MEMORY")


@dataclass(frozen=True)
class Given:
    """What is asked for."""

    device: Device
    precision: str
    batch_size: int
    workers: int
    callers: tuple[int, ...]
    seconds: float
    pictures: int

    def engine(self, card: ModelCard) -> CudaEngine:
        """The card's, on the device."""
        return cuda_engine.load(self.card(card), str(self.device.torch_device), lambda _: self.device)

    def card(self, card: ModelCard) -> ModelCard:
        """The card with the precision and, for a classifier, the batch size that are asked for."""
        changes: dict[str, Any] = {"precision": self.precision}
        if head_of(card).has_fixed_size:
            changes["batch_size"] = self.batch_size
        return card.model_copy(update={"serving": card.serving.model_copy(update=changes)})

    @property
    def dtype(self) -> torch.dtype:
        """What the engine computes in."""
        return cuda_engine.PRECISIONS.get(self.precision, self.device.fastest_dtype)


@click.command()
@click.option("--device", type=click.Choice(list(DEVICES)), default="cuda", show_default=True)
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--model", "models", multiple=True, default=tuple(made_models.MADE), show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Of a classifier.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes, through HTTP.")
@click.option("--callers", default="16,64,256", show_default=True, help="At a time, through HTTP.")
@click.option("--seconds", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Of each measurement.")
@click.option("--pictures", type=click.IntRange(MASKS), default=200, show_default=True, help="To compare answers of.")
@click.option("--http/--no-http", default=True, show_default=True)
@click.option(
    "--trained/--no-trained", default=True, show_default=True, help="Compare the starter models' answers too."
)
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    device: str, store: Path, models: Sequence[str], into: Path, *, http: bool, trained: bool, **asked: Any
) -> None:
    """Measure the engine of GPUs. Exits with 1 without a CUDA device, and where answers differ or the service fails."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(NO_DEVICE)
    given = Given(DEVICES[device](device), **{**asked, "callers": tuple(map(int, asked["callers"].split(",")))})
    made_models.make(store, [each for each in models if each in made_models.MADE])
    side, megabytes = SIZES[device]
    found = roofline.measure(given.device, given.dtype, side=side, megabytes=megabytes, seconds=min(given.seconds, 1))
    click.echo(f"{given.device.name}, {NAMES[given.dtype]}: {found.told()}")
    told: dict[str, Any] = {
        **results.head("gpu"),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda},
        "device": {"name": given.device.name, "precision": NAMES[given.dtype], **dataclasses.asdict(found)},
        "agreement": [agree(card, given.engine(card), given) for card in starters() if trained],
        "models": [],
    }
    for model in models:
        told["models"].append(_of(store, model, found, given, http=http))
        write(into, told)
    failed = failures(told)
    click.echo("\n".join(f"FAILED: {each}" for each in failed))
    sys.exit(1 if failed else 0)


def starters() -> Iterator[ModelCard]:
    """The models that come with the project."""
    return (cards.read(made_models.PUBLISHED / each) for each in TRAINED)


def _of(store: Path, model: str, found: Ceilings, given: Given, *, http: bool) -> dict[str, Any]:
    """All about one model, said as it is found."""
    card = cards.read(store / model)
    engine = given.engine(card)
    near, each_size = agree(card, engine, given), rates(card, engine, found, given)
    told: dict[str, Any] = {"model": model, "agreement": near, "engine": each_size}
    click.echo(f"\n{model}\n{table(HEAD, rows(each_size))}")
    del engine  # with its memory, which the service's own need
    given.device.release_memory()
    if http:
        told["http"] = through_http(store, given.card(card), each_size, given)
    return told


def agree(card: ModelCard, engine: CudaEngine, given: Given) -> dict[str, Any]:
    """How near the engine's answers are to PyTorch's in single precision on the CPU, in batches of many sizes."""
    exact = card.serving.model_copy(update={"precision": "fp32"})
    reference = torch_cpu.load(card.model_copy(update={"serving": exact}), "cpu")
    ours: list[BatchArrays] = []
    theirs: list[BatchArrays] = []
    for batch in batches(card, given):
        ours.append(engine(batch))
        theirs.append(reference(batch))
    found = numerics.compare(ours, theirs, scoring_of(card.task))
    holds = found.holds(NAMES[given.dtype])
    click.echo(
        f"{card.name}: of {found.images} pictures {found.equal:.2%} equal, scores {found.difference:.1e} apart"
        f"{'' if holds else ' - TOO FAR'}"
    )
    return {"model": card.name, **dataclasses.asdict(found), "holds": holds}


def batches(card: ModelCard, given: Given) -> Iterator[Images]:
    """The pictures as the card's network takes them; a segmenter's have many shapes, and come one by one."""
    count = given.pictures if head_of(card).has_fixed_size else given.pictures // MASKS
    prepared = [preprocess.prepare(card.input, each) for each in numerics.parts(count)]
    sizes = cycle([1, 3, given.batch_size, 2, 7] if head_of(card).has_fixed_size else [1])
    while prepared:
        size = next(sizes)
        yield np.stack(prepared[:size])
        del prepared[:size]


def rates(card: ModelCard, engine: CudaEngine, found: Ceilings, given: Given) -> list[dict[str, float]]:
    """Pictures a second at each batch size, with the copies both ways, and the shares of what the device can do."""
    largest = given.card(card).serving.batch_size
    side = card.input.square
    told = []
    for count in batch_sizes.sizes(largest):
        pictures = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        taken: list[float] = []
        ends = time.perf_counter() + given.seconds
        while len(taken) < roofline.LEAST_RUNS or time.perf_counter() < ends:
            begun = time.perf_counter()
            engine(pictures)
            taken.append(time.perf_counter() - begun)
        seconds = float(np.median(taken))
        shares = roofline.shares(found, roofline.work(card, count, given.dtype), seconds)
        told.append({"pictures": count, "ms": seconds * 1e3, "per_s": count / seconds, **shares})
    return told


def rows(found: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """A row a batch size."""
    return [
        (
            f"{each['pictures']:.0f}",
            f"{each['ms']:.2f}",
            f"{each['per_s']:.0f}",
            f"{each['matrix_share']:.1%}",
            f"{each['memory_share']:.1%}",
        )
        for each in found
    ]


def through_http(store: Path, card: ModelCard, engine: Sequence[dict[str, float]], given: Given) -> dict[str, Any]:
    """What the service gives, of the engine's best rate; where it fails, why."""
    best = max(each["per_s"] for each in engine)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        served = service.store(
            store,
            Path(folder),
            card.name,
            batch_size=card.serving.batch_size,
            precision=given.precision,
            workers=given.workers,
        )
        try:
            found = service.measure(served, card.name, given.callers, given.seconds, best)
        except (ContestError, OSError) as error:
            return {"failed": str(error)}
    _say(found)
    return found.told()


def _say(found: Served) -> None:
    for part in (report.loads, report.stages, report.processes):
        click.echo(table(*part([found.trial])))
    click.echo(f"{found.share:.2f} of the engine's rate (aim: {service.AIM}). {found.bound}")


def failures(told: dict[str, Any]) -> list[str]:
    """What is not as it must be, a sentence each."""
    compared = [*told["agreement"], *(each["agreement"] for each in told["models"])]
    found = [f"{each['model']} answers otherwise than in single precision" for each in compared if not each["holds"]]
    return found + [each["http"]["failed"] for each in told["models"] if "failed" in each.get("http", {})]


def write(into: Path, told: dict[str, Any]) -> None:
    """The files, as far as it has come."""
    results.write(into, "gpu", told, document(told))


def document(told: dict[str, Any]) -> str:
    """The Markdown: where and how, then each model's agreement, rates and share through HTTP."""
    device = told["device"]
    limits = Ceilings(*(device[each.name] for each in dataclasses.fields(Ceilings)))
    host = told["host"]
    parts = [
        f"`{told['command']}`, {told['measured_at']}, {device['name']}, {device['precision']}, "
        f"{host['cores']} cores of {host['processor']}, torch {told['versions']['torch']}: {limits.told()}.\n"
    ]
    for each in told["models"]:
        parts.append(f"{each['model']}:\n")
        parts.append(markdown([name.lower() for name in HEAD], rows(each["engine"])))
        parts += [f"{_through(each['http'])}\n"] if "http" in each else []
    compared = [*told["agreement"], *(each["agreement"] for each in told["models"])]
    lines = [
        (each["model"], str(each["images"]), f"{each['equal']:.2%}", f"{each['difference']:.1e}") for each in compared
    ]
    parts.append(markdown(("against fp32 on the CPU", "pictures", "equal", "scores apart"), lines))
    return "\n".join(parts)


def _through(http: dict[str, Any]) -> str:
    if "failed" in http:
        return f"Through HTTP: {http['failed']}"
    rate = http["summary"]["pictures_per_s"]
    return f"Through HTTP, {http['load']}: {rate:.0f} pictures/s, {http['share']:.2f} of the engine's. {http['bound']}"


if __name__ == "__main__":
    main()
