"""Every shape of requests and responses, by its class name."""

from pydantic import BaseModel

from service.gateway.routes import schemas, v2_schemas
from service.tasks import shapes
from service.tasks.classification import schema as classification
from service.tasks.segmentation import schema as segmentation

MODULES = (shapes, classification, segmentation, schemas, v2_schemas)
SHAPES: dict[str, type[BaseModel]] = {
    name: shape
    for module in MODULES
    for name, shape in vars(module).items()
    if isinstance(shape, type) and issubclass(shape, BaseModel) and shape is not BaseModel
}
