"""BentoML: a service with adaptive batching, as in the chapter on batching of its documentation."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import bentoml

from benchmarks.contest import model

TIMEOUT_S = 60
MAX_LATENCY_MS = 30_000  # BentoML rejects a request that would take longer; it computes the batching delay itself


@bentoml.service(name="images", workers=1, traffic={"timeout": TIMEOUT_S})
class ImageService:
    """The model behind one route."""

    def __init__(self) -> None:
        self.model = model.load()

    @bentoml.api(batchable=True, max_batch_size=model.BATCH, max_latency_ms=MAX_LATENCY_MS)
    def predict(self, images: list[Annotated[Path, bentoml.validators.ContentType("image/jpeg")]]) -> list[Any]:
        """Return the answers to one batch of files."""
        return self.model.predict([self.model.decode(path.read_bytes()) for path in images])


if __name__ == "__main__":
    os.environ |= {"BENTOML_HOME": tempfile.gettempdir(), "BENTOML_DO_NOT_TRACK": "true"}
    target = ["serve", "benchmarks.contest.servers.bentoml_server:ImageService"]
    address = ["--host", "127.0.0.1", "--port", os.environ["PORT"]]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *target, *address])  # noqa: S606 - no shell wanted
