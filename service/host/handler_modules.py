"""What a TorchServe worker runs: one handler per task. TorchServe wants exactly one class in each task's module."""

from service.models.cards import Task

MODULES: dict[Task, str] = {
    "classification": "service.worker.classification",
    "segmentation": "service.worker.segmentation",
}

# How the supervisor knows, among all that workers write, the sentence that says why one cannot start.
CANNOT_LOAD = "cannot load the model:"
