"""`python -m benchmarks.costs.detectors STORE MODEL...`: detectors as they are served, beside eager PyTorch.

All variants detect in the same image, in turn, round after round. The first table has the time of an image, and the
ratio to eager PyTorch in the same round: the least, the median and the largest. An engine computes one image at a time
with all threads, so its throughput is the inverse of its time. The second table shows where the time goes: in each
graph, and between the graphs, where regions are chosen, pooled and suppressed.

`python -m benchmarks.made_models STORE MODEL...` makes models with random weights.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import click
import torch
from torch import Tensor

from service.engines import graph, multi_graph
from service.engines.openvino import conversion, parts
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.parts import CompiledPart
from service.engines.torch_cpu import multiplies_bfloat16
from service.measure.load import corpus
from service.measure.pipeline import Pipeline
from service.measure.tables import table
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.torch_head import MultiGraph, RunGraph

CPU: Final = torch.device("cpu")
SIZE: Final = (640, 480)  # of the image in pixels; the input of a published detector is then 1067 by 800
SPEEDS: Final = ("ENGINE", "PROPOSALS", "DETECTIONS", "MS", "IMAGES/S", "TIMES FASTER: LEAST", "MEDIAN", "MOST")
SHARES: Final = ("ENGINE", "PROPOSALS", "PART", "MS", "SHARE")
ALL, BETWEEN = "all", "between the graphs"


@dataclass
class Variant:
    """A detector whose graphs are timed. `times` has the milliseconds of each image by part, and of `ALL`."""

    engine: str
    proposals: int
    network: MultiGraph
    graphs: Mapping[str, RunGraph]
    threads: int
    detections: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> None:
        """Detect in an image `(1, h, w, 3)`, and add its times."""
        torch.set_num_threads(self.threads)
        spent = dict.fromkeys(self.graphs, 0.0)

        def timed(name: str, given: Tensor) -> tuple[Tensor, ...]:
            begun = time.perf_counter()
            answer = self.graphs[name](given)
            spent[name] += 1e3 * (time.perf_counter() - begun)
            return answer

        begun = time.perf_counter()
        found = self.network.run({name: partial(timed, name) for name in self.graphs}, image)
        whole = 1e3 * (time.perf_counter() - begun)
        self.detections = len(found["scores"])
        for name, each in {ALL: whole, **spent, BETWEEN: whole - sum(spent.values())}.items():
            self.times[name].append(each)


@click.command()
@click.argument("store", type=click.Path(exists=True, path_type=Path))
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@click.option("--proposals", multiple=True, type=click.IntRange(1), default=(1000, 300), show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def main(store: Path, names: tuple[str, ...], proposals: tuple[int, ...], rounds: int, threads: int) -> None:
    """Print both tables for each model."""
    image = corpus.make([SIZE], per_size=1)[0]
    for name in names:
        card = cards.read(store / name)
        card = card.model_copy(update={"serving": card.serving.model_copy(update={"threads": threads})})
        pixels = graph.to_tensor(Pipeline(card, lambda _: {}).prepare(image.content).pixels[None], CPU)
        made = variants(card, proposals, threads)
        for number in range(rounds + 1):
            for each in made:
                each(pixels)
                if number == 0:  # the first round compiles kernels
                    each.times.clear()
        click.echo(f"{name}, input {pixels.shape[2]}x{pixels.shape[1]}, {threads} threads, {rounds} rounds")
        click.echo(table(SPEEDS, [speed(each, made[0]) for each in made]))
        click.echo(table(SHARES, [row for each in made for row in shares(each)]))


def variants(card: ModelCard, proposals: Sequence[int], threads: int) -> list[Variant]:
    """Return eager PyTorch, in bfloat16 too where the processor multiplies it, and what the service runs.

    Each has each number of proposals.
    """
    reference = multi_graph.of_card(card, graph.build(card).network, CPU)
    engines: dict[str, tuple[Mapping[str, RunGraph], int]] = {"eager PyTorch, f32": (eager(reference, None), threads)}
    if multiplies_bfloat16():
        engines["eager PyTorch, bf16"] = (eager(reference, torch.bfloat16), threads)
    precision = openvino_engine.settings_of(card)["INFERENCE_PRECISION_HINT"]
    engines[f"OpenVINO, {precision}"] = (compiled(card), parts.TORCH_THREADS)
    made = []
    for count in proposals:
        network = with_proposals(card, count)
        made += [Variant(name, count, network, graphs, own) for name, (graphs, own) in engines.items()]
    return made


def eager(network: MultiGraph, half: torch.dtype | None) -> dict[str, RunGraph]:
    """Return the graphs as PyTorch runs them."""
    return {name: partial(multi_graph.run_eagerly, part.module, "cpu", half) for name, part in network.parts.items()}


def compiled(card: ModelCard) -> dict[str, RunGraph]:
    """Return the graphs as the service compiles them."""
    settings = openvino_engine.settings_of(card)
    form = conversion.fastest_form(settings["INFERENCE_PRECISION_HINT"])
    network = multi_graph.of_card(card, graph.build(card, form).network, CPU)
    core = openvino_runtime.core()
    return {
        name: CompiledPart(core.compile_model(conversion.convert_part(card, part), "CPU", settings), None)
        for name, part in network.parts.items()
    }


def with_proposals(card: ModelCard, count: int) -> MultiGraph:
    """Return what lies between the graphs of the card, with this number of proposals."""
    changed = card.model_copy(update={"network": card.network.model_copy(update={"proposals": count})})
    return multi_graph.of_card(changed, graph.skeleton(changed), CPU)


def speed(variant: Variant, first: Variant) -> tuple[str, ...]:
    """Return a row of the first table, with ratios to the `first` variant."""
    own = variant.times[ALL]
    ratios = sorted(reference / each for reference, each in zip(first.times[ALL], own, strict=True))
    middle = median(own)
    times = (
        f"{middle:.0f}",
        f"{1e3 / middle:.2f}",
        *(f"{each:.2f}" for each in (ratios[0], median(ratios), ratios[-1])),
    )
    return (variant.engine, str(variant.proposals), str(variant.detections), *times)


def shares(variant: Variant) -> list[tuple[str, ...]]:
    """Return the rows of the second table: median milliseconds of each part, and their share of the whole."""
    whole = median(variant.times[ALL])
    medians = {name: median(each) for name, each in variant.times.items() if name != ALL}
    names = (variant.engine, str(variant.proposals))
    return [(*names, name, f"{each:.0f}", f"{each / whole:.0%}") for name, each in medians.items()]


if __name__ == "__main__":
    main()
