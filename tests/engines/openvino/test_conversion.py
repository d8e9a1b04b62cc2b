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
from service.engines.openvino import conversion
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import ConversionError
from service.models import cards
from service.models.cards import CardError, Int8, ModelCard
from service.networks.inference_form import REFERENCE, Form, rewrite
from tests.stores import serving, write_store


@pytest.mark.parametrize(("name", "shape"), [("tiny-classifier", "[?,64,64,3]"), ("tiny-segmenter", "[?,?,?,3]")])
def test_the_batch_is_free_and_a_segmenters_sides_are_too(store: Path, name: str, shape: str) -> None:
    model = conversion.load_model(cards.read(store / name))
    assert str(model.input(0).get_partial_shape()) == shape
    assert model.input(0).get_element_type().get_type_name() == "u8"


def test_a_network_with_several_outputs_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return images.float().mean((1, 2, 3)), images.float().amax((1, 2, 3))

    monkeypatch.setattr(graph, "build", lambda _card, _form: Two())
    with pytest.raises(ConversionError, match="tiny-classifier: the network has 2 outputs"):
        conversion.load_model(cards.read(store / "tiny-classifier"))


@pytest.mark.parametrize("has_amx", [True, False])
def test_only_a_processor_with_amx_gets_cropped_taps(monkeypatch: pytest.MonkeyPatch, *, has_amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx})
    assert conversion.fastest_form() == replace(conversion.FORM, taps=has_amx)


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
        conversion.load_model(serving(card.model_copy(update={"int8": form}), precision="int8"))
