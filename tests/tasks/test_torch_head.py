"""The two forms of outputs: one array for all images, or an array for each."""

import numpy as np
import torch

from service.tasks.torch_head import join, stack, to_arrays


def test_outputs_of_equal_shapes_are_stacked_into_one_tensor() -> None:
    found = stack([{"scores": torch.tensor([1.0, 2.0])}, {"scores": torch.tensor([3.0, 4.0])}])

    assert found["scores"].tolist() == [[1, 2], [3, 4]]


def test_a_tensor_becomes_one_array_and_tensors_become_a_list_of_arrays() -> None:
    boxes = [torch.zeros(2, 4), torch.zeros(0, 4)]
    found = to_arrays({"scores": torch.ones(2, 3), "boxes": boxes})

    assert isinstance(found["scores"], np.ndarray)
    assert found["scores"].shape == (2, 3)
    assert [array.shape for array in found["boxes"]] == [(2, 4), (0, 4)]


def test_batches_of_either_form_are_joined_image_by_image() -> None:
    one, two = np.zeros((1, 3)), np.ones((2, 3))
    parts = [{"scores": one, "boxes": [np.zeros((5, 4))]}, {"scores": two, "boxes": [np.zeros((k, 4)) for k in (0, 7)]}]
    found = join(parts)

    assert found["scores"].tolist() == [*one.tolist(), *two.tolist()]
    assert [len(array) for array in found["boxes"]] == [5, 0, 7]
