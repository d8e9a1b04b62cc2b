"""BentoML: a service with an adaptive batch, as in its documentation's chapter on batching."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import bentoml

from benchmarks.contest import model

TIMEOUT_S = 60
LONGEST_WAIT_MS = 30_000  # of a request, beyond which BentoML refuses it; the wait for company it works out itself


@bentoml.service(name="pictures", workers=1, traffic={"timeout": TIMEOUT_S})
class Pictures:
    """The model behind one route."""

    def __init__(self) -> None:
        self.model = model.load()

    @bentoml.api(batchable=True, max_batch_size=model.BATCH, max_latency_ms=LONGEST_WAIT_MS)
    def predict(self, images: list[Annotated[Path, bentoml.validators.ContentType("image/jpeg")]]) -> list[Any]:
        """One batch of files."""
        return self.model.predict([self.model.decode(path.read_bytes()) for path in images])


if __name__ == "__main__":
    os.environ |= {"BENTOML_HOME": tempfile.gettempdir(), "BENTOML_DO_NOT_TRACK": "true"}
    target = ["serve", "benchmarks.contest.servers.bentoml_server:Pictures"]
    address = ["--host", "127.0.0.1", "--port", os.environ["PORT"]]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *target, *address])  # noqa: S606 - no shell wanted
