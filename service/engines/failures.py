"""Classify the errors of the engines: out of memory, or device lost."""

import re

import torch

# Messages for a lack of memory: of PyTorch's allocator, C++, OpenVINO, oneDNN (in both), cuBLAS and cuDNN. None of them
# has an exception class for it.
NO_MEMORY = re.compile(
    r"can't allocate memory|bad_alloc|[Ff]ailed to allocate (memory|\d+ bytes)|Could not allocate memory|out of memory"
    r"|STATUS_ALLOC_FAILED"
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether the error is a lack of memory, so that a smaller batch may succeed."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def device_lost(error: BaseException) -> bool:
    """Return whether every later call in this process will fail too: a CUDA error that is not a lack of memory."""
    return isinstance(error, torch.AcceleratorError)
