"""Every shape of requests and responses, by its class name."""

import sys

from pydantic import BaseModel

from service.gateway.routes import schemas
from service.gateway.routes.open_inference import v2_schemas
from service.tasks import TASKS, shapes

OF_TASKS = {sys.modules[each.query.__module__] for task in TASKS.values() for each in task.endpoints}
MODULES = (shapes, *OF_TASKS, schemas, v2_schemas)
SHAPES: dict[str, type[BaseModel]] = {
    name: shape
    for module in MODULES
    for name, shape in vars(module).items()
    if isinstance(shape, type) and issubclass(shape, BaseModel) and shape is not BaseModel
}
