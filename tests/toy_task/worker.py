"""`python -m tests.toy_task.worker …`: the command `resnest-service worker`, after it registered the toy task."""

import sys

from service.cli.main import main
from service.host import torchserve
from service.tasks import TASKS
from tests.toy_task.task import PICKING

if __name__ == "__main__":
    TASKS[PICKING.name] = PICKING
    torchserve.HANDLER = "tests.toy_task.handler"
    main(["worker", *sys.argv[1:]])
