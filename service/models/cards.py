"""A model's card: everything that gateway, handlers and packaging know of it, read from `card.toml`."""

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from service.models import labels
from service.models.inputs import CardTable, Input, Multiscale
from service.models.labels import Label, LabelsError, Names

Task = Literal["classification", "segmentation"]
NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
VERSION = r"^[0-9]+(\.[0-9]+){0,2}$"
Address = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
Library = Literal["own", "timm"]
KeyProfile = Literal["official", "timm", "encoding", "openmmlab", "mmseg"]


def _inside(path: str) -> str:
    """An archive is a copy of the model's folder: a file elsewhere would be written elsewhere too."""
    if not PurePosixPath(path).name or path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        raise ValueError("it must name a file in the model's folder")
    return path


File = Annotated[str, AfterValidator(_inside)]
LABEL_SETS = "labels"  # beside the models' folders
CHECKSUM = re.compile(r"^([0-9a-f]{64})  ", re.MULTILINE)  # in a record, as `sha256sum` writes it


class CardError(ValueError):
    """A card, or a file it names, that cannot be used; the message is one sentence for the operator."""


class Network(CardTable):
    """Which network to build, and with how many classes; `parameters` is its published size.

    `library` "own" is `service.networks`; "timm" any classifier of that package, which is an extra. A segmenter's head
    may be narrower than the published one, and may lack the auxiliary head of its training.
    """

    name: str
    library: Library = "own"
    classes: int = Field(gt=0)
    parameters: int | None = Field(default=None, gt=0)
    output_stride: Literal[8, 16, 32] | None = None
    head_channels: int | None = Field(default=None, gt=0)
    auxiliary: bool = True

    def arguments(self) -> dict[str, Any]:
        """What `networks.build` is called with."""
        return self.model_dump(exclude={"parameters", "library"})


class Source(CardTable):
    """A published checkpoint: its addresses, best first, with the same bytes at each, and how to know them.

    Its authors state the first digits of its SHA-256 (in the file's name) or its whole SHA-1. Where the address gives
    a zip, the checksum is that of the one checkpoint in it. `profile` is the layout of its keys.
    """

    urls: tuple[Address, ...] = Field(min_length=1)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    sha1: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    profile: KeyProfile = "official"

    @model_validator(mode="after")
    def _checkable(self) -> Self:
        if self.sha256 is None and self.sha1 is None:
            raise ValueError("a source needs a sha256, or its first digits, or a sha1")
        return self


class Weights(CardTable):
    """Where the weights are: `file` beside the card, with its checksum, and the addresses it can be had from.

    Weights that `models pull` makes of one of the `sources` have no checksum on the card: it is recorded beside them.
    """

    file: File
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    format: Literal["safetensors", "pth"] = "safetensors"
    profile: KeyProfile = "official"
    urls: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.sha256 is None and not self.sources:
            raise ValueError("weights need a sha256, or sources to be pulled from")
        return self


class Labels(Names):
    """The label file beside the card: a line per class, and for masks a tab and its colour as `#rrggbb`.

    `set` names a shared one instead, `labels/<set>.tsv` in the model store, with a header row.
    """

    file: File = "labels.txt"
    set: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] | None = None


class Serving(CardTable):
    """How the worker runs: pictures in a batch, processes, and the deadline of a request.

    Gateways gather batches and wait for nobody; with `max_batch_delay_ms` TorchServe puts several gateways' together.
    `engine` `auto` is torch on CUDA, and OpenVINO, where it is installed, on the CPU. `precision` `auto` is what the
    device is fastest in without a change to the answers that matters: bf16, float16 on old GPUs, else fp32.
    Not `by_default`: when named. `threads` of a process on the CPU; those that say nothing share what is left equally.
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
    """The network in int8, a `file` that `quantise` made of the weights with the SHA-256 `made_of`."""

    file: File
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    made_of: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelCard(CardTable):
    """One model, as its folder describes it. `published` is what its authors state, `measured` what we found."""

    name: Annotated[str, Field(pattern=NAME)]
    version: Annotated[str, Field(pattern=VERSION)]
    task: Task
    summary: str
    licence: str
    source: str
    network: Network
    weights: Weights
    input: Input
    best: Multiscale = Multiscale()
    labels: Labels = Labels()
    serving: Serving = Serving()
    int8: Int8 | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _names_every_class(self) -> Self:
        for language, names in self.labels.names.items():
            if len(names) != self.network.classes:
                raise ValueError(f"{len(names)} labels in {language} for {self.network.classes} classes")
        return self

    @property
    def family(self) -> str:
        """The name that all versions of the model share."""
        return self.name.partition("@")[0]

    @property
    def order(self) -> tuple[int, ...]:
        """What versions are sorted by: 1.10 is above 1.9, and 1 is 1.0."""
        numbers = [int(number) for number in self.version.split(".")]
        return (*numbers, *[0] * (3 - len(numbers)))

    @property
    def is_default(self) -> bool:
        """Whether it is served where no models are named: its weights are known, and it does not ask to be named."""
        return self.checksum is not None and self.serving.by_default

    @cached_property
    def classes(self) -> tuple[Label, ...]:
        """The labels in the order of their class ids. Raises `CardError` where the file does not fit the network."""
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
        """The card with its labels in each language that it has them in."""
        found = {self.labels.language: self}
        for language, names in self.labels.names.items():
            told = self.labels.model_copy(update={"language": language})
            found[language] = self.model_copy(update={"labels": told, "classes": labels.renamed(self.classes, names)})
        return found

    @property
    def labels_path(self) -> Path:
        """The label file; a shared set's copy beside the card, which an archive has, goes before the store's."""
        if self.labels.set is None:
            return self.folder / self.labels.file
        copy = self.folder / f"{self.labels.set}.tsv"
        return copy if copy.exists() else self.folder.parent / LABEL_SETS / copy.name

    @property
    def weights_path(self) -> Path:
        """The weight file, whether or not it is there."""
        return self.folder / self.weights.file

    @property
    def weights_bytes(self) -> int | None:
        """The weight file's size; None where it is not here."""
        try:
            return self.weights_path.stat().st_size
        except OSError:
            return None

    @property
    def record_path(self) -> Path:
        """The checksum of pulled weights, in the form of `sha256sum`."""
        return self.weights_path.with_name(f"{self.weights_path.name}.sha256")

    @property
    def checksum(self) -> str | None:
        """The weight file's SHA-256: the card's own, or the one recorded when the weights were pulled, or None."""
        if self.weights.sha256 is not None:
            return self.weights.sha256
        try:
            found = CHECKSUM.search(self.record_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None
        return found[1] if found else None


def read(folder: Path) -> ModelCard:
    """The card of a model's folder. Raises `CardError` with every mistake in it."""
    card = _parse(folder)
    _ = card.classes
    return card


def read_all(store: Path) -> dict[str, ModelCard]:
    """The cards by name of a store's models that can be served: those whose weights have been pulled or came with it.

    Raises `CardError` where a name and version stand twice.
    """
    servable = {name: card for name, card in read_zoo(store).items() if card.checksum is not None}
    for card in servable.values():
        _ = card.classes
    return servable


def read_zoo(store: Path) -> dict[str, ModelCard]:
    """Every card of a store by name, also of weights that are not here. Raises `CardError` as `read_all` does.

    Of cards of one name the highest version has it, and the others are `name@version`. Labels are not read: a thousand
    of them for each of many models would take longer than all else.
    """
    read = [_parse(path.parent) for path in sorted(store.glob("[!.]*/card.toml"))]
    highest = {card.name: card for card in sorted(read, key=lambda card: card.order)}
    found: dict[str, ModelCard] = {}
    for card in read:
        known = card if highest[card.name] is card else card.model_copy(update={"name": f"{card.name}@{card.version}"})
        if known.order == highest[card.name].order and known is not card:
            raise CardError(f"{card.folder} and {highest[card.name].folder} are both named {card.name}")
        if known.name in found:
            raise CardError(f"{card.folder} and {found[known.name].folder} are both named {known.name}")
        found[known.name] = known
    # The first is a default: the highest version takes the place of the first of its name.
    places = {name: place for place, name in reversed(list(enumerate(card.family for card in found.values())))}
    return dict(sorted(found.items(), key=lambda item: (places[item[1].family], "@" in item[0])))


def stocked(store: Path) -> dict[str, ModelCard]:
    """`read_zoo` of a store that should have models. Raises `CardError` also where it has none."""
    zoo = read_zoo(store)
    if not zoo:
        raise CardError(f"{store.resolve()} holds no model: no <name>/card.toml is in it; --store names another folder")
    return zoo


def find(cards: Mapping[str, ModelCard], name: str) -> ModelCard | None:
    """The card of that name, which may be `name@version` for the highest version too."""
    return cards.get(name) or next((card for card in cards.values() if f"{card.name}@{card.version}" == name), None)


def _parse(folder: Path) -> ModelCard:
    path = folder / "card.toml"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        return ModelCard.model_validate({**fields, "folder": folder})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise CardError(f"{path}: {mistakes}") from error
