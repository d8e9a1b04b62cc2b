"""TorchServe alone, with a plain Python handler.

`usual` is its quick start with its defaults: a worker for each core, and no batching. `same` and `null` have one worker
and the batching parameters of this contest.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.contest import model
from service.host import host_checks
from service.host.processes import free_port

HANDLER = "torchserve_handler.py"
TIMEOUT_S = 120


def prepare(folder: Path, kind: str, port: int) -> None:
    """Write the model directory and the configuration."""
    archive = folder / "store" / "images"
    (archive / "MAR-INF").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name(HANDLER), archive)
    settings = {"modelName": "images", "handler": HANDLER, "modelVersion": "1.0"}
    manifest = {"createdOn": "", "runtime": "python", "model": settings, "archiverVersion": "0.12.0"}
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = {
        "inference_address": f"http://127.0.0.1:{port}",
        **{f"{name}_address": f"http://127.0.0.1:{free_port()}" for name in ("management", "metrics")},
        **{f"grpc_{name}_port": free_port() for name in ("inference", "management")},
        "disable_token_authorization": "true",
    }
    if kind != "usual":
        batches = {"batchSize": model.BATCH, "maxBatchDelay": model.WAIT_MS, "responseTimeout": TIMEOUT_S}
        one = {"marName": "images", "minWorkers": 1, "maxWorkers": 1, **batches}
        lines["models"] = json.dumps({"images": {"1.0": one}})
    text = "".join(f"{name}={value}\n" for name, value in lines.items())
    (folder / "config.properties").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    prepare(folder, os.environ["BENCH_KIND"], int(os.environ["PORT"]))
    os.environ |= {
        "JAVA_HOME": str(Path(host_checks.java(os.environ)[0]).parents[1]),
        **{name: str(folder) for name in ("TMPDIR", "TEMP", "LOG_LOCATION", "METRICS_LOCATION")},
    }
    models = ["--models", "images=images", "--model-store", str(folder / "store")]
    options = ["--start", "--foreground", "--ncs", "--ts-config", str(folder / "config.properties")]
    os.execv(sys.executable, [sys.executable, "-m", "ts.model_server", *options, *models])  # noqa: S606 - no shell wanted
