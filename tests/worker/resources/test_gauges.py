"""The lines that TorchServe takes as gauges. In tests/e2e/test_gpu_metrics.py a real one reads them."""

import re

from service.worker.resources import gauges


def test_a_process_reports_how_long_it_took_to_load_its_model() -> None:
    written: list[str] = []
    gauges.report_load_time("resnest50@1.0.3", 2.34567, written.append)

    (line,) = written
    head = "[METRICS]resnest_model_load_seconds.Seconds:2.346|#model:resnest50@1.0.3|#type:GAUGE|#hostname:"
    assert line.startswith(head)
    assert re.fullmatch(r"[^,]+,\d+\n", line.removeprefix(head))
