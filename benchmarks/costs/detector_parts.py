"""`python -m benchmarks.costs.detector_parts NETWORK`: the time of each graph of a detector in OpenVINO.

The trunk runs on an image of 4:3 at the published size, the box heads on several numbers of proposals, and the mask
heads on several numbers of boxes. All take turns, and the median of the repeats counts. The weights are random: they
do not change the time.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import torch

from service import networks
from service.engines import multi_graph
from service.engines.openvino import conversion
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.parts import CompiledPart
from service.models import cards
from service.models.cards import ModelCard
from service.networks.detection.detector import Detector
from service.networks.inference_form import rewrite
from service.tasks.torch_head import GraphPart
from tests.networks.sharing import give, random_state

SIZE: Final = (800, 1088)  # of an image of 4:3 with a short side of 800, padded to multiples of 32
PROPOSALS: Final = (1000, 300, 100)
BOXES: Final = (100, 10)
STORE: Final = Path("model_store")


@click.command()
@click.argument("network")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--height", type=click.IntRange(32), default=SIZE[0], show_default=True)
@click.option("--width", type=click.IntRange(32), default=SIZE[1], show_default=True)
def main(network: str, repeats: int, height: int, width: int) -> None:
    """Print the milliseconds of each graph of the published NETWORK."""
    card = cards.read(STORE / network)
    works = dict(jobs(card, (height, width)))
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(1e3 * (time.perf_counter() - started))
    for name, each in times.items():
        click.echo(f"{network} {name}: {statistics.median(each):.0f} ms ({min(each):.0f} to {max(each):.0f})")


def jobs(card: ModelCard, size: tuple[int, int]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield a name and a function without arguments for each graph and number of its inputs."""
    with torch.device("meta"):
        module = networks.build(**card.network.arguments())
    give(random_state(module), module)
    if not isinstance(module, Detector):
        raise click.ClickException(f"{card.name} is not a detector")
    rewrite(module, conversion.fastest_form())
    for name, part in multi_graph.of_card(card, module, torch.device("cpu")).parts.items():
        graph = compiled(card, part)
        if name == "trunk":
            yield f"trunk {size[0]}x{size[1]}", partial(graph, torch.rand(1, 3, *size))
            continue
        for count in PROPOSALS if name.startswith("box") else BOXES:
            yield f"{name} {count}", partial(graph, torch.rand(count, *part.example[1:]))


def compiled(card: ModelCard, part: GraphPart) -> CompiledPart:
    """Return one graph, compiled with the settings of the service."""
    model = conversion.convert_part(card, part)
    return CompiledPart(openvino_runtime.core().compile_model(model, "CPU", openvino_engine.settings_of(card)), None)


if __name__ == "__main__":
    main()
