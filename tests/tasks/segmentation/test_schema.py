"""The shapes of responses with masks."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.tasks.segmentation import examples
from service.tasks.segmentation.schema import Polygons, RunLengths, Segment, SegmentedImage, SegmentResponse
from service.tasks.shapes import Png

SIZE = {"width": 4, "height": 2}
MASKS: dict[type, dict[str, Any]] = {
    Png: {"format": "png", "encoding": "base64", "data": "", **SIZE},
    RunLengths: {"format": "rle", "masks": [{"class_id": 1, "size": [2, 4], "counts": "08"}], **SIZE},
    Polygons: {"format": "polygons", "type": "FeatureCollection", "features": [], **SIZE},
}


@pytest.mark.parametrize(("shape", "mask"), MASKS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_the_format_says_which_mask_it_is(shape: type, mask: dict[str, Any]) -> None:
    (segmented,) = examples.segment()
    segmented["results"][0]["mask"] = mask

    (result,) = SegmentResponse.model_validate(segmented).results
    assert isinstance(result, SegmentedImage)
    assert type(result.mask) is shape


def test_a_segment_has_pixels() -> None:
    row = examples.segment()[0]["results"][0]["segments"][0]
    Segment.model_validate(row)
    with pytest.raises(ValidationError):
        Segment.model_validate({**row, "pixels": 0})
