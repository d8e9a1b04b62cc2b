"""Model cards: everything that the gateway, the workers and the packaging know about a model, read from `card.toml`."""

import re
import tomllib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from service.models import labels, text_file
from service.models.calibration import Calibration
from service.models.inputs import CardTable, Input, Multiscale
from service.models.labels import Label, LabelsError, Names
from service.models.text_file import TextError

TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]  # `service.tasks` has the tasks
NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
VERSION = r"^[0-9]+(\.[0-9]+){0,2}$"
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Library = Literal["own", "timm"]
KeyProfile = Literal["official", "timm", "encoding", "openmmlab", "mmseg", "mmdet", "detectron2", "detectron2_bgr"]


def _check_inside(path: str) -> str:
    """Refuse a path outside the model's folder: a model archive would write that file outside its own folder too."""
    if not PurePosixPath(path).name or path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        raise ValueError("it must name a file in the model's folder")
    return path


File = Annotated[str, AfterValidator(_check_inside)]
LABEL_SETS = "labels"  # folder of the shared label sets in the model store
CHECKSUM = re.compile(r"^([0-9a-f]{64})  ", re.MULTILINE)  # a line in the format of `sha256sum`


class CardError(ValueError):
    """A card, or a file it names, is unusable; the message is one sentence for the operator."""


class Network(CardTable):
    """The network to build and its number of classes; `parameters` is the published parameter count.

    `library` "own" is `service.networks`; "timm" is any classifier of timm, which is an optional extra. A segmenter's
    head may be narrower than the published one (`head_channels`), and may lack the auxiliary head used in training.
    `proposals` is the largest number of proposals that a detector classifies, by default the published 1000.
    """

    name: str
    library: Library = "own"
    classes: int = Field(gt=0)
    parameters: int | None = Field(default=None, gt=0)
    output_stride: Literal[8, 16, 32] | None = None
    head_channels: int | None = Field(default=None, gt=0)
    auxiliary: bool = True
    proposals: int | None = Field(default=None, ge=1, le=1000)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for `networks.build`."""
        return self.model_dump(exclude={"parameters", "library", "proposals"})


class Source(CardTable):
    """A published checkpoint: its URLs in order of preference, its checksum and its key layout (`profile`).

    Every URL serves the same bytes. The authors publish the first digits of the SHA-256 (in the file name) or the full
    SHA-1. `digest` is for first digits that are of one or the other. If the URL serves a zip, the checksum is that of
    the one checkpoint inside it. A file `without_checksum` can only be imported, under its published name: nothing
    would prove that a download is the published file.
    """

    urls: tuple[Url, ...] = Field(min_length=1)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    sha1: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{8,40}$")] | None = None
    without_checksum: bool = False
    profile: KeyProfile = "official"

    @model_validator(mode="after")
    def _require_checksum(self) -> Self:
        if (self.checksum is None) is not self.without_checksum:
            raise ValueError(
                "a source needs a sha256 (or its first digits), a sha1 or a digest, or is without_checksum"
            )
        return self

    @property
    def checksum(self) -> str | None:
        """Return the published checksum, or its first digits."""
        return self.sha256 or self.sha1 or self.digest


class Weights(CardTable):
    """The weight file beside the card, its checksum, and the URLs from which it can be downloaded.

    Weights that `models pull` converts from one of `sources` have no checksum here; it is stored beside the file.
    """

    file: File
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    format: Literal["safetensors", "pth"] = "safetensors"
    profile: KeyProfile = "official"
    urls: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _require_origin(self) -> Self:
        if self.sha256 is None and not self.sources:
            raise ValueError("weights need a sha256, or sources to pull them from")
        return self


class Labels(Names):
    """The label file beside the card: one line per class, and for masks a tab and the colour as `#rrggbb`.

    `set` names a shared label set instead: `labels/<set>.tsv` in the model store, a table with a header row.
    """

    file: File = "labels.txt"
    set: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] | None = None


class Serving(CardTable):
    """How the workers run: batch size, number of processes, engine, precision and request deadline.

    Each gateway batches without waiting. With `max_batch_delay_ms`, TorchServe also merges batches of several gateways.
    The engine "auto" is PyTorch on CUDA, else OpenVINO if installed. The precision "auto" is the fastest one of the
    device without a relevant change of results: bf16, float16 on old GPUs, else fp32. Without `by_default` it is served
    only if named. CPU `threads` are those of one process; processes without a value share the other cores equally.
    """

    batch_size: int = Field(default=8, ge=1, le=256)
    max_batch_delay_ms: int = Field(default=0, ge=0, le=60_000)
    workers: int = Field(default=1, ge=1, le=256)
    by_default: bool = True
    threads: int | None = Field(default=None, ge=1, le=1024)
    deadline_s: float = Field(default=10, gt=0, le=3600)
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"


class Int8(CardTable):
    """The int8 network: a `file` that `quantise` made from the weights whose SHA-256 is `made_of`."""

    file: File
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    made_of: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelCard(CardTable):
    """One model of the store. `published` holds the figures of its authors, `measured` the figures of this project.

    `folder` and `registered_as` are no members of the file.
    """

    name: Annotated[str, Field(pattern=NAME)]
    version: Annotated[str, Field(pattern=VERSION)]
    task: TaskName
    summary: str
    licence: str
    source: str
    network: Network
    weights: Weights
    input: Input
    multiscale: Multiscale = Multiscale()
    labels: Labels = Labels()
    serving: Serving = Serving()
    int8: Int8 | None = None
    calibration: Calibration | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True)
    registered_as: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _check_label_counts(self) -> Self:
        for language, names in self.labels.names.items():
            if len(names) != self.network.classes:
                raise ValueError(f"{len(names)} labels in {language} for {self.network.classes} classes")
        return self

    @property
    def server_name(self) -> str:
        """Return the name under which the model server has the model.

        It is `name` unless the model was added to a running service (decision 0074). A name may pass to another version
        or to other weights, and a server name never does.
        """
        return self.registered_as or self.name

    @property
    def family(self) -> str:
        """Return the name that all versions of the model share."""
        return self.name.partition("@")[0]

    @property
    def version_key(self) -> tuple[int, ...]:
        """Return the sort key of the version: 1.10 is above 1.9, and 1 equals 1.0.0."""
        numbers = [int(number) for number in self.version.split(".")]
        return (*numbers, *[0] * (3 - len(numbers)))

    @property
    def is_default(self) -> bool:
        """Return whether the model is served if the operator names no models: it has weights and is `by_default`."""
        return self.checksum is not None and self.serving.by_default

    @cached_property
    def classes(self) -> tuple[Label, ...]:
        """Return the labels by class id. Raises `CardError` if their number is not the network's number of classes."""
        path = self.labels_path
        try:
            found = labels.read(path, table=self.labels.set is not None)
        except LabelsError as error:
            raise CardError(f"{self.name}: {error}") from error
        if len(found) != self.network.classes:
            raise CardError(f"{self.name}: {path} has {len(found)} labels for {self.network.classes} classes")
        return found

    @cached_property
    def translations(self) -> dict[str, Self]:
        """Return the card by language, each with its labels in that language."""
        found = {self.labels.language: self}
        for language, names in self.labels.names.items():
            table = self.labels.model_copy(update={"language": language})
            found[language] = self.model_copy(update={"labels": table, "classes": labels.renamed(self.classes, names)})
        return found

    def in_language(self, ranges: Iterable[str]) -> Self:
        """Return the card with labels in the first language that it has, or itself.

        This is the lookup of RFC 4647, section 3.4: each range is shortened from its end until a language matches.
        """
        translations = {language.lower(): translated for language, translated in self.translations.items()}
        for each in ranges:
            prefix = each.lower()
            while prefix:
                if prefix in translations:
                    return translations[prefix]
                prefix = prefix.rpartition("-")[0]
        return self

    @property
    def labels_path(self) -> Path:
        """Return the label file. A copy of a shared set beside the card (as in an archive) precedes the store's."""
        if self.labels.set is None:
            return self.folder / self.labels.file
        copy = self.folder / f"{self.labels.set}.tsv"
        return copy if copy.exists() else self.folder.parent / LABEL_SETS / copy.name

    @property
    def weights_path(self) -> Path:
        """Return the path of the weight file, which need not exist."""
        return self.folder / self.weights.file

    @property
    def weights_bytes(self) -> int | None:
        """Return the size of the weight file, or None if it does not exist."""
        try:
            return self.weights_path.stat().st_size
        except OSError:
            return None

    @property
    def checksum_path(self) -> Path:
        """Return the file with the checksum of pulled weights, in the format of `sha256sum`."""
        return self.weights_path.with_name(f"{self.weights_path.name}.sha256")

    @property
    def checksum(self) -> str | None:
        """Return the SHA-256 of the weight file: from the card, or stored when the weights were pulled, or None."""
        if self.weights.sha256 is not None:
            return self.weights.sha256
        try:
            found = CHECKSUM.search(self.checksum_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        return found[1] if found else None


def read(folder: Path) -> ModelCard:
    """Return the card of a model's folder. Raises `CardError` that lists every mistake."""
    card = parse(folder)
    _ = card.classes
    return card


def parse(folder: Path) -> ModelCard:
    """Return the card of a model's folder without reading its labels. Raises `CardError` that lists every mistake."""
    path = folder / "card.toml"
    try:
        fields = tomllib.loads(text_file.read(path))
        return ModelCard.model_validate({**fields, "folder": folder, "registered_as": ""})
    except (OSError, TextError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise CardError(f"{path}: {mistakes}") from error
