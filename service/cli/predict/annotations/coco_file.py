"""One JSON file in the form of COCO's annotations, for object detection and segmentation (cocodataset.org)."""

import json
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from service import __version__
from service.cli.predict.annotations.annotated_image import AnnotatedImage, AnnotatedObject
from service.cli.predict.annotations.form import AnnotationForm, replaced
from service.cli.predict.annotations.outlines import one_ring
from service.cli.predict.failures import RunFailedError


class CocoAnnotation(NamedTuple):
    """An object as COCO names its members, with a `score`, which COCO has in results alone."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int
    score: float
    segmentation: Any


class CocoFile:
    """Writes the images as they come, and then the annotations, which wait in a temporary file.

    The id of a category is that of COCO's own annotations where the model has it, else the class id plus one: some
    readers take 0 for the background. An annotation also has the `score`, which readers of COCO's files leave alone.
    """

    def __init__(self, path: Path, form: AnnotationForm) -> None:
        self._path, self._form = path, form
        self._images = self._annotations = 0
        self._seen: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Begin the file."""
        with ExitStack() as stack:
            self._written = stack.enter_context(replaced(self._path))
            self._waiting = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", dir=self._path.parent))
            info = {"description": "Labels by a model, not checked by a person", "version": __version__}
            self._written.write(f'{{"info":{json.dumps(info)},"licenses":[],"images":[')
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Add what waits, and put the file in place; after an exception, remove it."""
        if kind is None:
            self._written.write('],"annotations":[')
            self._waiting.seek(0)
            shutil.copyfileobj(self._waiting, self._written)
            self._written.write(f'],"categories":{json.dumps(self._categories())}}}\n')
        self._open.__exit__(kind, error, trace)

    def add(self, image: AnnotatedImage) -> None:
        """Write an image with its objects. Raises `RunFailedError` for the label of a whole image."""
        self._images += 1
        row = {"id": self._images, "file_name": image.file, "width": image.width, "height": image.height}
        self._written.write(f"{',' if self._images > 1 else ''}{json.dumps(row)}")
        for found in image.objects:
            self._annotations += 1
            row = self._annotation(image, found)._asdict()
            self._waiting.write(f"{',' if self._annotations > 1 else ''}{json.dumps(row)}")

    def _annotation(self, image: AnnotatedImage, found: AnnotatedObject) -> "CocoAnnotation":
        category = found.class_id + 1 if found.category_id is None else found.category_id
        self._seen[category] = found.label
        if found.box is None:
            raise RunFailedError("COCO has no place for the label of a whole image")
        _, _, width, height = found.box
        return CocoAnnotation(
            id=self._annotations,
            image_id=self._images,
            category_id=category,
            bbox=found.box,
            area=width * height if found.pixels is None else found.pixels,
            iscrowd=0,
            score=found.score,
            segmentation=self._segmentation(image, found),
        )

    def _segmentation(self, image: AnnotatedImage, found: AnnotatedObject) -> Any:
        if found.runs is not None and not self._form.polygons:
            return {"size": [image.height, image.width], "counts": found.runs}
        outline = image.outline(found, self._form.tolerance)
        return [[value for point in one_ring([polygon]) for value in point] for polygon in outline]

    def _categories(self) -> list[dict[str, Any]]:
        known = {row.get("category_id", row["class_id"] + 1): row["label"] for row in self._form.labels}
        names = sorted({**known, **self._seen}.items())
        return [{"id": number, "name": name, "supercategory": ""} for number, name in names]
