"""OpenVINO models before compilation."""

import copy
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service import networks
from service.engines import graph
from service.engines.heads import head_of
from service.engines.openvino import conversion, quantise
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import ConversionError
from service.models import cards
from service.models.cards import CardError, Int8, ModelCard
from service.networks.inference_form import REFERENCE, Form, rewrite
from tests.stores import serving, write_store


@pytest.mark.parametrize(("name", "shape"), [("tiny-classifier", "[?,64,64,3]"), ("tiny-segmenter", "[?,?,?,3]")])
def test_the_batch_is_free_and_a_segmenters_sides_are_too(store: Path, name: str, shape: str) -> None:
    model = conversion.load_model(cards.read(store / name), "f32")
    assert str(model.input(0).get_partial_shape()) == shape
    assert model.input(0).get_element_type().get_type_name() == "u8"


def test_a_network_with_several_outputs_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images.float().mean((1, 2, 3)), images.float().amax((1, 2, 3))

    monkeypatch.setattr(graph, "build", lambda _card, _form: Two())
    with pytest.raises(ConversionError, match="tiny-classifier: the network has 2 outputs"):
        conversion.load_model(cards.read(store / "tiny-classifier"), "f32")


@pytest.mark.parametrize(
    ("has_amx", "precision", "taps"),
    [(True, "bf16", True), (True, "f32", False), (False, "bf16", False), (False, "f32", False)],
)
def test_only_bfloat16_on_a_processor_with_amx_gets_cropped_taps(
    monkeypatch: pytest.MonkeyPatch, *, has_amx: bool, precision: str, taps: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx})
    assert conversion.fastest_form(precision) == replace(conversion.FORM, taps=taps)


class _BuiltError(Exception):
    """A network was to be built; its form is the argument."""


@pytest.mark.parametrize(("precision", "taps"), [("auto", True), ("bf16", True), ("fp32", False), ("int8", False)])
def test_the_form_on_a_processor_with_amx_is_that_of_the_cards_precision_and_int8_has_one_everywhere(
    store: Path, monkeypatch: pytest.MonkeyPatch, precision: str, *, taps: bool
) -> None:
    def build(_card: ModelCard, form: Form) -> graph.Graph:
        raise _BuiltError(form)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(graph, "build", build)
    card = serving(cards.read(store / "tiny-segmenter"), precision=precision)

    def make() -> object:
        if precision == "int8":
            return quantise.quantise(card, [np.zeros((64, 64, 3), np.uint8)])
        return openvino_engine.compile_model(card, openvino_engine.settings_of(card))

    with pytest.raises(_BuiltError) as caught:
        make()
    assert caught.value.args[0] == replace(conversion.FORM, taps=taps)


@pytest.fixture(scope="module")
def cropped_and_reference(store: Path) -> tuple[Any, graph.Graph]:
    """A compiled segmenter with cropped taps, and the same network in PyTorch."""
    card = cards.read(store / "tiny-segmenter")
    network = networks.build("deeplab_resnest14", card.network.classes, head_channels=8).eval()
    normalise, coarse = graph.Normalise(card.input.mean, card.input.std), head_of(card).forward(card)

    def built(_card: ModelCard, form: Form) -> graph.Graph:
        return graph.Graph(normalise, rewrite(copy.deepcopy(network), form), coarse).eval()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "build", built)
        converted = conversion.convert(card, replace(conversion.FORM, taps=True))
    model = openvino_runtime.core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model, built(card, REFERENCE)


@pytest.mark.parametrize("sides", [(8, 8), (8, 520), (392, 40), (97, 289)], ids=str)
def test_one_model_with_cropped_taps_is_right_for_images_of_any_size(
    sides: tuple[int, int], cropped_and_reference: tuple[Any, graph.Graph]
) -> None:
    model, reference = cropped_and_reference
    images = np.random.default_rng(0).integers(0, 256, (1, *sides, 3), np.uint8)
    with torch.inference_mode():
        expected = reference(torch.from_numpy(images)).numpy()
    found = model.create_infer_request().infer([images])[0]
    assert np.abs(found - expected).max() <= 5e-5 * np.abs(expected).max()


def test_an_int8_file_that_holds_no_network_is_told(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    (card.folder / "int8.zip").write_bytes(b"nothing")
    form = Int8(file="int8.zip", sha256=hashlib.sha256(b"nothing").hexdigest(), made_of=str(card.checksum))
    with pytest.raises(CardError, match="its int8 file cannot be read"):
        conversion.load_model(serving(card.model_copy(update={"int8": form}), precision="int8"), "f32")
