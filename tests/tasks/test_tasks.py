"""The registry of tasks and their operations."""

import importlib
from pathlib import Path

import pytest

from service import networks
from service.models import cards
from service.models.cards import CardError
from service.tasks import PREDICT, TASKS, can_run, endpoints, operation_of, queue_name, task_of, task_of_network

STORE = Path(__file__).parents[2] / "model_store"
MULTISCALE = "predict_multiscale"


def test_every_task_answers_and_every_question_is_some_tasks() -> None:
    assert all(task.name == name and task.operations[0].name == PREDICT for name, task in TASKS.items())
    assert all(len(task.by_name) == len(task.operations) for task in TASKS.values())


def test_the_tasks_do_not_claim_the_same_paths_operations_or_networks() -> None:
    paths = [endpoint.path for task in TASKS.values() for endpoint in task.endpoints]

    assert len(paths) == len(set(paths)) == len(endpoints())
    for task in TASKS.values():
        names = [operation.name for operation in task.operations]
        assert len(names) == len(set(names))
    assert len([task for task in TASKS.values() if task.networks is None]) <= 1


@pytest.mark.parametrize("name", TASKS)
def test_a_head_has_the_operations_of_its_task_after_predict(name: str) -> None:
    head = importlib.import_module(TASKS[name].head).HEAD

    assert list(head.operations) == [operation.name for operation in TASKS[name].operations[1:]]


def test_only_the_best_mask_has_an_input_a_cost_and_a_lane_of_its_own() -> None:
    segmenter = cards.read(STORE / "starter-segmenter")
    for operation in task_of(segmenter).operations:
        own = operation.name == MULTISCALE
        assert can_run(segmenter, operation.name)
        assert (operation.input(segmenter) == segmenter.input) is not own
        assert (operation.cost(segmenter) == 1) is not own
        assert (queue_name(segmenter, operation.name) == segmenter.name) is not own
    best = operation_of(segmenter, MULTISCALE).input(segmenter)
    assert (best.profile, best.size) == ("whole", 2048)


def test_a_card_of_an_unknown_task_is_refused_with_the_tasks_there_are() -> None:
    card = cards.read(STORE / "starter-segmenter").model_copy(update={"task": "depth"})

    with pytest.raises(CardError, match="there is no task 'depth'; the tasks are classification, segmentation, d"):
        task_of(card)


def test_a_model_cannot_run_another_tasks_operation() -> None:
    assert not can_run(cards.read(STORE / "starter-segmenter"), "embed")


def test_a_networks_name_says_which_task_it_is_for() -> None:
    heads = tuple(f"{head}_" for head in networks.SEGMENTATION_HEADS)
    for name in networks.names():
        task = "segmentation" if name.startswith(heads) else "detection" if "rcnn" in name else "classification"
        assert task_of_network(name, "own").name == task
    assert task_of_network("fcn_of_another_library", "timm").name == "classification"


def test_every_endpoint_is_known_by_the_last_part_of_its_path() -> None:
    assert {name: each.path for name, each in endpoints().items()} == {
        "classify": "/v1/classify",
        "embed": "/v1/embed",
        "explain": "/v1/explain",
        "segment": "/v1/segment",
        "detect": "/v1/detect",
    }
