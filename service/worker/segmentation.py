"""The handler of segmentation models."""

from service.worker.handler import BatchHandler


class SegmentationHandler(BatchHandler):
    """Answers `mask`, uint8 (h, w), and `class_scores`, float32 (classes,)."""

    task = "segmentation"
