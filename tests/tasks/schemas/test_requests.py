"""What a request may hold."""

import pytest
from pydantic import BaseModel, ValidationError

from service.tasks import schemas


@pytest.mark.parametrize("shape", [schemas.ClassifyQuery, schemas.SegmentQuery])
def test_a_query_may_be_empty_and_has_no_unknown_parameter(shape: type[BaseModel]) -> None:
    shape.model_validate({})
    with pytest.raises(ValidationError):
        shape.model_validate({"topk": 3})


@pytest.mark.parametrize(
    ("shape", "query"),
    [
        (schemas.ClassifyQuery, {"top_k": 0}),
        (schemas.ClassifyQuery, {"min_score": "nan"}),
        (schemas.SegmentQuery, {"tolerance": 101}),
        (schemas.SegmentQuery, {"overlay": "gif"}),
        (schemas.ImagesBody, {"images": [{"url": "http://127.0.0.1/"}]}),
    ],
)
def test_a_value_out_of_its_range_is_refused(shape: type[BaseModel], query: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        shape.model_validate(query)
