"""What all forms of annotations share: the options, and files that appear when they are complete."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import IO, Any, Protocol, Self

from service.cli.predict.annotations.annotated_image import AnnotatedImage
from service.cli.predict.failures import RunFailedError


@dataclass(frozen=True)
class AnnotationForm:
    """How annotations are written.

    `labels` are the model's classes in the order of their ids, with `label`, `class_id` and perhaps `category_id`.
    `tolerance` is that of polygons, in pixels. With `polygons`, COCO's masks are polygons too. `image_url` precedes
    the name of an image in Label Studio's tasks.
    """

    labels: Sequence[Mapping[str, Any]] = ()
    tolerance: float = 1.0
    polygons: bool = False
    image_url: str = ""


class Annotations(Protocol):
    """Annotations of images, written one by one. On leaving the `with`, they are complete."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the files, or remove what is incomplete."""

    def add(self, image: AnnotatedImage) -> None:
        """Write the annotations of an image. Raises `RunFailedError` where this form has no place for them."""


@contextmanager
def replaced(path: Path) -> Iterator[IO[str]]:
    """Yield a file that replaces the one at `path` when the `with` ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.building")
    try:
        with building.open("w+", encoding="utf-8") as file:
            yield file
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


class Places:
    """The files of one folder that have annotations of an image, each of another image."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix = folder, suffix
        self._taken: set[str] = set()

    def claim(self, name: str) -> Path:
        """Return the file for an image, at the image's own path under the folder. Raises `RunFailedError`."""
        image = PurePath(name)
        inside = PurePath(*(part for part in image.parts if part not in (image.anchor, "..")))
        path = self._folder / inside.with_suffix(self._suffix)
        if str(path) in self._taken:
            raise RunFailedError(f"{path} has the annotations of another image, whose name differs in its suffix alone")
        self._taken.add(str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
