"""The values that queries and bodies accept."""

import pytest
from pydantic import BaseModel, ValidationError

from service.tasks.classification.schema import ClassifyQuery
from service.tasks.segmentation.schema import SegmentQuery
from service.tasks.shapes import ImagesBody


@pytest.mark.parametrize("shape", [ClassifyQuery, SegmentQuery])
def test_a_query_may_be_empty_and_has_no_unknown_parameter(shape: type[BaseModel]) -> None:
    shape.model_validate({})
    with pytest.raises(ValidationError):
        shape.model_validate({"topk": 3})


@pytest.mark.parametrize(
    ("shape", "query"),
    [
        (ClassifyQuery, {"top_k": 0}),
        (ClassifyQuery, {"min_score": "nan"}),
        (SegmentQuery, {"tolerance": 101}),
        (SegmentQuery, {"overlay": "gif"}),
        (ImagesBody, {"images": [{"url": "http://127.0.0.1/"}]}),
    ],
)
def test_a_value_out_of_its_range_is_refused(shape: type[BaseModel], query: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        shape.model_validate(query)
