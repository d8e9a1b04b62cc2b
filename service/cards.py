"""A model's card: everything that gateway, handlers and packaging know of it, read from `card.toml`."""

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Task = Literal["classification", "segmentation"]
Colour = tuple[int, int, int]
Triple = tuple[float, float, float]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class CardError(ValueError):
    """A card, or a file it names, that cannot be used; the message is one sentence for the operator."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """Which network of `service.networks` to build, and with how many classes."""

    name: str
    classes: int = Field(gt=0)
    output_stride: Literal[8, 16, 32] | None = None


class Weights(_Part):
    """Where the weights are: `file` beside the card, with its checksum, and the addresses it can be had from."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    format: Literal["safetensors", "pth"] = "safetensors"
    profile: Literal["official", "timm", "encoding"] = "official"
    urls: tuple[str, ...] = ()


class Input(_Part):
    """How a picture becomes the network's input; `size` is the square's side, or for `segmentation` the long side.

    `official`: the centred square of size / (size + 32) of the short side, then one bicubic resize (ResNeSt's
    ECenterCrop). `timm`: short side to size / crop_ratio, then the centred square. `segmentation`: long side to
    `size`, the short one in proportion, both to the nearest multiple of `multiple`.
    """

    profile: Literal["official", "timm", "segmentation"]
    size: int = Field(ge=32, le=4096)
    crop_ratio: float = Field(default=0.875, gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    multiple: int = Field(default=1, ge=1, le=64)
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)


class Labels(_Part):
    """The label file beside the card: a line per class, and for masks a tab and its colour as `#rrggbb`."""

    file: str = "labels.txt"


class Serving(_Part):
    """How the worker runs: pictures in a batch, the wait for company, processes, and the deadline of a request."""

    batch_size: int = Field(default=8, ge=1, le=256)
    max_batch_delay_ms: int = Field(default=2, ge=1)
    workers: int = Field(default=1, ge=1)
    deadline_s: float = Field(default=10, gt=0)
    engine: Literal["torch"] = "torch"


class ModelCard(_Part):
    """One model, as its folder describes it. `published` is what its authors state, `measured` what we found."""

    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){0,2}$")]
    task: Task
    summary: str
    licence: str
    source: str
    network: Network
    weights: Weights
    input: Input
    labels: Labels = Labels()
    serving: Serving = Serving()
    training: dict[str, Any] = {}
    published: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    folder: Path = Field(default=Path(), exclude=True)

    @cached_property
    def classes(self) -> tuple["Label", ...]:
        """The labels in the order of their class ids. Raises `CardError` where the file does not fit the network."""
        path = self.folder / self.labels.file
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CardError(f"{self.name}: the labels {path} cannot be read: {error}") from error
        labels = tuple(_label(self.name, class_id, line) for class_id, line in enumerate(lines))
        if len(labels) != self.network.classes:
            raise CardError(f"{self.name}: {path} has {len(labels)} labels for {self.network.classes} classes")
        return labels

    @property
    def weights_path(self) -> Path:
        """The weight file, whether or not it is there."""
        return self.folder / self.weights.file


class Label(_Part):
    """A class: its name, and its colour in masks (black where the card has none)."""

    class_id: int
    label: str
    color: Colour = (0, 0, 0)

    @property
    def hex_color(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


def _label(card: str, class_id: int, line: str) -> Label:
    name, _, colour = line.partition("\t")
    try:
        return Label(class_id=class_id, label=name, color=_colour(colour) if colour else (0, 0, 0))
    except ValueError as error:
        raise CardError(f"{card}: label {class_id} has the colour {colour!r}, which is not #rrggbb") from error


def _colour(text: str) -> Colour:
    if len(text) != 7 or text[0] != "#":
        raise ValueError(text)
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def read(folder: Path) -> ModelCard:
    """The card of a model's folder. Raises `CardError` with every mistake in it."""
    path = folder / "card.toml"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        card = ModelCard.model_validate({**fields, "folder": folder})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise CardError(f"{path}: {mistakes}") from error
    _ = card.classes
    return card


def read_all(store: Path) -> dict[str, ModelCard]:
    """The cards of a model store by name. Raises `CardError` where a name stands twice."""
    found: dict[str, ModelCard] = {}
    for path in sorted(store.glob("*/card.toml")):
        card = read(path.parent)
        if card.name in found:
            raise CardError(f"{path.parent} and {found[card.name].folder} are both named {card.name}")
        found[card.name] = card
    return found
