"""The handler of classification models."""

from service.handlers.base import BatchHandler


class ClassificationHandler(BatchHandler):
    """Answers `scores`, float32 (classes,): the probability of each class."""

    task = "classification"
