"""What `benchmarks.bars` gives its programs: a model by the environment, and a folder of uploads."""

import os
from pathlib import Path

from service.measure.load import corpus
from service.models import cards
from service.models.cards import ModelCard


def card() -> ModelCard:
    """Return the card that BENCH_STORE and BENCH_MODEL name. Raise `CardError`."""
    return cards.read(Path(os.environ["BENCH_STORE"]) / os.environ["BENCH_MODEL"])


def uploads(folder: str) -> list[bytes]:
    """Return the files of a folder, in the order of their names."""
    return [each.content for each in corpus.read(Path(folder))]
