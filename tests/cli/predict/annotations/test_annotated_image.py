"""What a line of results says of an image, in whichever form its masks are."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.cli.predict.annotations import annotated_image
from service.cli.predict.failures import RunFailedError
from service.imaging import polygons, rle
from tests.cli.predict.annotations.made_results import FACTS, HEIGHT, MODEL, WIDTH, classified, detection, record, ring


def drawn(found: annotated_image.AnnotatedImage, index: int) -> Any:
    """Return the area of an object's outline, holes subtracted."""

    def area(points: Any) -> float:
        x, y = np.array(points).T
        return abs(float((x[:-1] * y[1:] - y[:-1] * x[1:]).sum())) / 2

    outline = found.outline(found.objects[index], 0)
    return sum(area(polygon[0]) - sum(map(area, polygon[1:])) for polygon in outline)


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_a_detection_has_its_box_its_score_and_its_area(form: str) -> None:
    found = annotated_image.of_record(record(detection(ring(), form)))

    (only,) = found.objects
    assert (found.width, found.height, found.file) == (WIDTH, HEIGHT, "photos/a.jpg")
    assert (only.label, only.class_id, only.score, only.box) == ("dog", 1, 0.9, (10, 5, 33, 28))
    assert drawn(found, 0) == ring().sum()


def test_a_detection_without_a_mask_has_no_outline() -> None:
    found = annotated_image.of_record(record(detection(ring(), "none")))

    assert found.outline(found.objects[0], 0) == ()


def masks(tmp_path: Path) -> dict[str, Any]:
    """Return the forms of a segmenter's mask in which class 2 is the ring and the rest is class 0."""
    ids = ring().astype(np.uint8) * 2
    content = io.BytesIO()
    Image.fromarray(ids).save(content, "PNG")
    file = tmp_path / "a.mask.png"
    file.write_bytes(content.getvalue())
    size = {"width": WIDTH, "height": HEIGHT}
    features = [
        {"type": "Feature", "properties": {"label": "", "class_id": class_id}, "geometry": {"coordinates": parts}}
        for class_id, parts in polygons.polygons(ids, WIDTH, HEIGHT).items()
    ]
    runs = [
        {"class_id": class_id, "size": [HEIGHT, WIDTH], "counts": each} for class_id, each in rle.encode(ids).items()
    ]
    return {
        "png": {"format": "png", "encoding": "base64", "data": base64.b64encode(content.getvalue()).decode(), **size},
        "file": {"format": "png", "encoding": "file", "file": str(file), **size},
        "rle": {"format": "rle", "masks": runs, **size},
        "polygons": {"format": "polygons", "features": features, **size},
    }


@pytest.mark.parametrize("form", ["png", "file", "rle", "polygons"])
def test_a_segment_has_the_area_of_its_class(form: str, tmp_path: Path) -> None:
    rows = [
        {"label": label, "class_id": class_id, "score": 0.9, "bbox": [0, 0, 9, 9], "pixels": 9}
        for label, class_id in (("background", 0), ("dog", 2))
    ]
    line = {"file": "a.jpg", "model": MODEL, "image": FACTS, "segments": rows, "mask": masks(tmp_path)[form]}

    found = annotated_image.of_record(line)

    assert drawn(found, 1) == ring().sum()
    assert drawn(found, 0) == WIDTH * HEIGHT - ring().sum()


def test_a_classified_image_has_its_best_label_unless_it_is_unknown() -> None:
    (only,) = annotated_image.of_record(classified(unknown=False)).objects

    assert (only.label, only.box) == ("rose", None)
    assert annotated_image.of_record(classified(unknown=True)).objects == ()


@pytest.mark.parametrize(
    "line",
    [{"file": "a.jpg", "embedding": {}}, {"file": "a.jpg", "detections": [{}], "image": FACTS}, {"detections": []}],
)
def test_a_line_without_labels_is_an_error(line: dict[str, Any]) -> None:
    with pytest.raises(RunFailedError):
        annotated_image.of_record(line)
