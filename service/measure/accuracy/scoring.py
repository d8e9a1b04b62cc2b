"""Find how models of a task are scored."""

import importlib
from typing import Any

from service.tasks import TASKS
from service.tasks.scoring_base import Scoring


def scoring_of(task_name: str) -> Scoring[Any, Any]:
    """Return the scoring of a task, whose module is imported now. Raises `KeyError` for an unknown task."""
    scoring: Scoring[Any, Any] = importlib.import_module(TASKS[task_name].scoring).SCORING
    return scoring


def qualities() -> list[str]:
    """Return the qualities that models of any task can be asked for, the default first."""
    return list(dict.fromkeys(quality for name in TASKS for quality in scoring_of(name).qualities))
