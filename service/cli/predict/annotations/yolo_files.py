"""A text file for each image as Ultralytics' YOLO reads them: a line for each object, with its box or its polygon."""

import json
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from service.cli.predict.annotations.annotated_image import AnnotatedImage, AnnotatedObject
from service.cli.predict.annotations.form import AnnotationForm, Places
from service.cli.predict.annotations.outlines import one_ring
from service.cli.predict.failures import RunFailedError

DIGITS: Final = 6


class YoloFiles:
    """Writes `labels/` with the text files, `classes.txt`, and `data.yaml`, which expects the images in `images/`.

    A line begins with the class id. Then it has x and y of the centre, width and height of the box, or x and y of each
    vertex. All are shares of the image. An image without objects has an empty file.
    """

    def __init__(self, folder: Path, form: AnnotationForm) -> None:
        if not form.labels:
            raise RunFailedError("YOLO's class ids need all labels of the model; name its --store or --url")
        self._folder, self._form = folder, form
        self._places = Places(folder / "labels", ".txt")

    def __enter__(self) -> Self:
        """Write the names of the classes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        names = [row["label"] for row in self._form.labels]
        (self._folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        rows = "".join(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(names))
        head = "path: .\ntrain: images\nval: images\nnames:\n"
        (self._folder / "data.yaml").write_text(head + rows, encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: each file is complete."""

    def add(self, image: AnnotatedImage) -> None:
        """Write the file of an image. Raises `RunFailedError` if another image has the same."""
        lines = [self._line(image, found) for found in image.objects]
        self._places.claim(image.file).write_text("".join(lines), encoding="utf-8")

    def _line(self, image: AnnotatedImage, found: AnnotatedObject) -> str:
        if found.box is None:
            raise RunFailedError("YOLO's text files have no place for the label of a whole image")
        ring = one_ring(image.outline(found, self._form.tolerance))
        x, y, width, height = found.box
        numbers = ring or [(x + width / 2, y + height / 2), (width, height)]
        shares = (min(max(value, 0), 1) for x, y in numbers for value in (x / image.width, y / image.height))
        return f"{found.class_id} {' '.join(f'{share:.{DIGITS}f}' for share in shares)}\n"
