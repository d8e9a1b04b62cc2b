"""The handler of segmentation models."""

from service.handlers.base import BatchHandler


class SegmentationHandler(BatchHandler):
    """Answers `mask`, uint8 (h, w), and `class_scores`, float32 (classes,)."""

    task = "segmentation"
