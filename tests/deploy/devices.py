"""Serve what others expose to a real Prometheus: GPUs as TorchServe and DCGM do, kube-state-metrics, and Prometheus."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from service.worker.resources import gauges
from service.worker.resources.gpu import Gpus
from service.worker.resources.gpu_report import lines
from tests.worker.resources.fake_pynvml import FakeNvml

# What the exporter has by default, of one GPU with an error.
LABELS = 'gpu="0",UUID="GPU-0",device="nvidia0",modelName="a GPU",Hostname="node-1"'
DCGM = {
    "DCGM_FI_DEV_GPU_UTIL": 30,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 0.3,
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.1,
    "DCGM_FI_DEV_GPU_TEMP": 50,
    "DCGM_FI_DEV_POWER_USAGE": 200,
    "DCGM_FI_DEV_XID_ERRORS": 79,
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": 0,
}


AUTOSCALER = 'namespace="resnest",horizontalpodautoscaler="worker"'
# Of an autoscaler that works, below its maximum, and of a Prometheus that reaches its Alertmanager.
KUBE_STATE = f"""\
kube_horizontalpodautoscaler_status_current_replicas{{{AUTOSCALER}}} 2
kube_horizontalpodautoscaler_spec_max_replicas{{{AUTOSCALER}}} 8
kube_horizontalpodautoscaler_spec_min_replicas{{{AUTOSCALER}}} 2
kube_horizontalpodautoscaler_status_condition{{{AUTOSCALER},condition="ScalingActive",status="false"}} 0
"""
PROMETHEUS = """\
prometheus_rule_evaluation_failures_total{rule_group="resnest-alerts"} 0
prometheus_notifications_alertmanagers_discovered 1
prometheus_notifications_dropped_total 0
"""


def of_worker() -> str:
    """Return the gauges that a worker reports, as TorchServe serves them (tests/e2e/test_gpu_metrics.py)."""
    written = [
        *lines(Gpus(FakeNvml()).states(), "node", 0),
        gauges.line(gauges.LOAD_TIME, 2.5, "model:tiny-classifier", "node", 0),
    ]
    found = [re.fullmatch(r"\[METRICS\](\w+)\.\w+:(\S+?)\|#([^|]*)\|.*", line) for line in written]
    assert all(found)
    return "".join(f"{each[1]}{{{_quoted(each[3])}}} {each[2]}\n" for each in found if each)


def _quoted(labels: str) -> str:
    return ",".join(f'{name}="{value}"' for name, _, value in (each.partition(":") for each in labels.split(",")))


def of_dcgm() -> str:
    return "".join(f"{name}{{{LABELS}}} {value}\n" for name, value in DCGM.items())


@contextmanager
def exposed(text: str) -> Iterator[str]:
    """Serve a text of metrics, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
