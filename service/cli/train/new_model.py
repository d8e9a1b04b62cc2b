"""Write a trained model into the store: a folder with card, labels and weights, complete or not at all."""
# ruff: noqa: PLC0415 - torch is loaded only when there are weights to write

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from service.cli.accuracy.unknown_sign import UnknownSign
from service.models import cards, model_folder, zoo
from service.models.cards import CardError, ModelCard
from service.models.identity import identity
from service.models.weights import checksums
from service.models.weights.store import WEIGHTS_FOLDER

if TYPE_CHECKING:
    from torch import Tensor

RECIPE: Final = "resnest-service train"  # on the cards of models that `--replace` may replace
SHOWN_LABELS: Final = 10  # in the summary on the card


@dataclass(frozen=True)
class Place:
    """Where a new model goes: the folder `store/<name>`, its version, and whether it replaces a model there."""

    folder: Path
    version: str
    replaces: bool

    @property
    def name(self) -> str:
        """The model's name."""
        return self.folder.name


def place(store: Path, name: str, *, replace: bool) -> Place:
    """Return the place of a model of that name. Raises `CardError` if it is taken, or cannot be written.

    With `replace`, a model that `train` made is replaced, by the next version. Other models are never replaced.
    """
    if not model_folder.is_name(name):
        raise CardError(f"{name} is not a model name: {model_folder.NAME_RULE}")
    if not os.access(store, os.W_OK | os.X_OK):
        raise CardError(f"{store} cannot be written, so no model can be added to it; choose another with --store")
    model_folder.recover(store)
    folder = store / name
    found = zoo.read_zoo(store)
    family = [card for card in found.values() if card.family == name]
    if not folder.exists() and not family:
        return Place(folder, "1.0", replaces=False)
    here = next((card for card in family if card.folder == folder), None)
    if here is None or here.training.get("recipe") != RECIPE:
        raise CardError(f"{name} exists in {store}, and `train` did not make it; choose another --name")
    if not replace:
        raise CardError(
            f"{name} exists in {store}, version {here.version}; choose another --name, or replace it with --replace"
        )
    return Place(folder, f"{max(card.version_key for card in family)[0] + 1}.0", replaces=True)


def require_space(store: Path, base: ModelCard) -> None:
    """Raise `CardError` if the disk has no room for weights in single precision, before the time of a training."""
    needed, free = 2 * (base.weights_bytes or 0) + (1 << 20), shutil.disk_usage(store).free
    if free < needed:
        raise CardError(f"{store} has {free / 1e6:.0f} MB free, and the model needs up to {needed / 1e6:.0f} MB")


def tables(where: Place, base: ModelCard, labels: Sequence[str], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of the card, without checksum and scores."""
    listed = ", ".join(labels[:SHOWN_LABELS]) + (", …" if len(labels) > SHOWN_LABELS else "")
    origin = f"{base.name.partition('@')[0]} {base.version}"
    serving = base.serving.model_dump(exclude_unset=True, exclude={"by_default"})
    if base.serving.precision == "int8":
        serving.pop("precision")  # the int8 file is of the base's weights
    return {
        "name": where.name,
        "version": where.version,
        "task": base.task,
        "summary": f"{len(labels)} labels, trained from {origin}: {listed}.",
        "licence": base.licence,
        "source": f"Trained by {RECIPE} from {origin}.",
        "network": {**base.network.model_dump(exclude_unset=True, exclude={"parameters"}), "classes": len(labels)},
        "weights": {"file": f"{WEIGHTS_FOLDER}/{where.name}.safetensors"},
        "input": base.input.model_dump(mode="json", exclude_unset=True),
        "labels": {"file": "labels.txt"},
        **({"serving": serving} if serving else {}),
        "training": {
            "recipe": RECIPE,
            "base": {"name": base.family, "version": base.version, "identity": identity(base)},
            **training,
        },
    }


class NewModel:
    """A model in a hidden folder of the store, which is deleted at exit unless `finish` moved it to its place."""

    def __init__(self, store: Path, where: Place) -> None:
        self._store = store
        self._where = where
        self._exit = ExitStack()
        self._folder = Path()
        self._tables: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Create the folder. Raises `OSError`."""
        self._folder = self._exit.enter_context(model_folder.building(self._store))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Delete the folder, if it was not moved."""
        self._exit.close()

    def write(
        self,
        tables: Mapping[str, Any],
        labels: Sequence[str],
        state: "Mapping[str, Tensor]",
        sign: UnknownSign | None = None,
    ) -> ModelCard:
        """Write card, labels, weights and calibration, and return the card, which can be served from here.

        Raises `OSError`.
        """
        from safetensors.torch import save

        path = self._folder / str(tables["weights"]["file"])
        path.parent.mkdir()
        path.write_bytes(save({key: _smallest(value) for key, value in state.items()}, metadata={"format": "pt"}))
        (self._folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        digest = checksums.sha256(path)
        self._tables = {**tables, "weights": {**tables["weights"], "sha256": digest}}
        if sign:
            self._tables["calibration"] = {**sign.table, "made_of": digest}
            for name, content in sign.files.items():
                (self._folder / name).write_bytes(content)
        self._write_card()
        return cards.read(self._folder)

    def finish(self, measured: Mapping[str, Any]) -> ModelCard:
        """Add the scores to the card and move the folder to its place, in one step. Return the card there.

        Raises `CardError` if another process has added a model of the name since.
        """
        self._tables["measured"] = dict(measured)
        self._write_card()
        cards.read(self._folder)
        if self._where.folder.exists() and not self._where.replaces:
            raise CardError(f"{self._where.folder} was added while this model was trained; choose another --name")
        model_folder.install(self._folder, self._where.folder)
        return cards.read(self._where.folder)

    def _write_card(self) -> None:
        import tomlkit

        (self._folder / "card.toml").write_text(tomlkit.dumps(self._tables), encoding="utf-8")


def _smallest(value: "Tensor") -> "Tensor":
    """Return the values in 16 bits if that changes none of them, as for weights that were stored so before."""
    if not value.is_floating_point():
        return value.contiguous()
    half = value.half()
    return (half if bool((half.float() == value).all()) else value).contiguous()
