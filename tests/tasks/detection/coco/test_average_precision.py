"""Average precision against pycocotools on random detections, and on cases whose answer is known."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from service.tasks.detection.coco.average_precision import (
    AREAS,
    AveragePrecision,
    ClassOverlaps,
    average_precision,
)

SIDE = 260  # of an image in pixels, so that large instances occur
CLASSES = (0, 1, 2, 3)


def random_boxes(random: np.random.Generator, count: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return boxes `(count, 4)`, x, y, width and height, of every range of areas."""
    sides = random.choice([20.0, 60.0, 140.0], (count, 1)) * random.uniform(0.5, 1.2, (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * (SIDE - sides)
    return np.concatenate([corner, sides], axis=1)


def random_data(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return ground truth and results in COCO's form, with crowds, near duplicates and equal scores."""
    random = np.random.default_rng(seed)
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 25):
        for box in random_boxes(random, int(random.integers(0, 7))):
            row = {"id": len(truth) + 1, "image_id": image, "category_id": int(random.choice(CLASSES[:3]))}
            area = box[2] * box[3] * random.uniform(0.6, 1.0)
            truth.append({**row, "bbox": box.tolist(), "area": area, "iscrowd": int(random.random() < 0.15)})
            for _ in range(int(random.integers(0, 4))):
                near = box + random.normal(0, 0.08, 4) * box[[2, 3, 2, 3]]
                results.append(detection(random, image, row["category_id"], np.maximum(near, 1)))
        others = random_boxes(random, int(random.integers(0, 15)))
        results += [detection(random, image, int(random.choice(CLASSES)), box) for box in others]
    return {
        "images": [{"id": image, "width": SIDE, "height": SIDE} for image in range(1, 25)],
        "categories": [{"id": each, "name": str(each)} for each in CLASSES],
        "annotations": truth,
    }, results


def detection(random: np.random.Generator, image: int, class_id: int, box: Any) -> dict[str, Any]:
    score = round(float(random.random()), 1)  # so that many are equal
    return {"image_id": image, "category_id": class_id, "bbox": np.asarray(box).tolist(), "score": score}


def reference(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: str) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}, **truth}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(list(results)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def ours(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], shape: str, area: str) -> AveragePrecision:
    """Return our figures. Overlaps are those of pycocotools; `shape` and `area` are the members of a result."""
    found: dict[int, list[ClassOverlaps]] = {}
    for class_id in CLASSES:
        found[class_id] = []
        for image in truth["images"]:
            own = [r for r in results if (r["image_id"], r["category_id"]) == (image["id"], class_id)]
            true = [t for t in truth["annotations"] if (t["image_id"], t["category_id"]) == (image["id"], class_id)]
            crowd = [each["iscrowd"] for each in true]
            overlaps = coco_mask.iou([each[shape] for each in own], [each[shape] for each in true], crowd)
            found[class_id].append(
                ClassOverlaps(
                    np.asarray(overlaps, np.float64).reshape(len(own), len(true)),
                    np.array([each["score"] for each in own], np.float64),
                    np.array([each[area] for each in own], np.float64),
                    np.array([each["area"] for each in true], np.float64),
                    np.array(crowd, bool),
                )
            )
    return average_precision(found)


def check(found: AveragePrecision, evaluation: COCOeval) -> None:
    named = [found.ap, found.ap50, found.ap75, *found.by_area.values(), *found.recall.values()]
    assert named == pytest.approx(evaluation.stats[:9].tolist(), abs=1e-6)
    precision = evaluation.eval["precision"]  # (thresholds, recalls, classes, areas, most)
    for index, class_id in enumerate(CLASSES):
        levels = precision[:, :, index, 0, -1]
        if (levels > -1).all():
            assert found.by_class[class_id] == pytest.approx(levels.mean(), abs=1e-6)
        else:
            assert class_id not in found.by_class
    known = precision[0, :, :, 0, -1]
    assert found.curves["0.5"] == pytest.approx(known[:, known[0] > -1].mean(axis=1), abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_every_figure_of_boxes_is_that_of_pycocotools_to_a_millionth(seed: int) -> None:
    truth, results = random_data(seed)
    for each in results:
        each["area"] = each["bbox"][2] * each["bbox"][3]

    check(ours(truth, results, "bbox", "area"), reference(truth, results, "bbox"))


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_of_masks_is_that_of_pycocotools_to_a_millionth(seed: int) -> None:
    truth, results = random_data(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    for each in [*truth["annotations"], *results]:
        x, y, width, height = each["bbox"]
        ellipse = ((columns - x) / width - 0.5) ** 2 + ((rows - y) / height - 0.5) ** 2 <= 0.25
        each["segmentation"] = coco_mask.encode(np.asfortranarray(ellipse.astype(np.uint8)))
    for each in results:
        del each["bbox"]
    evaluation = reference(truth, results, "segm")
    for each in results:
        each["area"] = float(coco_mask.area(each["segmentation"]))

    check(ours(truth, results, "segmentation", "area"), evaluation)


def overlaps(rows: Sequence[Sequence[float]], scores: Sequence[float], areas: Sequence[float]) -> ClassOverlaps:
    """Return overlaps of detections of 50 x 50 pixels with instances of these areas, none a crowd."""
    return ClassOverlaps(
        np.array(rows, np.float64).reshape(len(scores), len(areas)),
        np.array(scores, np.float64),
        np.full(len(scores), 2500.0),
        np.array(areas, np.float64),
        np.zeros(len(areas), bool),
    )


def test_the_second_detection_of_an_instance_is_a_false_one() -> None:
    once = average_precision({0: [overlaps([[1.0]], [0.9], [2500])]})
    better_first = average_precision({0: [overlaps([[1.0], [1.0]], [0.9, 0.8], [2500])]})
    two = average_precision({0: [overlaps([[1.0, 0.0], [0.9, 0.0]], [0.9, 0.8], [2500, 2500])]})

    assert once.ap == pytest.approx(1)
    assert better_first.ap == pytest.approx(1)
    assert two.ap50 == pytest.approx(51 / 101)  # precision is 1 up to the recall 0.5, and then 0


def test_a_detection_that_overlaps_by_six_tenths_is_right_at_three_of_ten_thresholds() -> None:
    found = average_precision({0: [overlaps([[0.61]], [0.9], [2500])]})

    assert [found.ap50, found.ap75, found.ap] == pytest.approx([1, 0, 0.3])


def test_without_any_instance_there_is_no_figure() -> None:
    found = average_precision({0: [overlaps([[]], [0.9], [])]})

    assert found.ap is found.by_area["small"] is found.recall[100] is None
    assert not found.by_class
    assert not found.curves


def test_an_instance_counts_only_in_the_range_of_its_area() -> None:
    found = average_precision({0: [overlaps([[0.8]], [0.9], [2500])]})

    assert found.by_area["medium"] == found.ap == pytest.approx(0.7)
    assert found.by_area["small"] is found.by_area["large"] is None
    assert list(AREAS) == ["all", *found.by_area]
