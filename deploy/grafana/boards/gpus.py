"""The row *GPUs* of the dashboard *Models and GPUs*: what workers read by NVML, and what DCGM's exporter adds."""

from deploy.grafana.boards.panels import Graph, Query, Row
from deploy.grafana.boards.promql import WORKERS

BY_GPU = "{{instance}} {{gpu}}"
BY_NODE = "{{Hostname}} {{gpu}}"
WITHOUT_DCGM = "Empty without the component gpu-dcgm."


def of_workers(gauge: str, *matchers: str) -> str:
    """Return the series of a gauge of GPUs, as the workers report it."""
    return f"resnest_gpu_{gauge}{{{', '.join((WORKERS, *matchers))}}}"


ROW = Row(
    "GPUs",
    Graph(
        "GPU utilization",
        "Share of the time in which any kernel ran. Small batches raise it too, so it says nothing about how much more "
        "a GPU could do. Work of GPUs does. Empty without a GPU.",
        "percentunit",
        Query(of_workers("utilization_ratio"), BY_GPU),
        most=1,
    ),
    Graph(
        "GPU memory",
        "Memory of each GPU, or slice of one, in use by all its processes. GpuMemoryFull fires above 95 %.",
        "bytes",
        Query(of_workers("memory_used_bytes"), BY_GPU),
        Query(of_workers("memory_limit_bytes"), f"{BY_GPU} limit"),
        dashed="limit",
    ),
    Graph(
        "GPU throttling",
        "1 while a GPU has lowered its clocks, by reason. power_cap is usual under full load. GpuThrottled fires for "
        "the other reasons, and GpuUnreadable where a GPU cannot be read.",
        "short",
        Query(of_workers("throttled"), f"{BY_GPU} {{{{reason}}}}"),
        Query(of_workers("readable"), f"{BY_GPU} readable"),
        most=1,
        style="step",
    ),
    Graph(
        "Work of GPUs",
        "Share of the time in which tensor cores worked, and in which a kernel ran, by DCGM. With a low share of "
        f"tensor cores larger batches are faster. {WITHOUT_DCGM}",
        "percentunit",
        Query("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", f"{BY_NODE} tensor cores"),
        Query("DCGM_FI_PROF_GR_ENGINE_ACTIVE or DCGM_FI_DEV_GPU_UTIL / 100", f"{BY_NODE} kernels"),
        most=1,
    ),
    Graph(
        "Temperature of GPUs",
        f"Temperature of each GPU, by DCGM. {WITHOUT_DCGM}",
        "celsius",
        Query("DCGM_FI_DEV_GPU_TEMP", BY_NODE),
    ),
    Graph(
        "Power of GPUs",
        f"Power that each GPU takes, by DCGM. {WITHOUT_DCGM}",
        "watt",
        Query("DCGM_FI_DEV_POWER_USAGE", BY_NODE),
    ),
    Graph(
        "Errors of GPUs",
        "Code of the last error of each GPU, and rows of memory that could not be replaced, by DCGM. GpuXid fires "
        f"for a new error, GpuMemoryDefect for such a row. {WITHOUT_DCGM}",
        "short",
        Query("DCGM_FI_DEV_XID_ERRORS", f"{BY_NODE} Xid"),
        Query("DCGM_FI_DEV_ROW_REMAP_FAILURE", f"{BY_NODE} rows"),
    ),
)
