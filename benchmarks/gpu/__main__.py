"""`python -m benchmarks.gpu` or `make bench-gpu`: measure the engine and the service on a CUDA device.

It compares the answers with those of PyTorch in single precision on the CPU. It measures the limits of the device, and
the share of them that the engine reaches at each batch size. Then it measures the service on this host and names its
bottleneck. `--device cpu` runs the same program without a GPU, to test it; its figures mean nothing.
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
from benchmarks.gpu.service import ServiceResult
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

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
DEVICES: dict[str, Callable[[str], Device]] = {"cuda": Cuda, "cpu": lambda _: Cpu()}
SIZES = {"cuda": (8192, 1024), "cpu": (256, 4)}  # the side of a matrix, and the megabytes of a copy
IMAGES_PER_MASK = 5  # a segmenter takes about as many times longer per image
NO_DEVICE = "There is no CUDA device. `--device cpu` runs this program without one, to test it."

HEAD = ("IMAGES", "MS", "IMAGES/S", "OF MATRICES", "OF MEMORY")


@dataclass(frozen=True)
class GpuOptions:
    """The options of a run."""

    device: Device
    precision: str
    batch_size: int
    workers: int
    callers: tuple[int, ...]
    seconds: float
    images: int

    def engine(self, card: ModelCard) -> CudaEngine:
        """Load the engine of the card on the device."""
        return cuda_engine.load(self.card(card), str(self.device.torch_device), lambda _: self.device)

    def card(self, card: ModelCard) -> ModelCard:
        """Return the card with the precision and, for a classifier, the batch size of the options."""
        changes: dict[str, Any] = {"precision": self.precision}
        if head_of(card).has_fixed_size:
            changes["batch_size"] = self.batch_size
        return card.model_copy(update={"serving": card.serving.model_copy(update=changes)})

    @property
    def dtype(self) -> torch.dtype:
        """The type in which the engine computes."""
        return cuda_engine.PRECISIONS.get(self.precision, self.device.fastest_dtype)


@click.command()
@click.option("--device", type=click.Choice(list(DEVICES)), default="cuda", show_default=True)
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--model", "models", multiple=True, default=tuple(made_models.MADE), show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="For classifiers.")
@click.option(
    "--workers", type=click.IntRange(1), default=2, show_default=True, help="Worker processes of the service."
)
@click.option("--callers", default="16,64,256", show_default=True, help="Concurrent callers of the service.")
@click.option(
    "--seconds", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Seconds of each measurement."
)
@click.option(
    "--image-folder",
    "images",
    type=click.IntRange(IMAGES_PER_MASK),
    default=200,
    show_default=True,
    help="Images whose answers are compared.",
)
@click.option("--http/--no-http", default=True, show_default=True, help="Measure the service too.")
@click.option(
    "--trained/--no-trained", default=True, show_default=True, help="Compare the starter models' answers too."
)
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    device: str, store: Path, models: Sequence[str], into: Path, *, http: bool, trained: bool, **given: Any
) -> None:
    """Measure the engine of GPUs. Exit with 1 without a CUDA device, if answers differ, or if the service fails."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException(NO_DEVICE)
    options = GpuOptions(DEVICES[device](device), **{**given, "callers": tuple(map(int, given["callers"].split(",")))})
    made_models.make(store, [each for each in models if each in made_models.MADE])
    side, megabytes = SIZES[device]
    seconds = min(options.seconds, 1)
    limits = roofline.measure(options.device, options.dtype, side=side, megabytes=megabytes, seconds=seconds)
    click.echo(f"{options.device.name}, {NAMES[options.dtype]}: {limits}")
    document: dict[str, Any] = {
        **results.head("gpu"),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda},
        "device": {"name": options.device.name, "precision": NAMES[options.dtype], **dataclasses.asdict(limits)},
        "agreement": [agreement(card, options.engine(card), options) for card in starters() if trained],
        "models": [],
    }
    for model in models:
        document["models"].append(_measure_model(store, model, limits, options, http=http))
        write(into, document)
    failed = failures(document)
    click.echo("\n".join(f"FAILED: {each}" for each in failed))
    sys.exit(1 if failed else 0)


def starters() -> Iterator[ModelCard]:
    """Return the cards of the starter models. They are trained, so their answers show the effect of rounding better."""
    return (cards.read(made_models.PUBLISHED / each) for each in made_models.STARTERS)


def _measure_model(store: Path, model: str, limits: Ceilings, options: GpuOptions, *, http: bool) -> dict[str, Any]:
    """Measure one model, and print the results."""
    card = cards.read(store / model)
    engine = options.engine(card)
    compared, by_size = agreement(card, engine, options), rates(card, engine, limits, options)
    document: dict[str, Any] = {"model": model, "agreement": compared, "engine": by_size}
    click.echo(f"\n{model}\n{table(HEAD, rows(by_size))}")
    del engine  # free its memory, which the engines of the service need
    options.device.release_memory()
    if http:
        document["http"] = through_http(store, options.card(card), by_size, options)
    return document


def agreement(card: ModelCard, engine: CudaEngine, options: GpuOptions) -> dict[str, Any]:
    """Compare the engine's answers with those of PyTorch in single precision on the CPU, in batches of many sizes."""
    exact = card.serving.model_copy(update={"precision": "fp32"})
    reference = torch_cpu.load(card.model_copy(update={"serving": exact}), "cpu")
    ours: list[BatchArrays] = []
    theirs: list[BatchArrays] = []
    for batch in batches(card, options):
        ours.append(engine(batch))
        theirs.append(reference(batch))
    found = numerics.compare(ours, theirs, scoring_of(card.task))
    holds = found.holds(NAMES[options.dtype])
    click.echo(
        f"{card.name}: of {found.images} images {found.equal:.2%} equal, scores {found.difference:.1e} apart"
        f"{'' if holds else ' - TOO FAR'}"
    )
    return {"model": card.name, **dataclasses.asdict(found), "holds": holds}


def batches(card: ModelCard, options: GpuOptions) -> Iterator[Images]:
    """Yield batches of preprocessed images. A segmenter's images have many shapes, so each is a batch."""
    count = options.images if head_of(card).has_fixed_size else options.images // IMAGES_PER_MASK
    prepared = [preprocess.prepare(card.input, each) for each in numerics.parts(count)]
    sizes = cycle([1, 3, options.batch_size, 2, 7] if head_of(card).has_fixed_size else [1])
    while prepared:
        size = next(sizes)
        yield np.stack(prepared[:size])
        del prepared[:size]


def rates(card: ModelCard, engine: CudaEngine, limits: Ceilings, options: GpuOptions) -> list[dict[str, float]]:
    """Return images per second at each batch size, copies both ways included, and the shares of the device's limits."""
    largest = options.card(card).serving.batch_size
    side = card.input.square
    found = []
    for count in batch_sizes.sizes(largest):
        images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        taken: list[float] = []
        end = time.perf_counter() + options.seconds
        while len(taken) < roofline.MIN_RUNS or time.perf_counter() < end:
            begun = time.perf_counter()
            engine(images)
            taken.append(time.perf_counter() - begun)
        seconds = float(np.median(taken))
        shares = roofline.shares(limits, roofline.work(card, count, options.dtype), seconds)
        found.append({"images": count, "ms": seconds * 1e3, "per_s": count / seconds, **shares})
    return found


def rows(found: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """Return a row for each batch size."""
    return [
        (
            f"{each['images']:.0f}",
            f"{each['ms']:.2f}",
            f"{each['per_s']:.0f}",
            f"{each['matrix_share']:.1%}",
            f"{each['memory_share']:.1%}",
        )
        for each in found
    ]


def through_http(
    store: Path, card: ModelCard, engine: Sequence[dict[str, float]], options: GpuOptions
) -> dict[str, Any]:
    """Measure the service against the engine's best rate. If it fails, return the reason."""
    best = max(each["per_s"] for each in engine)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        served = service.store(
            store,
            Path(folder),
            card.name,
            batch_size=card.serving.batch_size,
            precision=options.precision,
            workers=options.workers,
        )
        try:
            found = service.measure(served, card.name, options.callers, options.seconds, best)
        except (ContestError, OSError) as error:
            return {"failed": str(error)}
    _print(found)
    return found.document()


def _print(found: ServiceResult) -> None:
    for part in (report.loads, report.stages, report.processes):
        click.echo(table(*part([found.trial])))
    click.echo(f"{found.share:.2f} of the engine's rate (target: {service.TARGET_SHARE}). {found.bottleneck}")


def failures(document: dict[str, Any]) -> list[str]:
    """Return a sentence for each comparison or measurement that failed."""
    compared = [*document["agreement"], *(each["agreement"] for each in document["models"])]
    found = [f"{each['model']} gives other answers than in single precision" for each in compared if not each["holds"]]
    return found + [each["http"]["failed"] for each in document["models"] if "failed" in each.get("http", {})]


def write(into: Path, document: dict[str, Any]) -> None:
    """Write the result files with the results so far."""
    results.write(into, "gpu", document, page(document))


def page(document: dict[str, Any]) -> str:
    """Return the results as Markdown: host and command, then each model's rates, its service, and all agreements."""
    device = document["device"]
    limits = Ceilings(*(device[each.name] for each in dataclasses.fields(Ceilings)))
    host = document["host"]
    parts = [
        f"`{document['command']}`, {document['measured_at']}, {device['name']}, {device['precision']}, "
        f"{host['cores']} cores of {host['processor']}, torch {document['versions']['torch']}: {limits}.\n"
    ]
    for each in document["models"]:
        parts.append(f"{each['model']}:\n")
        parts.append(markdown([name.lower() for name in HEAD], rows(each["engine"])))
        parts += [f"{_through(each['http'])}\n"] if "http" in each else []
    compared = [*document["agreement"], *(each["agreement"] for each in document["models"])]
    lines = [
        (each["model"], str(each["images"]), f"{each['equal']:.2%}", f"{each['difference']:.1e}") for each in compared
    ]
    parts.append(markdown(("against fp32 on the CPU", "images", "equal", "scores apart"), lines))
    return "\n".join(parts)


def _through(http: dict[str, Any]) -> str:
    if "failed" in http:
        return f"Through HTTP: {http['failed']}"
    rate = http["summary"]["images_per_s"]
    share = f"{http['share']:.2f} of the engine's rate"
    return f"Through HTTP, {http['load']}: {rate:.0f} images/s, {share}. {http['bottleneck']}"


if __name__ == "__main__":
    main()
