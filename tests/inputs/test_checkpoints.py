"""Checkpoints as training scripts and file shares produce them.

A form of `READ` imports to the same bytes as the bare state dict. A form of `DECLINED` is refused with the cause.
"""

import argparse
import collections
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from service.models.cards import Network
from service.models.weights import archive, file_kinds
from service.models.weights.checksums import WeightsError, sha256
from service.models.weights.convert import convert
from service.models.weights.fitting import Choice, Reading
from tests.inputs.checkpoint_forms import CHOSEN, DECLINED, READ, TOLD, protocol_4
from tests.models.weights.checkpoints import CLASSES, State, Trap, made_state, pth, safe

NETWORK = Network(name="resnest14", classes=CLASSES)


@pytest.fixture(scope="module")
def state() -> State:
    return made_state()


def run_import(folder: Path, data: bytes, choice: Choice = Choice()) -> tuple[str, Reading]:  # noqa: B008 - immutable
    """Convert a file in a folder, and return the SHA-256 of the result and what was read."""
    source, target = folder / "mine.pth", folder / "weights.safetensors"
    source.write_bytes(data)
    reading = convert(archive.unpack(source, folder / "unpacked"), NETWORK, "official", target, choice)
    return sha256(target), reading


Import = Callable[..., tuple[str, Reading]]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    return partial(run_import, tmp_path)


@pytest.fixture(scope="module")
def bare(state: State, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the SHA-256 of what the bare state dict becomes."""
    return run_import(tmp_path_factory.mktemp("bare"), pth(state))[0]


@pytest.mark.parametrize("form", READ)
def test_a_form_that_people_have_imports_to_the_bytes_of_the_bare_weights(
    imported: Import, state: State, bare: str, form: str
) -> None:
    assert imported(READ[form](state))[0] == bare


@pytest.mark.parametrize("form", CHOSEN)
def test_weights_that_are_asked_for_are_the_ones_imported(imported: Import, state: State, bare: str, form: str) -> None:
    write, choice = CHOSEN[form]
    assert imported(write(state), choice)[0] == bare


@pytest.mark.parametrize("what", TOLD)
def test_what_was_used_and_what_was_left_out_are_returned(imported: Import, state: State, what: str) -> None:
    write, used, left_out = TOLD[what]
    _, reading = imported(write(state))
    assert (reading.used, set(reading.left_out)) == (used, left_out)


@pytest.mark.parametrize("form", DECLINED)
def test_a_form_that_cannot_be_read_is_refused_with_its_cause(imported: Import, state: State, form: str) -> None:
    write, message = DECLINED[form]
    with pytest.raises(WeightsError, match=message):
        imported(write(state))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(ema=True), r"no averaged weights \(EMA\); these fit the network: net"),
        (Choice(member="model"), "no member model fits the network; these fit: net"),
    ],
)
def test_a_choice_that_the_file_does_not_have_is_refused_with_what_fits(
    imported: Import, state: State, choice: Choice, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        imported(pth({"net": state}), choice)


class Call:
    """A pickle that calls a function with arguments when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("where", ["beside the weights", "among harmless objects"])
def test_a_trap_is_refused_and_not_run(imported: Import, state: State, tmp_path: Path, where: str) -> None:
    sprung = tmp_path / "sprung"
    traps: dict[str, list[Any]] = {
        "beside the weights": [Trap(sprung), Call(print, "x"), Call(eval, "1"), Call(__import__, "os")],
        "among harmless objects": [
            argparse.Namespace(trap=Trap(sprung)),
            np.array([Trap(sprung)], dtype=object),
            collections.defaultdict(None, {"a": Call(open, str(sprung), "w")}),
        ],
    }
    for trap in traps[where]:
        with pytest.raises(WeightsError, match=r"holds more than tensors .*; it was not run"):
            imported(pth({"state_dict": state, "extra": trap}))
    assert not sprung.exists()


@pytest.mark.parametrize("function", [Path, argparse.Namespace])
def test_even_a_harmless_class_is_replaced_and_not_called(imported: Import, state: State, function: Any) -> None:
    """The arguments would make the class itself fail."""
    assert imported(pth({"state_dict": state, "extra": Call(function, 1, 2, 3)}))[1].used == "state_dict"


def test_the_first_bytes_of_every_form_of_torch_save_are_those_of_a_checkpoint(state: State) -> None:
    tensor: dict[str, Tensor] = {"a": torch.ones(2)}
    for data in (pth(tensor), pth(tensor, legacy=True), safe(tensor), protocol_4(tensor)):
        assert file_kinds.foreign(data[: file_kinds.HEAD_BYTES]) is None
