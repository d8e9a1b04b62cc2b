"""The answers about parts of pictures."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.gateway.routes import examples
from service.tasks import schemas

SIZE = {"width": 4, "height": 2}
MASKS: dict[type, dict[str, Any]] = {
    schemas.Png: {"format": "png", "encoding": "base64", "data": "", **SIZE},
    schemas.RunLengths: {"format": "rle", "masks": [{"class_id": 1, "size": [2, 4], "counts": "08"}], **SIZE},
    schemas.Polygons: {"format": "polygons", "type": "FeatureCollection", "features": [], **SIZE},
}


@pytest.mark.parametrize(("shape", "mask"), MASKS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_the_format_says_which_mask_it_is(shape: type, mask: dict[str, Any]) -> None:
    segmented = examples.segmented()
    segmented["results"][0]["mask"] = mask

    (result,) = schemas.SegmentResponse.model_validate(segmented).results
    assert isinstance(result, schemas.SegmentedPicture)
    assert type(result.mask) is shape


def test_a_segment_has_pixels() -> None:
    row = examples.segmented()["results"][0]["segments"][0]
    schemas.Segment.model_validate(row)
    with pytest.raises(ValidationError):
        schemas.Segment.model_validate({**row, "pixels": 0})
