"""The handler module as TorchServe loads it."""

import importlib
import inspect
import subprocess
import sys

from service.host.served_models.model_archive import HANDLER
from service.tasks import TASKS
from service.worker.handler import BatchHandler


def test_a_task_module_defines_one_class_and_no_function_named_handle() -> None:
    module = importlib.import_module(HANDLER)
    defined = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    assert defined == [BatchHandler]
    assert not hasattr(module, "handle")


def test_every_task_of_a_card_has_a_handler() -> None:
    heads = [importlib.import_module(task.head).HEAD for task in TASKS.values()]
    named = [set(head.operations) for head in heads]
    assert named == [{each.name for each in task.operations[1:]} for task in TASKS.values()]


def test_the_table_of_handlers_is_read_without_torch() -> None:
    """The supervisor and the packaging read it, and loading torch would add a second to every start."""
    code = "import sys, service.tasks, service.host.torchserve, service.cli.main; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
