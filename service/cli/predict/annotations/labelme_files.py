"""A JSON file for each image as LabelMe writes them."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from service.cli.predict.annotations.annotated_image import AnnotatedImage, AnnotatedObject
from service.cli.predict.annotations.form import AnnotationForm, Places
from service.cli.predict.annotations.outlines import Ring, one_ring

VERSION: Final = "5.5.0"  # of LabelMe, whose form this is


class LabelmeFiles:
    """Writes polygons, or rectangles for objects without a mask. The label of a whole image is a flag.

    Several polygons of one object have one `group_id`. The name of the image is relative to its JSON file.
    """

    def __init__(self, folder: Path, form: AnnotationForm) -> None:
        self._form = form
        self._places = Places(folder, ".json")

    def __enter__(self) -> Self:
        """Do nothing: folders are created with their first file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: each file is complete."""

    def add(self, image: AnnotatedImage) -> None:
        """Write the file of an image. Raises `RunFailedError` if another image has the same."""
        path = self._places.claim(image.file)
        objects = [found for found in image.objects if found.box is not None]
        document = {
            "version": VERSION,
            "flags": {found.label: True for found in image.objects if found.box is None},
            "shapes": [shape for number, found in enumerate(objects) for shape in self._shapes(image, found, number)],
            "imagePath": os.path.relpath(image.file, path.parent),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def _shapes(self, image: AnnotatedImage, found: AnnotatedObject, number: int) -> list[dict[str, Any]]:
        rings = [one_ring([polygon]) for polygon in image.outline(found, self._form.tolerance)]
        if rings:
            group = number if len(rings) > 1 else None
            return [_shape(found, "polygon", ring, group) for ring in rings]
        x, y, width, height = found.box or (0, 0, image.width, image.height)
        return [_shape(found, "rectangle", [(x, y), (x + width, y + height)], None)]


def _shape(found: AnnotatedObject, kind: str, points: Ring, group: int | None) -> dict[str, Any]:
    shape = {"label": found.label, "points": [[float(x), float(y)] for x, y in points], "group_id": group}
    return {**shape, "description": f"score {found.score}", "shape_type": kind, "flags": {}, "mask": None}
