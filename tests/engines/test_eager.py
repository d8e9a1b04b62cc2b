"""The operations that PyTorch runs in single precision, whatever the engine of a card."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from service.engines import eager
from service.engines.eager import EagerOperations
from service.engines.heads import head_of
from service.models import cards
from service.tasks.torch_head import LoadedNetwork

Pixels = npt.NDArray[np.uint8]


def test_every_question_is_answered_in_single_precision(store: Path, images: Pixels) -> None:
    seen = []

    def embed(_loaded: LoadedNetwork, x: Tensor) -> dict[str, Tensor]:
        seen.append(torch.backends.cudnn.allow_tf32)
        return {"embedding": x}

    before = torch.backends.cudnn.allow_tf32
    card = cards.read(store / "tiny-classifier")
    loaded = LoadedNetwork(nn.Identity(), card, torch.zeros(1, 3, 1, 1))
    head = replace(head_of(card), operations={"embed": embed})
    EagerOperations(nn.Identity(), loaded, torch.device("cpu"), head)("embed", images)
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_an_embedding_is_not_rounded_to_tf32(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    exact, found = (eager.load(card, where)("embed", images)["embedding"] for where in ("cpu", "cuda"))
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()  # TF32 has ten bits: about 1e-3
