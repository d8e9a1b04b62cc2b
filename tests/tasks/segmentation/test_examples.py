"""The example of a response with a mask."""

import base64
import io

import numpy as np
from PIL import Image

from service.tasks.segmentation import examples
from service.tasks.segmentation.schema import SegmentResponse


def test_the_segments_are_those_of_the_mask() -> None:
    (document,) = examples.segment()
    (result,) = SegmentResponse.model_validate(document).model_dump()["results"]

    with Image.open(io.BytesIO(base64.b64decode(result["mask"]["data"]))) as image:
        mask, palette = np.asarray(image), np.array(image.getpalette()).reshape(-1, 3)
    assert mask.shape == (result["image"]["height"], result["image"]["width"])
    assert {row["class_id"]: row["pixels"] for row in result["segments"]} == {
        class_id: (mask == class_id).sum() for class_id in np.unique(mask)
    }
    for row in result["segments"]:
        assert row["label"] == examples.LABELS[row["class_id"]]
        assert row["color"] == "#{:02x}{:02x}{:02x}".format(*palette[row["class_id"]])
