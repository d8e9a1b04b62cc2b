"""The lines that `run` prints when it is ready: a first request, and what the models know."""

import shlex
from collections.abc import Collection, Sequence

from service.host.run_options import RunOptions, is_protected
from service.models import labels
from service.models.cards import ModelCard
from service.tasks import TASKS

SHOWN_MODELS = 5  # whose classes are named when they are ready
EXAMPLE = "example.jpg"  # in the model store
PHOTO = "photo.jpg"  # any image of the caller


def known(models: Sequence[ModelCard]) -> list[str]:
    """Return lines about the classes that the models know, of at most `SHOWN_MODELS` models."""
    lines = [f"{card.name} knows {labels.summary(card.classes)}" for card in models[:SHOWN_MODELS]]
    rest = len(models) - len(lines)
    return [*lines, f"and {rest} more models; GET /v1/models lists them"] if rest else lines


def example(options: RunOptions, models: Sequence[ModelCard]) -> str:
    """Return a command line for a first request, with the store's example image if there is one."""
    image = options.store.resolve() / EXAMPLE
    name = str(image) if image.is_file() else PHOTO
    return first_request(options.address, models, name, needs_key=is_protected(options))


def first_request(url: str, models: Collection[ModelCard], image: str = PHOTO, *, needs_key: bool) -> str:
    """Return a command line that sends an image to the service at a URL, to the first task that has a model.

    If callers need a key, it is in the variable KEY.
    """
    served = (task for task in TASKS.values() if any(card.task == task.name for card in models))
    route = next(served, next(iter(TASKS.values()))).endpoints[0].path
    key = '-H "X-API-Key: $KEY" ' if needs_key else ""
    return f"curl {key}{shlex.join(['-F', f'file=@{image}', url + route])}"
