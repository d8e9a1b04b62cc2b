"""Import a checkpoint as a model of the store: a folder with a card, labels and converted weights."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from service.models import cards, labels, model_folder, model_order, text_file, zoo
from service.models.cards import LABEL_SETS, CardError, KeyProfile, Library, Network
from service.models.labels import Label, LabelsError
from service.models.text_file import TextError
from service.models.weights import archive, checksums
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError
from service.models.weights.store import WEIGHTS_FOLDER, sources

if TYPE_CHECKING:
    from service.models.weights.fitting import Reading

InputProfile = Literal["official", "timm"]


@dataclass(frozen=True)
class ImportSpec:
    """The description of a checkpoint. `labels` is a file with one line per class, or the name of a shared label set.

    `input` and `serving` are tables of models of the task. `input_profile` replaces its profile if that is one of
    `InputProfile`, and `size` its size in pixels, with the short side in proportion. With `has_colours` each class gets
    a colour. `ema` and `member` choose among several weights in the file.
    """

    name: str
    network: str
    labels: str
    task: str
    input: Mapping[str, Any]
    serving: Mapping[str, Any] = field(default_factory=dict)
    has_colours: bool = False
    profile: KeyProfile = "official"
    input_profile: InputProfile = "official"
    size: int | None = None
    licence: str = "not stated"
    library: Library = "own"
    version: str = "1.0"
    ema: bool = False
    member: str | None = None

    def input_table(self) -> dict[str, Any]:
        """Return the table `[input]` of the card."""
        table = dict(self.input)
        if table["profile"] in get_args(InputProfile):
            table["profile"] = self.input_profile
        if self.size is not None and "short" in table:
            table["short"] = round(self.size * table["short"] / table["size"])
        return table if self.size is None else {**table, "size": self.size}


@dataclass(frozen=True)
class Imported:
    """The folder of a new model, the part of the checkpoint that was used, and every part that was not."""

    folder: Path
    used: str
    left_out: tuple[str, ...]


def import_checkpoint(store: Path, spec: ImportSpec, file: Path) -> Imported:
    """Create the folder `store/<name>` from the checkpoint, atomically, and return what was done.

    The folder of a further version is `<name>@<version>`. Raises `WeightsError` if the name is taken or invalid, the
    labels cannot be read, or the checkpoint does not fit.
    """
    if not model_folder.is_name(spec.name):
        raise WeightsError(f"{spec.name} is not a model name: {model_folder.NAME_RULE}")
    if not re.fullmatch(cards.VERSION, spec.version):
        raise WeightsError(f"{spec.version} is not a version: use one to three numbers with dots, such as 3 or 3.1")
    folder = store / spec.name
    if folder.exists():
        folder = _version_folder(folder, spec)
    try:
        with model_folder.building(store) as building:
            reading = _fill(building, store, spec, file)
            cards.read(building)
            model_order.record(store)
            building.rename(folder)
    except OSError as error:
        raise WeightsError(f"{spec.name}: {error.filename or store}: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise WeightsError(f"{spec.name}: an argument is not UTF-8") from error
    except CardError as error:
        raise WeightsError(f"{spec.name}: {error}") from error
    return Imported(folder, reading.used, reading.left_out)


def _version_folder(folder: Path, spec: ImportSpec) -> Path:
    """Return the folder of a further version. Raises `WeightsError` if it exists, or `folder` is not a model."""
    found = zoo.read_zoo(folder.parent)
    further = folder.with_name(f"{spec.name}@{spec.version}")
    taken = {card.version: card.folder for card in found.values() if card.family == spec.name}
    if further.exists():
        taken[spec.version] = further
    if folder.name in found.unreadable:
        raise WeightsError(f"{spec.name}: {found.unreadable[folder.name]}")
    if not taken or spec.version in taken:
        raise WeightsError(
            f"{taken.get(spec.version, folder)} exists already; import a further version with --version"
            + (f" (there are {', '.join(sorted(taken))})" if taken else "")
        )
    return further


def _fill(building: Path, store: Path, spec: ImportSpec, file: Path) -> "Reading":
    # They import torch, which only a conversion needs.
    from service.models.weights.convert import convert  # noqa: PLC0415
    from service.models.weights.fitting import Choice  # noqa: PLC0415
    from service.networks import timm_networks  # noqa: PLC0415

    classes, shared = _labels(building, store, spec)
    target = building / WEIGHTS_FOLDER / f"{spec.name}.safetensors"
    target.parent.mkdir()
    unpacked = building / "unpacked"
    checkpoint = archive.unpack(file, unpacked)
    try:
        _check_published(store, spec, checkpoint)
        network = Network(name=spec.network, library=spec.library, classes=len(classes))
        reading = convert(checkpoint, network, spec.profile, target, Choice(spec.ema, spec.member), classes)
    except IncompatibleWeightsError as error:
        raise WeightsError(f"{file.name}: {error}; {spec.labels} has {len(classes)} classes") from error
    except WeightsError as error:
        raise WeightsError(f"{file.name}: {error}") from error
    unpacked.unlink(missing_ok=True)
    tables = _tables(spec, len(classes), checksums.sha256(target), shared=shared)
    if spec.library == "timm":
        tables["input"] |= timm_networks.statistics(spec.network)
    tables[""]["source"] = f"Imported from {text_file.printable(file.name)}: {reading.used}."
    (building / "card.toml").write_text(_toml(tables), encoding="utf-8")
    return reading


def _labels(building: Path, store: Path, spec: ImportSpec) -> tuple[Sequence[Label], bool]:
    """Return the labels, and whether they are a shared set. Others are written to the model's folder."""
    shared = store / LABEL_SETS / f"{spec.labels}.tsv"
    path = shared if shared.is_file() else building / "labels.txt"
    if path is not shared:
        lines = _own_lines(Path(spec.labels), coloured=spec.has_colours)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    try:
        return labels.read(path, table=path is shared), path is shared
    except LabelsError as error:
        raise WeightsError(f"the labels {spec.labels} cannot be used: {error}") from error


def _check_published(store: Path, spec: ImportSpec, checkpoint: Path) -> None:
    """Raise `WeightsError` for the published file of another network, as its checksum says.

    Networks can have the same keys and shapes and compute something else, such as `resnest50` and
    `resnest50_fast_2s1x64d`.
    """
    digest = checksums.sha256(checkpoint)
    for card in zoo.read_zoo(store).values():
        network = card.network
        if network.library != spec.library or network.name == spec.network:
            continue
        stated = [source.sha256 or source.digest for source in sources(card)]
        if any(each and digest.startswith(each) for each in stated):
            raise WeightsError(
                f"it is the published file of {card.name}, whose network is {network.name} and not {spec.network}; "
                f"import it with --name {card.name} alone, or with --network {network.name}"
            )


def _own_lines(path: Path, *, coloured: bool) -> Sequence[str]:
    """Return the lines of a label file. With `coloured`, add the VOC colour to each line without a colour.

    Only a class 0 that is the background gets black, which overlays leave clear. Other labels begin at VOC's class 1.
    """
    try:
        text = text_file.read(path).rstrip()
    except (OSError, TextError) as error:
        raise WeightsError(f"the labels {path} cannot be read: {error}") from error
    if not text:
        raise WeightsError(f"the labels {path} are empty")
    if _is_json(text):
        raise WeightsError(f"the labels {path} are JSON; write one label on each line, in the order of the class ids")
    rows = [line.partition("\t") for line in text.split("\n")]
    pairs = [(text_file.name(name), colour.strip()) for name, _, colour in rows]
    if coloured:
        first = 0 if pairs[0][0].casefold() == labels.BACKGROUND else 1
        pairs = [(name, colour or voc_colour(index)) for index, (name, colour) in enumerate(pairs, first)]
    return [f"{name}\t{colour}" if colour else name for name, colour in pairs]


def _is_json(text: str) -> bool:
    """Return whether a text is a list or an object of JSON, whose lines would count as labels."""
    try:
        return isinstance(json.loads(text), list | dict)
    except ValueError:
        return False


def voc_colour(index: int) -> str:
    """Return the colour of class `index` (0 to 511) in the Pascal VOC colour map, as `#rrggbb`.

    Bit 3k + c of the index becomes bit 7 - k of channel c, so 0 is black and all 512 colours differ.
    """
    channels = (sum(((index >> (3 * k + c)) & 1) << (7 - k) for k in range(3)) for c in range(3))
    return "#" + "".join(f"{level:02x}" for level in channels)


def _tables(spec: ImportSpec, classes: int, digest: str, *, shared: bool) -> dict[str, dict[str, Any]]:
    return {
        "": {
            "name": spec.name,
            "version": spec.version,
            "task": spec.task,
            "summary": f"An imported {spec.network}.",
            "licence": spec.licence,
        },
        "network": {"name": spec.network, "library": spec.library, "classes": classes},
        "weights": {"file": f"{WEIGHTS_FOLDER}/{spec.name}.safetensors", "sha256": digest},
        "input": spec.input_table(),
        "labels": {"set": spec.labels} if shared else {"file": "labels.txt"},
        **({"serving": dict(spec.serving)} if spec.serving else {}),
    }


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Return the tables as TOML. A JSON string is a valid TOML string if no character is a surrogate pair."""
    lines = []
    for table, fields in tables.items():
        lines += [f"\n[{table}]"] if table else []
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"
