"""The handler of classification models."""

from service.worker.handler import BatchHandler


class ClassificationHandler(BatchHandler):
    """Answers `scores`, float32 (classes,): the probability of each class."""

    task = "classification"
