"""Weight files: what can be read, and the errors for the others."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from service import engines, networks
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.models.weights import checkpoint, fitting
from tests.stores import write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tiny models with their weights."""
    return write_store(tmp_path_factory.mktemp("store"))


class Trap:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write(folder: Path, data: bytes, kind: str = "safetensors") -> ModelCard:
    """Return the card of a classifier with these bytes as weights, and their checksum."""
    card = cards.read(write_store(folder, "tiny-classifier", weights=False) / "tiny-classifier")
    card.weights_path.write_bytes(data)
    stated = card.weights.model_copy(update={"sha256": hashlib.sha256(data).hexdigest(), "format": kind})
    return card.model_copy(update={"weights": stated})


def state(store: Path) -> dict[str, torch.Tensor]:
    """Return the tiny classifier's weights."""
    return safetensors.torch.load_file(store / "tiny-classifier" / "weights.safetensors")


def test_half_precision_weights_are_used_in_single(store: Path) -> None:
    card = cards.read(store / "tiny-classifier")
    assert {value.dtype for value in state(store).values()} == {torch.float16}
    assert {value.dtype for value in checkpoint.read(card).values()} == {torch.float32}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    with pytest.raises(CardError, match=r"weights\.safetensors"):
        engines.load(card, "cpu")


def test_nothing_is_parsed_before_the_checksum_is_right(tmp_path: Path) -> None:
    card = write(tmp_path / "store", pickle.dumps(Trap(tmp_path / "sprung"), protocol=2), "pth")
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "f" * 64})})
    with pytest.raises(CardError, match="SHA-256"):
        checkpoint.read(other)
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_that_runs_code_is_refused_with_the_right_checksum_too(tmp_path: Path) -> None:
    card = write(tmp_path / "store", pickle.dumps({"fc.weight": Trap(tmp_path / "sprung")}, protocol=2), "pth")
    with pytest.raises(CardError, match="is not a pth weight file"):
        checkpoint.read(card)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\x80\x02K\x07."])
def test_a_file_of_something_else_is_refused(tmp_path: Path, kind: str, data: bytes) -> None:
    with pytest.raises(CardError, match=f"is not a {kind} weight file"):
        checkpoint.read(write(tmp_path, data, kind))


@pytest.mark.parametrize("nested", [False, True])
def test_a_pth_file_may_keep_the_weights_beside_its_epoch(tmp_path: Path, store: Path, *, nested: bool) -> None:
    path = tmp_path / "saved.pth"
    torch.save({"epoch": 3, "state_dict": state(store)} if nested else state(store), path)
    card = write(tmp_path / "store", path.read_bytes(), "pth")
    assert checkpoint.read(card).keys() == state(store).keys()


def test_only_the_count_of_training_steps_may_be_missing(store: Path) -> None:
    module = nn.BatchNorm2d(2, device="meta")
    whole = {key: torch.ones(2) for key in ("weight", "bias", "running_mean", "running_var")}
    checkpoint.load_weights(nn.Sequential(module), {f"0.{key}": value for key, value in whole.items()}, "a")
    del whole["bias"]
    with pytest.raises(CardError, match=r"a: the weights do not fit the network: 1 missing \(0\.bias\)$"):
        checkpoint.load_weights(nn.Sequential(module), {f"0.{key}": value for key, value in whole.items()}, "a")


def test_wrong_keys_are_named_and_many_are_counted(store: Path) -> None:
    found = {key.replace("layer4", "layer5"): value for key, value in state(store).items()}
    count = sum(key.startswith("layer5") for key in found)
    with pytest.raises(CardError) as caught:
        checkpoint.load_weights(_network(), found, "a")
    assert f"{count} missing (layer4.0." in str(caught.value)
    assert f"{count} unexpected (layer5.0." in str(caught.value)
    assert str(caught.value).count("layer") == 2 * fitting.SHOWN_KEYS


def test_a_weight_of_another_shape_is_named_with_both(store: Path) -> None:
    found = {**state(store), "fc.bias": torch.zeros(3)}
    with pytest.raises(CardError, match=r"a: the weight fc\.bias is \(3,\), but the network has \(7,\)"):
        checkpoint.load_weights(_network(), found, "a")


def _network() -> nn.Module:
    with torch.device("meta"):
        return networks.build("resnest14", 7)
