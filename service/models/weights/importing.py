"""A checkpoint of one's own becomes a model of the store: a folder with a card, labels and converted weights."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.models import cards
from service.models.cards import LABEL_SETS, CardError, KeyProfile, Library, ModelCard, Network
from service.models.weights import archive, checksums
from service.models.weights.checksums import UnfitError, WeightsError
from service.models.weights.store import PULLED

RESERVED = ("archives", "labels", "recipes")  # folders of the store that are no models
SEGMENTERS = re.compile("deeplab_|fcn_|mmseg_")  # what the networks' names begin with

InputProfile = Literal["official", "timm"]


@dataclass(frozen=True)
class Model:
    """What is to be known of a checkpoint: `labels` is a file with a line for each class, or the name of a shared set.

    `size` is the side in pixels of a classifier's input, the long side of a segmenter's.
    """

    name: str
    network: str
    labels: str
    profile: KeyProfile = "official"
    input_profile: InputProfile = "official"
    size: int | None = None
    licence: str = "not stated"
    library: Library = "own"
    version: str = "1.0"

    @property
    def segments(self) -> bool:
        """Whether the network makes masks."""
        return self.library == "own" and SEGMENTERS.match(self.network) is not None


def add(store: Path, model: Model, file: Path) -> Path:
    """Make `store/<name>` of the checkpoint, and return it; it appears whole or not at all.

    Of a further version the folder is `<name>@<version>`. Raises `WeightsError` where the name is taken or none, the
    labels cannot be read, or the checkpoint does not fit.
    """
    if not re.fullmatch(cards.NAME, model.name) or model.name in RESERVED:
        raise WeightsError(f"{model.name} is no name for a model: small letters and digits, dots, dashes, underscores")
    folder = store / model.name
    if folder.exists():
        folder = _beside(folder, model)
    try:
        with _building(store) as building:
            _fill(building, store, model, file)
            cards.read(building)
            building.rename(folder)
    except OSError as error:
        raise WeightsError(f"{model.name}: {error.filename or store}: {error.strerror}") from error
    except UnicodeEncodeError as error:  # an argument that is not UTF-8
        raise WeightsError(f"{model.name}: what was told of it is not UTF-8") from error
    except CardError as error:
        raise WeightsError(f"{model.name}: {error}") from error
    return folder


def _beside(folder: Path, model: Model) -> Path:
    """The folder of a further version. Raises `WeightsError` where that is there, or what is there is no model."""
    try:
        versions = {card.version for card in cards.read_zoo(folder.parent).values() if _plain(card) == model.name}
    except CardError as error:
        raise WeightsError(f"{model.name}: {error}") from error
    if not versions or model.version in versions:
        raise WeightsError(f"{folder} is there already; --version gives a further one a number of its own")
    return folder.with_name(f"{model.name}@{model.version}")


def _plain(card: ModelCard) -> str:
    return card.name.partition("@")[0]


def _fill(building: Path, store: Path, model: Model, file: Path) -> None:
    from service.models.weights.convert import convert  # noqa: PLC0415 - torch, which only a conversion needs

    shared = store / LABEL_SETS / f"{model.labels}.tsv"
    if shared.is_file():
        classes = len(shared.read_text(encoding="utf-8").splitlines()) - 1
    else:
        lines = _own_labels(Path(model.labels), coloured=model.segments)
        (building / "labels.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        classes = len(lines)
    target = building / PULLED / f"{model.name}.safetensors"
    target.parent.mkdir()
    unpacked = building / "unpacked"
    checkpoint = archive.unpack(file, unpacked)
    try:
        convert(checkpoint, Network(name=model.network, library=model.library, classes=classes), model.profile, target)
    except UnfitError as error:
        raise WeightsError(f"{file.name}: {error}; {model.labels} has {classes} classes") from error
    unpacked.unlink(missing_ok=True)
    tables = _tables(model, classes, checksums.sha256(target), shared=shared.is_file())
    (building / "card.toml").write_text(_toml(tables), encoding="utf-8")


def _own_labels(path: Path, *, coloured: bool) -> Sequence[str]:
    """The lines of a label file; a mask's classes without a colour get that of the VOC colour map."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"the labels {path} cannot be read: {error}") from error
    if not lines:
        raise WeightsError(f"the labels {path} are empty")
    if not coloured:
        return lines
    return [line if "\t" in line else f"{line}\t{voc_colour(index)}" for index, line in enumerate(lines)]


def voc_colour(index: int) -> str:
    """The colour of class `index`, at most 255, in Pascal VOC's map, as `#rrggbb`: its bits dealt out to the channels.

    Bit 3k + c of the index becomes bit 7 - k of channel c, so that 0 is black and all 256 differ.
    """
    channels = (sum(((index >> (3 * k + c)) & 1) << (7 - k) for k in range(3)) for c in range(3))
    return "#" + "".join(f"{level:02x}" for level in channels)


def _tables(model: Model, classes: int, digest: str, *, shared: bool) -> dict[str, dict[str, Any]]:
    if model.segments:
        shape = {"profile": "segmentation", "size": model.size or 520, "interpolation": "bilinear", "multiple": 8}
    else:
        shape = {"profile": model.input_profile, "size": model.size or 224}
    return {
        "": {
            "name": model.name,
            "version": model.version,
            "task": "segmentation" if model.segments else "classification",
            "summary": f"An imported {model.network}.",
            "licence": model.licence,
            "source": "Imported from a file.",
        },
        "network": {"name": model.network, "library": model.library, "classes": classes},
        "weights": {"file": f"{PULLED}/{model.name}.safetensors", "sha256": digest},
        "input": shape,
        "labels": {"set": model.labels} if shared else {"file": "labels.txt"},
    }


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """A JSON string is a TOML string too, as long as no letter of it is written as two halves."""
    lines = []
    for table, fields in tables.items():
        lines += [f"\n[{table}]"] if table else []
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def _building(store: Path) -> Iterator[Path]:
    """A hidden folder in the store, which is deleted unless it is given another name."""
    folder = Path(tempfile.mkdtemp(prefix=".importing-", dir=store))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
