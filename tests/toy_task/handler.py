"""The handler that a worker of the toy task loads: the service's handler, after it registered the task."""

from service.tasks import TASKS
from service.worker.handler import BatchHandler
from tests.toy_task.task import PICKING


class PickingHandler(BatchHandler):
    """The service's handler in a process in which the task is registered."""

    def __init__(self) -> None:
        TASKS[PICKING.name] = PICKING
        super().__init__()
