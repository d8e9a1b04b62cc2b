"""Detections of a running service, with all masks, of an image with more masks than one response has."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from service.errors import MasksTooLarge
from service.imaging import rle
from service.models.cards import CardError
from service.tasks.base import Arrays
from service.tasks.scoring_base import PipelineOutput, RunningService

PATH: Final = "/v1/detect"
MIN_SCORE: Final = 0.05  # of the detections of the published figures, and the least that models return

Rows = list[dict[str, Any]]
Fetch = Callable[[str], dict[str, Any]]  # from further parameters of the query to the result of the image


def ask(service: RunningService, query: str, upload: bytes, _classes: int) -> PipelineOutput:
    """Return the detections of a running service, with the run lengths of their masks if the model has masks.

    Masks that are too large together are asked for by class. Raises `CardError` if those of one class are: without
    them the average precision would be that of the other images.
    """

    def fetch(parameters: str) -> dict[str, Any]:
        response = json.loads(service.ask(f"{PATH}{query}&min_score={MIN_SCORE}{parameters}", upload))
        (result,) = response["results"]
        found: dict[str, Any] = result
        return found

    try:
        result = fetch("")
    except MasksTooLarge:
        result = _by_class(fetch)
    return _output(result["detections"], result["image"]["width"], result["image"]["height"])


def _by_class(fetch: Fetch) -> dict[str, Any]:
    """Return the result of an image, whose masks come from several responses. Raises `CardError`."""
    result = fetch("&mask=none")
    rows = _masked(fetch, sorted({each["class_id"] for each in result["detections"]}))
    rows.sort(key=_order)
    if [_order(each) for each in rows] != [_order(each) for each in result["detections"]]:
        raise CardError("The service returns other detections of a class than of all classes.")
    return {**result, "detections": rows}


def _order(row: dict[str, Any]) -> tuple[float, int]:
    """Return what a response is sorted by: the best score first, and of equal ones the lowest class id."""
    return -row["score"], row["class_id"]


def _masked(fetch: Fetch, class_ids: Sequence[int]) -> Rows:
    """Return the detections of some classes with their masks, in halves where those are too large together."""
    try:
        rows: Rows = fetch("".join(f"&classes={class_id}" for class_id in class_ids))["detections"]
    except MasksTooLarge as error:
        if len(class_ids) == 1:
            detail = f"{error.detail} All are of the class {class_ids[0]}. Evaluate the model without --url."
            raise CardError(detail) from error
        half = len(class_ids) // 2
        return _masked(fetch, class_ids[:half]) + _masked(fetch, class_ids[half:])
    return rows


def _output(rows: Rows, width: int, height: int) -> PipelineOutput:
    boxes = np.array([each["bbox"] for each in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    arrays: Arrays = {
        "boxes": boxes / [width, height, width, height],
        "scores": np.array([each["score"] for each in rows], np.float32),
        "class_ids": np.array([each["class_id"] for each in rows], np.int64),
    }
    if all(each.get("mask") for each in rows):
        runs = [rle.lengths(each["mask"]["counts"]) for each in rows]
        joined = np.concatenate([np.zeros(0, np.int64), *runs])
        arrays = {**arrays, "runs": joined, "lengths": np.array([len(each) for each in runs], np.int64)}
    return PipelineOutput(arrays, width, height)
