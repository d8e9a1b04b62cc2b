"""What an engine's error means for the pictures that it came up with."""

import re

import torch

# How a lack of memory is told by PyTorch's allocator, by C++, by OpenVINO, by oneDNN in both, and by cuBLAS and cuDNN,
# none of which has a class for it.
NO_MEMORY = re.compile(
    r"can't allocate memory|bad_alloc|[Ff]ailed to allocate (memory|\d+ bytes)|Could not allocate memory|out of memory"
    r"|STATUS_ALLOC_FAILED"
)


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this error came up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def device_lost(error: BaseException) -> bool:
    """Whether every later call in this process will fail too: a CUDA error other than a lack of memory."""
    return isinstance(error, torch.AcceleratorError)
