"""The registry of tasks. A new task is one folder here and one entry in `TASKS`."""

from typing import Any, Final

from service.models.cards import CardError, ModelCard
from service.tasks.base import PREDICT, Endpoint, Operation, Task
from service.tasks.classification.task import CLASSIFICATION
from service.tasks.detection.task import DETECTION
from service.tasks.segmentation.task import SEGMENTATION

TASKS: Final[dict[str, Task]] = {task.name: task for task in (CLASSIFICATION, SEGMENTATION, DETECTION)}


def task_of(card: ModelCard) -> Task:
    """Return the task of a card. Raises `CardError` where there is none of that name."""
    task = TASKS.get(card.task)
    if task is None:
        raise CardError(f"{card.name}: task: there is no task {card.task!r}; the tasks are {', '.join(TASKS)}")
    return task


def task_of_network(name: str, library: str) -> Task:
    """Return the task of a network by its name, as a card has it, and its library."""
    named = (task for task in TASKS.values() if library == "own" and task.networks and task.networks.match(name))
    return next(named, next(task for task in TASKS.values() if task.networks is None))


def endpoints() -> dict[str, Endpoint[Any]]:
    """Return the endpoints of all tasks by name."""
    return {endpoint.name: endpoint for task in TASKS.values() for endpoint in task.endpoints}


def parameter_names() -> frozenset[str]:
    """Return the names that the parameters of all endpoints have in a URL."""
    return frozenset(name for endpoint in endpoints().values() for name in endpoint.query.model_fields)


def operation_of(card: ModelCard, name: str) -> Operation:
    """Return an operation of a card's task. Raises `KeyError` where the task has none of that name."""
    return TASKS[card.task].by_name[name]


def can_run(card: ModelCard, name: str) -> bool:
    """Return whether a model can do the operation of that name."""
    operation = TASKS[card.task].by_name.get(name)
    return operation is not None and operation.runs_on(card)


def queue_name(card: ModelCard, name: str) -> str:
    """Return the queue in which an image waits for an operation. No model's name has a space."""
    return f"{card.server_name} {name}" if operation_of(card, name).has_own_queue else card.server_name


def own_queue_operations(card: ModelCard) -> list[Operation]:
    """Return the long operations that a model can do, each of which has a queue of its own."""
    return [each for each in TASKS[card.task].operations_of(card) if each.has_own_queue]


__all__ = [
    "PREDICT",
    "TASKS",
    "can_run",
    "endpoints",
    "operation_of",
    "own_queue_operations",
    "parameter_names",
    "queue_name",
    "task_of",
    "task_of_network",
]
