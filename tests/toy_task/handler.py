"""What a worker of the toy task loads: it registers the task, and takes the service's handler."""

from service.tasks import TASKS
from service.worker.handler import BatchHandler
from tests.toy_task.task import PICKING


class PickingHandler(BatchHandler):
    """The service's handler in a process that knows the task."""

    def __init__(self) -> None:
        TASKS[PICKING.name] = PICKING
        super().__init__()
