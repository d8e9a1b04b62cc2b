"""Conversion of every form of checkpoint to safetensors with our keys, and the checkpoints that are refused."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from service.models.cards import KeyProfile, Network
from service.models.weights.checksums import WeightsError
from service.models.weights.convert import convert
from tests.edges import edges
from tests.models.weights.checkpoints import (
    CLASSES,
    State,
    Trap,
    made_state,
    mmseg,
    openmmlab,
    parallel,
    pth,
    safe,
    without_counters,
)

NETWORK = Network(name="resnest14", classes=CLASSES)


@pytest.fixture(scope="module")
def state() -> State:
    return made_state()


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., State]:
    """Return a function that converts a file and returns the content of the result."""

    def make(data: bytes, profile: KeyProfile = "official", network: Network = NETWORK) -> State:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(data)
        try:
            convert(source, network, profile, target)
        finally:
            assert sorted(path.name for path in tmp_path.iterdir() if path != target) == ["source"]
        return safetensors.torch.load_file(target)

    return make


Make = Callable[..., State]
FORMS: dict[str, tuple[KeyProfile, Callable[[State], bytes]]] = {
    "of today": ("official", pth),
    "until 2020": ("official", lambda state: pth(state, legacy=True)),
    "under state_dict": ("encoding", lambda state: pth({"epoch": 3, "state_dict": state, "best_pred": 0.8})),
    "under model": ("official", lambda state: pth({"model": state, "epoch": 3})),
    "of DataParallel": ("official", lambda state: pth(parallel(state))),
    "of OpenMMLab": ("openmmlab", lambda state: pth({"meta": {"epoch": 3}, "state_dict": openmmlab(state)})),
    "safetensors": ("official", safe),
    "of parameters": (
        "official",
        lambda state: pth({k: torch.nn.Parameter(v, v.is_floating_point()) for k, v in state.items()}),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_keeps_every_number_on_its_way(made: Make, state: State, form: str) -> None:
    profile, write = FORMS[form]
    found = made(write(state), profile)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_precision_stays_what_it_is(made: Make, state: State, dtype: torch.dtype) -> None:
    found = made(pth({key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}))
    assert found["fc.weight"].dtype == dtype


def test_weights_that_share_their_memory_are_written_apart(made: Make, state: State) -> None:
    whole = torch.arange(2048 * CLASSES + CLASSES, dtype=torch.float32)
    views = {"fc.weight": whole[: 2048 * CLASSES].view(CLASSES, 2048), "fc.bias": whole[2048 * CLASSES :]}
    found = made(pth(state | views))
    assert torch.equal(found["fc.bias"], views["fc.bias"])


def test_counters_of_training_steps_may_be_missing(made: Make, state: State) -> None:
    assert made(pth(without_counters(state))).keys() == without_counters(state).keys()


def test_an_encoding_segmenter_is_ours_key_by_key(made: Make) -> None:
    state = made_state("fcn_resnest14")
    assert made(pth(state), "encoding", Network(name="fcn_resnest14", classes=CLASSES)).keys() == state.keys()
    assert {key.partition(".")[0] for key in state} == {"pretrained", "head", "auxlayer"}


@pytest.mark.parametrize("head", edges(["deeplab", "deeplabplus", "psp", "fcn"], "deeplabplus"))
@pytest.mark.parametrize("counted", [True, False], ids=["with counters", "without"])
def test_a_segmenter_of_mmsegmentations_becomes_ours_number_by_number(made: Make, head: str, *, counted: bool) -> None:
    """The checkpoint has class names and a palette beside the weights. SyncBN has the same counters as BatchNorm."""
    name = f"mmseg_{head}_resnest14"
    state = made_state(name) if counted else without_counters(made_state(name))
    file = {"meta": {"CLASSES": ("road", "sky", "car"), "PALETTE": [[1, 2, 3]] * 3}, "state_dict": mmseg(state)}
    found = made(pth(file), "mmseg", Network(name=name, classes=CLASSES))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"fc.bias": None}, r"1 missing \(fc\.bias\)", id="a missing key"),
        pytest.param({"bn1.running_var": None}, r"1 missing \(bn1\.running_var\)", id="a missing statistic"),
        pytest.param({"fc2.bias": torch.ones(2)}, r"1 unexpected \(fc2\.bias\)", id="an unexpected key"),
        pytest.param({"fc.bias": torch.ones(7)}, r"fc\.bias is \(7,\), but the network has \(3,\)", id="another shape"),
        pytest.param(
            {"fc.bias": torch.full((CLASSES,), float("nan"))}, r"1 weights have values that are not finite", id="NaN"
        ),
        pytest.param(
            {"fc.bias": [0.0, 0.0, 0.0]},
            r"1 missing .*; values that are not tensors.*: fc\.bias \(list\)",
            id="a list",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told_by_its_keys(
    made: Make, state: State, change: dict[str, Any], message: str
) -> None:
    changed = {key: value for key, value in {**state, **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=message):
        made(pth(changed))


def test_a_key_that_differs_only_in_its_layout_is_told_too(made: Make, state: State) -> None:
    with pytest.raises(WeightsError, match=r"missing .* unexpected"):
        made(pth(openmmlab(state)), "official")


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_not_run(made: Make, state: State, tmp_path: Path, legacy: bool) -> None:  # noqa: FBT001
    sprung = tmp_path.parent / f"sprung-{legacy}"
    with pytest.raises(WeightsError, match=r"holds more than tensors .*; it was not run"):
        made(pth({**state, "extra": Trap(sprung)}, legacy=legacy))
    assert not sprung.exists()


def damaged(data: bytes) -> dict[str, bytes]:
    return {
        "cut": data[: len(data) // 2],
        "without its end": data[:-100],
        "empty": b"",
        "a page": b"<!doctype html>" + bytes(500),
        "another pickle": pickle.dumps([1, 2], protocol=2),
        "one byte": b"\x80",
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("how", damaged(b""))
def test_a_damaged_checkpoint_is_refused(made: Make, how: str, legacy: bool) -> None:  # noqa: FBT001
    small: dict[str, Tensor] = {"fc.bias": torch.ones(2000)}
    with pytest.raises(
        WeightsError, match=r"(is not a checkpoint|is not a PyTorch checkpoint|holds more than tensors)"
    ):
        made(damaged(pth(small, legacy=legacy))[how])


def test_a_cut_safetensors_file_is_refused(made: Make, state: State) -> None:
    with pytest.raises(WeightsError, match="is not a checkpoint, or it is damaged"):
        made(safe({"fc.bias": torch.ones(2000)})[:-10])


def test_an_unknown_network_is_told_with_the_known_ones(made: Make, state: State) -> None:
    with pytest.raises(WeightsError, match=r"no network resnest51; there are .*resnest50"):
        made(pth({"fc.bias": torch.ones(2)}), network=Network(name="resnest51", classes=2))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, state: State) -> None:
    (tmp_path / "source").write_bytes(pth(state))
    with pytest.raises(WeightsError, match="cannot be written"):
        convert(tmp_path / "source", NETWORK, "official", tmp_path / "nowhere" / "target")
