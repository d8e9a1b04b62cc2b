"""One JSON file of tasks with predictions as Label Studio imports them, and the labelling configuration beside it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from service.cli.predict.annotations.annotated_image import AnnotatedImage, AnnotatedObject
from service.cli.predict.annotations.form import AnnotationForm, replaced
from service.cli.predict.annotations.outlines import one_ring

LOCAL_FILES: Final = "/data/local-files/?d="  # Label Studio's own storage on its host
TAGS: Final = {"rectanglelabels": "RectangleLabels", "polygonlabels": "PolygonLabels", "choices": "Choices"}
ITEMS: Final = {"choices": "Choice"}


class LabelStudioFile:
    """Writes a task for each image, with boxes, polygons or the label of the whole image as its prediction.

    The configuration at `<name>.xml` has the control tags that the predictions refer to.
    """

    def __init__(self, path: Path, form: AnnotationForm) -> None:
        self._path, self._form = path, form
        self._kinds: dict[str, None] = {}
        self._labels = {str(row["label"]): None for row in form.labels}
        self._tasks = 0

    def __enter__(self) -> Self:
        """Begin the file."""
        with ExitStack() as stack:
            self._file = stack.enter_context(replaced(self._path))
            self._file.write("[")
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the file and its configuration in place; after an exception, remove it."""
        if kind is None:
            self._file.write("]\n")
            self._path.with_suffix(".xml").write_text(self._configuration(), encoding="utf-8")
        self._open.__exit__(kind, error, trace)

    def add(self, image: AnnotatedImage) -> None:
        """Write the task of an image."""
        rows = [row for found in image.objects for row in self._results(image, found)]
        model = f"{image.model.get('name', '')} {image.model.get('version', '')}".strip()
        scores = [found.score for found in image.objects]
        prediction = {"model_version": model, "score": sum(scores) / len(scores) if scores else 0.0, "result": rows}
        # The name of a file is part of a query for local files, and of a path for all else.
        url = f"{self._form.image_url}{quote(PurePath(image.file).as_posix())}"
        self._file.write(",\n" if self._tasks else "\n")
        self._file.write(json.dumps({"data": {"image": url}, "predictions": [prediction]}))
        self._tasks += 1

    def _results(self, image: AnnotatedImage, found: AnnotatedObject) -> Iterator[dict[str, Any]]:
        outline = image.outline(found, self._form.tolerance)
        across, down = 100 / image.width, 100 / image.height  # its unit is the per cent of the side
        if found.box is None:
            yield self._result(image, found, "choices", {})
        elif outline:
            for polygon in outline:
                points = [[x * across, y * down] for x, y in one_ring([polygon])]
                yield self._result(image, found, "polygonlabels", {"points": points, "closed": True})
        else:
            x, y, width, height = found.box
            box = {"x": x * across, "y": y * down, "width": width * across, "height": height * down, "rotation": 0}
            yield self._result(image, found, "rectanglelabels", box)

    def _result(
        self, image: AnnotatedImage, found: AnnotatedObject, kind: str, value: dict[str, Any]
    ) -> dict[str, Any]:
        self._kinds[kind] = None
        self._labels[found.label] = None
        names = {"type": kind, "from_name": kind, "to_name": "image", "score": found.score}
        size = {"original_width": image.width, "original_height": image.height, "image_rotation": 0}
        return {**names, **size, "value": {**value, kind: [found.label]}}

    def _configuration(self) -> str:
        """Return the labelling configuration, with a control tag for each kind of result."""
        tags = []
        for kind in self._kinds:
            item = ITEMS.get(kind, "Label")
            items = "".join(f"    <{item} value={quoteattr(label)}/>\n" for label in self._labels)
            tags.append(f'  <{TAGS[kind]} name="{kind}" toName="image">\n{items}  </{TAGS[kind]}>\n')
        return f'<View>\n  <Image name="image" value="$image"/>\n{"".join(tags)}</View>\n'
