"""What a running service answers, as the output of its model: in one response, or in several by class."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from service.errors import MasksTooLarge
from service.models.cards import CardError
from service.tasks.detection import scoring
from service.tasks.detection.coco import served
from service.tasks.detection.coco.detections import found_in
from tests.tasks.detection.test_scoring import HEIGHT, WIDTH, Model, cat, image, output, rectangle


@dataclass
class Service:
    """A service with a fixed response, which keeps what it was asked."""

    response: dict[str, Any]
    asked: list[str] = field(default_factory=list)

    def ask(self, path: str, upload: bytes | None = None, accept: str = "application/json") -> bytes:
        self.asked.append(path)
        return json.dumps(self.response).encode()


def response(*detections: dict[str, Any]) -> dict[str, Any]:
    return {"results": [{"image": {"width": WIDTH, "height": HEIGHT}, "detections": list(detections)}]}


def test_a_services_boxes_and_run_lengths_give_the_outcome_of_the_model_itself() -> None:
    counts = coco_mask.encode(np.asfortranarray(rectangle((10, 10, 40, 30)).astype(np.uint8)))["counts"].decode()
    mask = {"format": "rle", "size": [HEIGHT, WIDTH], "counts": counts}
    row = {"label": "cat", "class_id": 0, "score": 0.9, "bbox": [10.0, 10.0, 40.0, 30.0], "mask": mask}
    service = Service(response(row, {**row, "class_id": 1, "score": 0.3}))

    answer = served.ask(service, "?model=pets", b"upload", 2)

    true = image(cat((10, 10, 40, 30)))
    here = scoring.outcome_of(Model(), true, output((0, 0.9, (10, 10, 50, 40)), (1, 0.3, (10, 10, 50, 40))))
    there = scoring.outcome_of(Model(), true, answer)
    assert service.asked == ["/v1/detect?model=pets&min_score=0.05"]
    assert there.masks
    for name in ("scores", "box_areas", "box_overlaps", "mask_areas", "mask_overlaps"):
        assert getattr(there, name) == pytest.approx(getattr(here, name))


def test_a_service_without_masks_or_without_detections_is_understood() -> None:
    row = {"label": "cat", "class_id": 0, "score": 0.9, "bbox": [10.0, 10.0, 40.0, 30.0]}
    nothing = scoring.outcome_of(Model(), image(cat((1, 1, 5, 5))), served.ask(Service(response()), "", b"", 2))

    assert found_in(served.ask(Service(response(row)), "", b"", 2)).masks is None
    assert (nothing.predicted, nothing.masks) == ((), True)


@dataclass
class Limited:
    """A service that refuses masks which are wider together than `limit`."""

    rows: list[dict[str, Any]]
    limit: int
    asked: list[str] = field(default_factory=list)

    def ask(self, path: str, upload: bytes | None = None, accept: str = "application/json") -> bytes:
        self.asked.append(path)
        query = parse_qs(urlsplit(path).query)
        rows = [row for row in self.rows if str(row["class_id"]) in query.get("classes", [str(row["class_id"])])]
        if query.get("mask") == ["none"]:
            rows = [{name: value for name, value in row.items() if name != "mask"} for row in rows]
        elif sum(row["bbox"][2] for row in rows) > self.limit:
            raise MasksTooLarge(f"{len(rows)} masks are too wide.", limit=self.limit)
        return json.dumps(response(*rows)).encode()


def masked_row(class_id: int, score: float, left: int, width: int) -> dict[str, Any]:
    drawn = np.asfortranarray(rectangle((left, 5, width, 20)).astype(np.uint8))
    mask = {"format": "rle", "size": [HEIGHT, WIDTH], "counts": coco_mask.encode(drawn)["counts"].decode()}
    bbox = [float(left), 5.0, float(width), 20.0]
    return {"label": f"class {class_id}", "class_id": class_id, "score": score, "bbox": bbox, "mask": mask}


def test_masks_that_are_too_large_together_come_by_class_and_none_is_missing() -> None:
    rows = [
        masked_row(class_id, score, 3 * class_id, 30) for class_id, score in ((2, 0.9), (0, 0.8), (1, 0.8), (2, 0.4))
    ]
    limited, unlimited = Limited(rows, 70), Limited(rows, 10**6)

    found, whole = (served.ask(each, "?model=pets", b"upload", 3) for each in (limited, unlimited))

    assert len(unlimited.asked) == 1
    assert len(limited.asked) > 2
    assert all("model=pets&min_score=0.05" in each for each in limited.asked)
    assert found.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, name)


def test_masks_of_one_class_that_are_too_large_end_the_run_with_the_reason() -> None:
    rows = [masked_row(1, 0.9, 0, 50), masked_row(1, 0.8, 0, 50), masked_row(0, 0.7, 0, 9)]

    with pytest.raises(CardError, match=r"2 masks are too wide\. All are of the class 1\. Evaluate .* without --url"):
        served.ask(Limited(rows, 70), "?model=pets", b"upload", 2)


def test_a_service_that_names_classes_otherwise_ends_the_run() -> None:
    class Confused(Limited):
        def ask(self, path: str, upload: bytes | None = None, accept: str = "application/json") -> bytes:
            return super().ask(path.replace("classes=1", "classes=0"), upload, accept)

    with pytest.raises(CardError, match="other detections"):
        served.ask(Confused([masked_row(0, 0.9, 0, 50), masked_row(1, 0.8, 0, 50)], 70), "?model=pets", b"upload", 2)
