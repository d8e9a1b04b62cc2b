"""The handler of segmentation models."""

from service.handlers.base import BatchHandler


class SegmentationHandler(BatchHandler):
    """Answers `mask`, uint8 (h, w), and `class_scores`, float32 (classes,)."""

    task = "segmentation"

    def accepts(self, height: int, width: int) -> bool:
        """Sides up to the card's size, rounded up to its multiple."""
        multiple = self.card.input.multiple
        longest = -(-self.card.input.size // multiple) * multiple
        return 0 < height <= longest and 0 < width <= longest
