"""What `evaluate` and `quantise` must know of a task: its ground truth, its scores, and how its outputs compare.

The `scoring` module of a task has a `SCORING`, which is a `Scoring`. Nothing here loads torch or a web framework.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.models import labels
from service.models.cards import CardError
from service.tasks.base import PREDICT, Arrays

# Pillow spreads grey PNGs of 2 and 4 bits over 0 to 255, but a mask's values are the stored ones.
GREY_STEPS: Final = {"L;2": 85, "L;4": 17}
IGNORED: Final = 255  # in a mask: the pixel belongs to no class
OPAQUE: Final = 255  # in an alpha channel
SHOWN_LABELS: Final = 10  # in an error message
NUMBERED: Final = (
    "; numbers are not read as class ids, because tools number classes differently: name the folders after the labels"
)

Mask = npt.NDArray[np.uint8]
MaskValues = tuple[int, ...]  # the class id that each value of a mask file stands for
UNCHANGED: Final[MaskValues] = tuple(range(256))
ConfusionRows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TrueInstance:
    """An object in an image: its label, its box and its area in pixels, and whether it stands for a crowd of them.

    The box is left, top, width and height. `draw` returns its mask `(h, w)`; None if it has none. It raises `CardError`
    for a mask that does not fit its image.
    """

    label: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False
    draw: Callable[[], npt.NDArray[np.bool_]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its ground truth: a label or a WordNet id, a mask, or the instances of objects.

    The mask is an indexed or grey image. A pixel of it with the value v has the class id `values[v]`. The mask is
    turned by the EXIF orientation `turn`. `present` has the class ids in the mask, if it was checked. `instances` is
    None where it is not known which objects there are, and empty where there are none. `size` is the stated width and
    height in pixels of the upright image.
    """

    path: Path
    label: str = ""
    mask: Path | None = None
    values: MaskValues = UNCHANGED
    turn: int = 1
    present: frozenset[int] = field(default=frozenset(), compare=False)
    instances: tuple[TrueInstance, ...] | None = None
    size: tuple[int, int] | None = None

    def class_ids(self) -> Mask:
        """Return the class ids of the mask `(h, w)`, `IGNORED` for a pixel without a class. Raises `CardError`."""
        if self.mask is None:
            raise CardError(f"{self.path} has no mask")
        ids: Mask = np.asarray(self.values, np.uint8)[mask_values(self.mask)]
        return upright(ids, self.turn)

    def with_labels(self, names: Mapping[str, str]) -> "LabelledImage":
        """Return the image with the labels that `names` has for its own, as `labels.by_name` returns them."""
        instances = self.instances and tuple(
            replace(each, label=labels.find(each.label, names) or each.label) for each in self.instances
        )
        return replace(self, label=labels.find(self.label, names) or self.label, instances=instances)


@dataclass(frozen=True)
class Remark:
    """A file of a data set, and the reason why it is left out or what was done with it."""

    path: Path
    reason: str


def mask_values(path: Path) -> Mask:
    """Return the values `(h, w)` that a mask file stores. Raises `CardError` if it is not an indexed or grey image.

    A grey image may be stored with three equal colours, with an alpha channel that hides nothing, or with 16 bits.
    """
    try:
        with Image.open(path) as opened:
            if opened.format == "JPEG":
                raise CardError(f"{path} is a JPEG, whose compression changes class ids; save masks as PNG")
            raw_mode = str(opened.tile[0][3]) if opened.tile else ""
            values = _one_channel(np.asarray(opened), opened.mode)
            if values is None or values.max(initial=0) > IGNORED:
                raise CardError(f"{path} is {opened.mode}, but a mask is an indexed or grey image with values to 255")
            return values.astype(np.uint8) // GREY_STEPS.get(raw_mode, 1)
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error}") from error


def _one_channel(values: npt.NDArray[Any], mode: str) -> npt.NDArray[Any] | None:
    """Return the only channel of an image, or the one that all its colours equal; None if it has colours."""
    if mode in ("1", "L", "P", "I;16", "I;16B"):
        return values
    if mode not in ("LA", "RGB", "RGBA") or (mode.endswith("A") and values[..., -1].min(initial=255) < OPAQUE):
        return None
    first = values[..., 0]
    return first if mode == "LA" or (values[..., :3] == first[..., None]).all() else None


def upright(ids: Mask, orientation: int) -> Mask:
    """Return a mask `(h, w)` turned as an image with this EXIF orientation (1 to 8) is."""
    turned = ids.T if orientation in (5, 6, 7, 8) else ids
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


@dataclass(frozen=True)
class Dataset:
    """The labelled images of one split of a folder. `classes` is how many classes the layout has, if it is fixed.

    `left_out` has every other file, and `notes` remarks on files that are used. `mask_problem` says why no mask can be
    scored. With `skip_unknown`, images of labels or classes that a model does not have are left out.
    """

    root: Path
    layout: str
    images: tuple[LabelledImage, ...]
    classes: int | None = None
    left_out: tuple[Remark, ...] = field(default=(), compare=False)
    notes: tuple[Remark, ...] = field(default=(), compare=False)
    mask_problem: str = ""
    skip_unknown: bool = False

    def with_truth(self, known: Callable[[LabelledImage], object], what: str, model: str) -> list[LabelledImage]:
        """Return the images for which `known` is true. Raises `CardError` if there are none."""
        found = [image for image in self.images if known(image)]
        if not found:
            raise CardError(f"{self.root} has no image with a {what} for {model}")
        return found

    def of_labels(
        self,
        images: Sequence[LabelledImage],
        labels_of: Callable[[LabelledImage], set[str]],
        model: "EvaluatedModel",
    ) -> list[LabelledImage]:
        """Return the images of labels that the model has, with its names of them.

        Raises `CardError`, with the other labels, unless they are left out and an image remains.
        """
        names = labels.by_name(model.class_ids)
        unknown = Counter(label for image in images for label in labels_of(image) if labels.find(label, names) is None)
        known = [image.with_labels(names) for image in images if not unknown.keys() & labels_of(image)]
        if not unknown or (self.skip_unknown and known):
            return known
        listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.most_common(SHOWN_LABELS))
        others = f" and {len(unknown) - SHOWN_LABELS} others" if len(unknown) > SHOWN_LABELS else ""
        raise CardError(
            f"{self.root} has images of {listed}{others}; {model.name} has no label, or several, of that name; "
            f"leave them out with --skip-unknown{NUMBERED if all(map(str.isdecimal, unknown)) else ''}"
        )


@dataclass(frozen=True)
class PipelineOutput:
    """A model's output for one upload: the arrays of its task, and the upright upload's width and height in pixels."""

    arrays: Arrays
    width: int
    height: int


class EvaluatedModel(Protocol):
    """What scoring knows of a model, in this process or behind a running service."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels in the order of their class ids."""

    @property
    def class_ids(self) -> Mapping[str, int]:
        """The class id of each label that only one class has, and of each WordNet id."""


class RunningService(Protocol):
    """An HTTP client of a running service."""

    def ask(self, path: str, upload: bytes | None = None, accept: str = "application/json") -> bytes:
        """Return the body of the response. Raises `ServiceError` for an image that the service rejects."""


class Scores(Protocol):
    """A model's scores on a data set. `confusion[true][predicted]` is in the order of `labels`."""

    @property
    def images(self) -> int:
        """How many images were scored."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels, all different."""

    @property
    def confusion(self) -> ConfusionRows | None:
        """Counts of images or pixels; None for a task whose outputs are not one label per image or pixel."""


@dataclass(frozen=True)
class RejectedImage:
    """An image that the service rejects, and the code of its error."""

    image: str
    code: str


@dataclass(frozen=True)
class Column:
    """A figure in the tables of a task: its head, its name in JSON and CSV, and its value as a share of 1, or None.

    `published` is its name among a card's published figures, which are in per cent.
    """

    head: str
    name: str
    share: Callable[[Any], float | None]
    published: str | None = None


@dataclass(frozen=True)
class BatchComparison:
    """Two outputs for one batch: for each label or pixel whether it is the same, and for each score the difference."""

    images: int
    same: npt.NDArray[np.bool_]
    differences: npt.NDArray[np.floating[Any]]


OutcomeT = TypeVar("OutcomeT")
ScoresT = TypeVar("ScoresT", bound=Scores)
Batch = Mapping[str, Any]  # arrays whose first axis is the image, or lists with an array for each image


def _only_fast() -> Mapping[str, str]:
    return {"fast": PREDICT}


@dataclass(frozen=True)
class Scoring(Generic[OutcomeT, ScoresT]):
    """How models of a task are scored and compared.

    `outcome` is the dataclass that the journal of a run has for each image. `usable` returns the images that have the
    task's ground truth, and raises `CardError` if the data set does not fit the model. `outcome_of` holds an output
    against the truth. `scores` needs at least one outcome. `label_shares` returns the figure named `label_figure` for
    each label, `document` further members of a JSON report. `ask` gets an output from a running service, with the query
    of the request and the number of classes. `compare` takes two outputs of one batch, and `same` is the column's head.
    `calibration` is the module of tasks whose models can be calibrated, as `service.tasks.classification.calibration`.
    `qualities` are operations by the values of `--quality`; a value that is missing stands for `predict`. `plots` draw
    on matplotlib axes, by the prefix of the file's name.
    """

    outcome: type[OutcomeT]
    usable: Callable[[EvaluatedModel, Dataset], list[LabelledImage]]
    outcome_of: Callable[[EvaluatedModel, LabelledImage, PipelineOutput], OutcomeT]
    scores: Callable[[Sequence[str], Sequence[OutcomeT]], ScoresT]
    columns: Sequence[Column]
    label_figure: str
    label_shares: Callable[[ScoresT], Mapping[str, float]]
    document: Callable[[ScoresT], dict[str, Any]]
    ask: Callable[[RunningService, str, bytes, int], PipelineOutput]
    compare: Callable[[Batch, Batch], BatchComparison]
    same: str
    calibration: str | None = None
    qualities: Mapping[str, str] = field(default_factory=_only_fast)
    plots: Mapping[str, Callable[[Any, ScoresT], None]] = field(default_factory=dict)


def confusion_rows(counts: npt.NDArray[np.int64]) -> ConfusionRows:
    """Return a matrix of counts as tuples."""
    return tuple(tuple(row) for row in counts.tolist())
