"""One set of random weights for two networks, and the tolerance of the comparison.

Both networks are built on the meta device, so no time is spent on their own weights. The strict load also proves that
their keys and shapes are equal.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Relative to the largest output value. Both networks do the same convolutions in float32 (eps 1.2e-7), but may sum
# splits and pool in another order. That rounding passes through up to 92 blocks. With one thread and one kernel library
# every variant was bit-identical; other kernels may use some of these 80 eps.
TOLERANCE = 1e-5
# In float64 (eps 2.2e-16) rounding is so small that an almost correct formula fails.
FINE_TOLERANCE = 1e-12


def random_state(network: nn.Module, seed: int = 2020, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return non-trivial random weights and batch-norm statistics for every key of `network`.

    Matrices keep the variance (He), so that attention logits and outputs are neither flat nor infinite. The last scale
    of a residual branch is small, so that 92 branches do not sum to infinity.
    """
    generator = torch.Generator().manual_seed(seed)
    return {key: _random(key, value.shape, generator).to(dtype) for key, value in network.state_dict().items()}


def _random(key: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if key.endswith("running_var"):
        return torch.empty(shape).uniform_(0.5, 2.0, generator=generator)
    if len(shape) > 1:
        fan_in = shape[1:].numel()
        return torch.empty(shape).normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    if key.endswith("bn3.weight"):
        return torch.empty(shape).uniform_(0.1, 0.3, generator=generator)
    if key.endswith("weight"):
        return torch.empty(shape).uniform_(0.7, 1.3, generator=generator)
    return torch.empty(shape).normal_(0, 0.2, generator=generator)


def give(state: Mapping[str, Tensor], *modules: nn.Module) -> None:
    """Load `state` into all modules, strictly and without a copy, and set them to evaluation mode."""
    for module in modules:
        module.load_state_dict(dict(state), assign=True)
        module.eval()


def random_images(height: int, width: int, count: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return `(count, 3, height, width)` random numbers with the variance of normalised images."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height * width)).to(dtype)


def distance(answer: Tensor, reference: Tensor) -> float:
    """Return the largest difference, relative to the largest reference value; infinite if a value is not finite."""
    assert answer.shape == reference.shape
    scale = reference.abs().max()
    found = ((answer - reference).abs().max() / scale).item()
    return found if bool(answer.isfinite().all()) and scale > 0 else float("inf")
