"""The handlers as TorchServe finds them."""

import importlib
import inspect
import subprocess
import sys
from typing import get_args

import pytest

from service.host.handler_modules import MODULES
from service.models.cards import Task


@pytest.mark.parametrize("task", MODULES)
def test_a_task_module_defines_one_class_and_no_function_named_handle(task: Task) -> None:
    module = importlib.import_module(MODULES[task])
    defined = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    assert [vars(handler)["task"] for handler in defined] == [task]
    assert not hasattr(module, "handle")


def test_every_task_of_a_card_has_a_handler() -> None:
    assert set(MODULES) == set(get_args(Task))


def test_the_table_of_handlers_is_read_without_torch() -> None:
    """The supervisor and the packaging read it, and a second of torch would be a second of every start."""
    code = "import sys, service.host.torchserve, service.cli.main; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
