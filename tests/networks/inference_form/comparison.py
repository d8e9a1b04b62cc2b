"""Random networks, and how far a form may differ from its reference."""

import torch
from torch import Tensor, nn

TOLERANCE = 5e-5  # of the largest value


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network in evaluation mode, with random weights and random statistics of every BatchNorm."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=random)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=random)
            module.weight.data = 0.5 + torch.rand(module.num_features, generator=random)
            module.bias.data = 0.1 * torch.randn(module.num_features, generator=random)
    return network.eval()


def random_map(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Assert equal shapes, and values within `TOLERANCE` of the largest."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Assert the same, and equal classes at every place."""
    assert_close(found, expected)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))
