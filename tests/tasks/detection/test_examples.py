"""The examples of responses with detections."""

import numpy as np
from pycocotools import mask as coco

from service.tasks.detection import examples
from service.tasks.detection.schema import CompareDetectionsResponse, DetectResponse


def test_the_mask_fills_the_box() -> None:
    document, compared = examples.detect()
    DetectResponse.model_validate(document)
    CompareDetectionsResponse.model_validate(compared)
    (detection,) = document["results"][0]["detections"]
    runs = detection["mask"]
    mask = coco.decode({"size": runs["size"], "counts": runs["counts"].encode()})

    assert int(mask.sum()) == detection["pixels"]
    left, top, width, height = detection["bbox"]
    assert (
        np.abs(np.array(coco.toBbox({**runs, "counts": runs["counts"].encode()})) - [left, top, width, height]).max()
        <= 1
    )
