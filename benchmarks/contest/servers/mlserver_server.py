"""MLServer: a custom runtime with adaptive batching, in the server's own process."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.contest import model
from service.host.processes import free_port


class ImageRuntime(MLModel):
    """The model behind the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the model."""
        self.model = model.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the answers to one batch: a tensor with one string for each request."""
        uploads = Base64Codec.decode_input(payload.inputs[0])
        answers = await asyncio.to_thread(self._answer, uploads)
        output = StringCodec.encode_output("answer", answers)
        return InferenceResponse(model_name=self.name, outputs=[output])

    def _answer(self, uploads: list[bytes]) -> list[str]:
        return [json.dumps(each) for each in self.model.predict([self.model.decode(upload) for upload in uploads])]


def settings() -> dict[str, dict[str, object]]:
    """Return the two files that `mlserver start` reads, by name."""
    port = int(os.environ["PORT"])
    server = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    batching = {"max_batch_size": model.BATCH, "max_batch_time": model.WAIT_MS / 1000}
    return {
        "settings.json": {**server, "parallel_workers": 0, "debug": False},
        "model-settings.json": {
            "name": "images",
            "implementation": "benchmarks.contest.servers.mlserver_server.ImageRuntime",
            **batching,
        },
    }


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    for name, content in settings().items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    program = Path(sys.executable).with_name("mlserver")
    os.execv(program, [str(program), "start", str(folder)])  # noqa: S606 - no shell wanted
