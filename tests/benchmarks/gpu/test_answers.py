"""How close the answers of an engine on a GPU must be to those in single precision."""

import pytest
import torch

from benchmarks import made_models
from benchmarks.gpu.answers import is_close
from service.models import zoo
from service.models.cards import ModelCard
from tests.engines.numerics import Agreement

ROUNDED = Agreement(images=3, equal=0.93, difference=9e-3)  # as measured of a made segmenter in bf16


def card(name: str, source: str) -> ModelCard:
    return zoo.read_zoo(made_models.PUBLISHED)[name].model_copy(update={"source": source})


@pytest.mark.parametrize(
    ("name", "source", "dtype", "is_enough"),
    [
        ("deeplab_resnest50_ade", made_models.SOURCE, torch.bfloat16, True),
        ("deeplab_resnest50_ade", made_models.SOURCE, torch.float32, False),
        ("deeplab_resnest50_ade", "a training", torch.bfloat16, False),
        ("resnest50", made_models.SOURCE, torch.bfloat16, False),
    ],
)
def test_only_masks_of_random_weights_in_16_bits_may_differ_in_many_pixels(
    name: str, source: str, dtype: torch.dtype, *, is_enough: bool
) -> None:
    assert is_close(ROUNDED, card(name, source), dtype) is is_enough


@pytest.mark.parametrize("found", [Agreement(3, 0.5, 9e-3), Agreement(3, 0.93, 0.1)])
def test_masks_of_random_weights_that_are_wrong_are_too_far(found: Agreement) -> None:
    assert not is_close(found, card("deeplab_resnest50_ade", made_models.SOURCE), torch.bfloat16)
