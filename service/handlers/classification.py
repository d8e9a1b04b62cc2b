"""The handler of classification models."""

from service.handlers.base import BatchHandler


class ClassificationHandler(BatchHandler):
    """Answers `scores`, float32 (classes,): the probability of each class."""

    task = "classification"

    def accepts(self, height: int, width: int) -> bool:
        """Only the square of the card's size."""
        return height == width == self.card.input.size
