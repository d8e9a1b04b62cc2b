"""`python -m benchmarks.costs.network_forms STORE MODEL...`: the time of each form of a network.

The forms are timed in turn, round after round, so that a disturbance meets all of them. The last columns are ratios to
the reference form in the same round: the least, the median and the largest.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from service.engines import graph
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.measure.tables import table
from service.models import cards
from service.models.cards import ModelCard
from service.networks.inference_form import REFERENCE, Form

FORMS = {
    "reference": REFERENCE,
    "splits": Form(fold=True, split_attention=True),
    "splits, also before": conversion.FORM,
    "splits, taps": replace(conversion.FORM, taps=True),
}
HEAD = ("ENGINE", "BATCH", "FORM", "MS", "TIMES FASTER: LEAST", "MEDIAN", "MOST")

Images = npt.NDArray[np.uint8]
Run = Callable[[Images], Any]


@click.command()
@click.argument("store", type=click.Path(exists=True, path_type=Path))
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@click.option("--batch", "batches", type=click.IntRange(1), multiple=True, default=(1, 2, 4, 8), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--precision", type=click.Choice(["f32", "bf16"]), default="bf16", show_default=True)
@click.option(
    "--sides", type=(int, int), default=(392, 520), show_default=True, help="Height and width for a segmenter."
)
def main(
    store: Path,
    names: tuple[str, ...],
    batches: tuple[int, ...],
    rounds: int,
    threads: int,
    precision: str,
    sides: tuple[int, int],
) -> None:
    """Print a table for each model. Batches of a segmenter have one image."""
    torch.set_num_threads(threads)
    for name in names:
        card = cards.read(store / name)
        click.echo(f"{name}, {precision}, {threads} threads, {torch.cpu.get_capabilities().get('amx_bf16')=}")
        rows: list[tuple[str, ...]] = []
        for engine, made in (("openvino", openvino(card, precision, threads)), ("torch", eager(card, precision))):
            for images in samples(card, batches, sides):
                rows += measured(engine, made, images, rounds)
        click.echo(table(HEAD, rows))


def samples(card: ModelCard, batches: tuple[int, ...], sides: tuple[int, int]) -> list[Images]:
    """Return a batch of noise for each size; for a segmenter, one image with these sides."""
    random = np.random.default_rng(0)
    if card.task == "segmentation":
        return [random.integers(0, 256, (1, *sides, 3), np.uint8)]
    side = card.input.square
    return [random.integers(0, 256, (count, side, side, 3), np.uint8) for count in batches]


def openvino(card: ModelCard, precision: str, threads: int) -> dict[str, Run]:
    """Return each form compiled for any batch size, with all threads for one batch."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    core = openvino_runtime.core()
    made: dict[str, Run] = {}
    for name, form in FORMS.items():
        compiled = core.compile_model(conversion.convert(card, form), "CPU", settings)
        made[name] = compiled.create_infer_request().infer
    return {name: lambda images, infer=infer: infer([images]) for name, infer in made.items()}  # type: ignore[misc]


def eager(card: ModelCard, precision: str) -> dict[str, Run]:
    """Return each form in PyTorch."""

    def run(module: graph.Graph, images: Images) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            module(torch.from_numpy(images))

    modules = {name: graph.build(card, form) for name, form in FORMS.items()}
    return {name: lambda images, module=module: run(module, images) for name, module in modules.items()}  # type: ignore[misc]


def measured(engine: str, forms: dict[str, Run], images: Images, rounds: int) -> list[tuple[str, ...]]:
    """Return a row of the table for each form."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, run in forms.items():
            begun = time.perf_counter()
            run(images)
            if number:  # the first round compiles kernels
                times[name].append((time.perf_counter() - begun) * 1e3)
    rows: list[tuple[str, ...]] = []
    for name, own in times.items():
        ratios = [reference / each for reference, each in zip(times["reference"], own, strict=True)]
        least, middle, most = min(ratios), median(ratios), max(ratios)
        rows.append(
            (engine, str(len(images)), name, f"{median(own):.1f}", f"{least:.2f}", f"{middle:.2f}", f"{most:.2f}")
        )
    return rows


if __name__ == "__main__":
    main()
