"""The lines that `run` prints when it is ready: a first request, and what the models know."""

import shlex
from collections.abc import Sequence

from service.host.run_options import RunOptions, is_protected
from service.models import labels
from service.models.cards import ModelCard
from service.tasks import TASKS

SHOWN_MODELS = 5  # whose classes are named when they are ready
EXAMPLE = "example.jpg"  # in the model store


def known(models: Sequence[ModelCard]) -> list[str]:
    """Return lines about the classes that the models know, of at most `SHOWN_MODELS` models."""
    lines = [f"{card.name} knows {labels.summary(card.classes)}" for card in models[:SHOWN_MODELS]]
    rest = len(models) - len(lines)
    return [*lines, f"and {rest} more models; GET /v1/models lists them"] if rest else lines


def example(options: RunOptions, models: Sequence[ModelCard]) -> str:
    """Return a command line for a first request, with the store's example image if there is one."""
    route = next(task for task in TASKS.values() if any(card.task == task.name for card in models)).endpoints[0].path
    image = options.store.resolve() / EXAMPLE
    file = f"file=@{image if image.is_file() else 'photo.jpg'}"
    key = '-H "X-API-Key: $KEY" ' if is_protected(options) else ""
    return f"curl {key}{shlex.join(['-F', file, options.address + route])}"
