"""Embedding, explanation and confidence against the network run step by step, and against the engine's answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from service.engines import eager, torch_cpu
from service.engines.eager import EagerOperations
from service.engines.heads import head_of
from service.models import cards
from service.networks.split_attention import SplitAttentionConv2d
from service.tasks.torch_head import LoadedNetwork

Pixels = npt.NDArray[np.uint8]


def test_the_embedding_is_what_the_last_layer_sees(store: Path, pictures: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    loaded = eager.load(card, "cpu")
    found = loaded("embed", pictures)["embedding"]
    assert found.shape == (len(pictures), 2048)
    assert found.dtype == np.float32
    with torch.no_grad():
        scores = loaded._loaded.network.get_submodule("fc")(torch.from_numpy(found)).softmax(dim=1)
    np.testing.assert_allclose(scores, torch_cpu.load(card, "cpu")(pictures)["scores"], atol=1e-4)


def test_a_logit_is_its_maps_mean_and_its_bias(store: Path, pictures: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    found = eager.load(card, "cpu")("explain", pictures)
    assert found["maps"].shape == (len(pictures), 7, 2, 2)
    logits = found["maps"].mean(axis=(2, 3)) + found["bias"]
    scores = torch.from_numpy(logits).softmax(dim=1)
    np.testing.assert_allclose(scores, torch_cpu.load(card, "cpu")(pictures)["scores"], atol=1e-4)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-5)


def test_the_splits_of_each_block_are_weighed_to_one(store: Path, pictures: Pixels) -> None:
    loaded = eager.load(cards.read(store / "tiny-classifier"), "cpu")
    found = loaded("explain", pictures)
    assert found["splits"].shape == found["spread"].shape == (len(pictures), 4, 2)
    np.testing.assert_allclose(found["splits"].sum(axis=2), 1, atol=1e-5)
    assert found["stage"].tolist() == [[1, 2, 3, 4]] * len(pictures)
    assert len({tuple(row.ravel().round(5)) for row in found["splits"]}) == len(pictures)
    blocks = [each for each in loaded._loaded.network.modules() if isinstance(each, SplitAttentionConv2d)]
    assert not any(block.rsoftmax._forward_hooks for block in blocks)


def test_the_confidence_is_that_of_the_engines_mask(store: Path, pictures: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    found = eager.load(card, "cpu")("predict_confidence", pictures)
    answer = torch_cpu.load(card, "cpu")(pictures)
    assert (found["mask"] == answer["mask"]).mean() > 0.99
    np.testing.assert_allclose(found["class_scores"], answer["class_scores"], atol=1e-3)
    for mask, likely, scores in zip(found["mask"], found["confidence"], found["class_scores"], strict=True):
        for class_id in np.unique(mask):
            assert likely[mask == class_id].mean() / 255 == pytest.approx(scores[class_id], abs=3e-3)


def test_every_question_is_answered_in_single_precision(store: Path, pictures: Pixels) -> None:
    seen = []

    def embed(_loaded: LoadedNetwork, x: Tensor) -> dict[str, Tensor]:
        seen.append(torch.backends.cudnn.allow_tf32)
        return {"embedding": x}

    before = torch.backends.cudnn.allow_tf32
    card = cards.read(store / "tiny-classifier")
    loaded = LoadedNetwork(nn.Identity(), card, torch.zeros(1, 3, 1, 1))
    head = replace(head_of(card), operations={"embed": embed})
    EagerOperations(nn.Identity(), loaded, torch.device("cpu"), head)("embed", pictures)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_an_embedding_is_not_rounded_to_tf32(store: Path, pictures: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    exact, found = (eager.load(card, where)("embed", pictures)["embedding"] for where in ("cpu", "cuda"))
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()  # TF32's ten bits: some 1e-3
