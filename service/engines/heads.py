"""The torch code of a card's task, imported when a worker needs it."""

import importlib

from service.models.cards import ModelCard
from service.tasks import task_of
from service.tasks.torch_head import TorchHead


def head_of(card: ModelCard) -> TorchHead:
    """Return the torch code of a card's task. Raises `CardError` for a task that is not registered."""
    head: TorchHead = importlib.import_module(task_of(card).head).HEAD
    return head
