"""Classification of the engines' errors by their messages."""

import pytest
import torch

from service.engines.failures import device_lost, out_of_memory

OPENVINO = "Exception from src/inference/src/cpp/infer_request.cpp:223:\nCheck 'ptr' failed at memory.cpp:1:\n"


@pytest.mark.parametrize(
    ("error", "smaller_helps", "lost"),
    [
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("CUDA out of memory"), True, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True, False),
        (RuntimeError(f"{OPENVINO}Failed to allocate 4096 bytes of memory"), True, False),
        (RuntimeError(f"{OPENVINO}std::bad_alloc"), True, False),
        (RuntimeError(f"{OPENVINO}Failed to allocate required number of vector registers"), False, False),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("shape mismatch"), False, False),
        (ValueError("can't allocate memory"), False, False),
    ],
)
def test_lack_of_memory_and_a_lost_device_are_told_apart(error: Exception, *, smaller_helps: bool, lost: bool) -> None:
    assert out_of_memory(error) is smaller_helps
    assert device_lost(error) is lost
