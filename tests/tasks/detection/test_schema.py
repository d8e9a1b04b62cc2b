"""The shapes of requests and responses with detections."""

import pytest
from pydantic import ValidationError

from service.tasks.detection import examples
from service.tasks.detection.schema import Detection, DetectQuery


def test_by_default_only_likely_objects_are_returned_in_every_form_that_there_is() -> None:
    query = DetectQuery()
    assert (query.min_score, query.max_detections, query.mask, query.overlay) == (0.5, 100, None, "false")


@pytest.mark.parametrize(
    "wrong",
    [{"min_score": -0.1}, {"min_score": float("nan")}, {"max_detections": 101}, {"mask": "png"}, {"top_k": 5}],
    ids=str,
)
def test_a_parameter_that_is_not_documented_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DetectQuery.model_validate(wrong)


def test_a_detection_may_have_no_mask_and_no_id_of_coco() -> None:
    (document, _) = examples.detect()
    (row,) = document["results"][0]["detections"]
    rest = {name: value for name, value in row.items() if name not in ("mask", "pixels")}
    assert Detection.model_validate(rest).mask is None
    assert Detection.model_validate({**rest, "category_id": 17}).category_id == 17
