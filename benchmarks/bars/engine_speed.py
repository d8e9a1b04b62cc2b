"""Measure a model's engine alone, by the interpreter and the code of any tree of this project.

`python engine_speed.py CARD_FOLDER WIDTHxHEIGHT BATCH` loads the engine and writes `ready`. For each line of standard
input it then runs batches for as many seconds as the line says. It answers with one JSON object: images, seconds, and
the CPU seconds of this process. So two trees can take turns. Of this project it imports only what PYTHONPATH names.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

CARD_MODULES = ("service.models.cards", "service.cards")  # since decision 0047, and before
WARM_UP = 2  # batches


def card_module() -> str:
    """Return the module of cards that the tree has. Raises `ModuleNotFoundError` if the layout is another.

    The files decide. An import would also find the module of the tree that is installed in this environment.
    """
    for package in importlib.import_module("service").__path__:
        for name in CARD_MODULES:
            if Path(package).parent.joinpath(*name.split(".")).with_suffix(".py").is_file():
                return name
    raise ModuleNotFoundError(CARD_MODULES[0])


def load(folder: Path) -> Any:
    """Return the engine of a card. Raises `ModuleNotFoundError` in a tree that has another layout."""
    cards: Any = importlib.import_module(card_module())
    engines: Any = importlib.import_module("service.engines")
    return engines.load(cards.read(folder), None)


def run(engine: Any, images: Any, seconds: float) -> dict[str, float]:
    """Run batches for about `seconds`, at least one."""
    begun, cpu = time.perf_counter(), time.process_time()
    batches = 0
    while not batches or time.perf_counter() < begun + seconds:
        engine(images)
        batches += 1
    return {
        "images": batches * len(images),
        "seconds": time.perf_counter() - begun,
        "cpu_s": time.process_time() - cpu,
    }


def main(folder: str, size: str, batch: str) -> None:
    """Load the engine, then run as often as standard input asks."""
    numpy: Any = importlib.import_module("numpy")
    width, _, height = size.partition("x")
    shape = (int(batch), int(height), int(width), 3)
    images = numpy.random.default_rng(0).integers(0, 256, shape, dtype=numpy.uint8)
    engine = load(Path(folder))
    for _ in range(WARM_UP):
        engine(images)
    print("ready", flush=True)  # noqa: T201 - the protocol
    for line in sys.stdin:
        print(json.dumps(run(engine, images, float(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
