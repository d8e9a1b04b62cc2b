"""The lines in which a worker reports its GPUs. In tests/e2e/test_gpu_metrics.py a real TorchServe reads them."""

import logging
from types import SimpleNamespace

import pytest

from service.worker.resources import gpu, gpu_report
from service.worker.resources.gpu import Gpus, GpuState
from service.worker.resources.gpu_report import lines
from tests.worker.resources.fake_pynvml import FakeNvml

STATE = GpuState("GPU-a", utilization=0.5, memory_used=1 << 30, memory_limit=4 << 30, throttled={"power_cap": True})


def test_every_known_value_of_a_gpu_has_a_line() -> None:
    assert [*lines([STATE], "node", 1700.9)] == [
        "[METRICS]resnest_gpu_readable.Count:1|#gpu:GPU-a|#type:GAUGE|#hostname:node,1700",
        "[METRICS]resnest_gpu_utilization_ratio.Ratio:0.5|#gpu:GPU-a|#type:GAUGE|#hostname:node,1700",
        "[METRICS]resnest_gpu_memory_used_bytes.Bytes:1073741824|#gpu:GPU-a|#type:GAUGE|#hostname:node,1700",
        "[METRICS]resnest_gpu_memory_limit_bytes.Bytes:4294967296|#gpu:GPU-a|#type:GAUGE|#hostname:node,1700",
        "[METRICS]resnest_gpu_throttled.Count:1|#gpu:GPU-a,reason:power_cap|#type:GAUGE|#hostname:node,1700",
    ]


def test_a_gpu_that_cannot_be_read_has_no_other_line() -> None:
    (only,) = lines([GpuState("GPU-a", is_readable=False)], "node", 0)

    assert only.startswith("[METRICS]resnest_gpu_readable.Count:0|")


def test_gpus_are_reported_again_and_again() -> None:
    written: list[str] = []

    def write(text: str) -> None:
        if len(written) == 2:
            raise OSError("enough")
        written.append(text)

    thread = gpu_report.start(lambda: Gpus(FakeNvml()), write, period_s=0.01)
    assert thread is not None
    thread.join(30)

    assert len(written) == 2
    assert all(text.endswith("\n") and text.count("[METRICS]") == text.count("\n") for text in written)


def test_without_a_gpu_no_thread_is_started() -> None:
    assert gpu_report.start(lambda: None) is None


def test_a_gpu_that_is_lost_at_the_start_is_reported() -> None:
    nvml = FakeNvml()
    nvml.lost[0] = nvml.NVML_ERROR_GPU_IS_LOST
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        raise OSError("enough")

    thread = gpu_report.start(lambda: gpu.find(lambda _name: nvml), write)
    assert thread is not None
    thread.join(30)

    assert written[0].startswith("[METRICS]resnest_gpu_readable.Count:0|#gpu:index-0|")


@pytest.mark.parametrize("another", [SimpleNamespace(), SimpleNamespace(nvmlInit=list, NVMLError=OSError)])
def test_another_package_with_the_module_pynvml_ends_no_worker(
    another: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "service.worker"):
        assert gpu_report.start(lambda: gpu.find(lambda _name: another)) is None

    assert "does not report the state of its GPUs" in caplog.text


def test_a_report_that_cannot_be_written_ends_the_reports_and_not_the_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def write(_text: str) -> None:
        raise OSError("closed")

    with caplog.at_level(logging.ERROR, "service.worker"):
        thread = gpu_report.start(lambda: Gpus(FakeNvml()), write)
        assert thread is not None
        thread.join(30)

    assert "reports the state of its GPUs no longer" in caplog.text
