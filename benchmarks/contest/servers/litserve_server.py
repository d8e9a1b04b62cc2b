"""LitServe: one worker that decodes images and runs the network batch by batch."""

import os
from typing import Any

import litserve
from fastapi import Request

from benchmarks.contest import model


class Api(litserve.LitAPI):
    """The model behind LitServe's hooks."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model = model.load()

    def decode_request(self, request: Request) -> Any:
        """Decode the image in a form field; LitServe takes no raw bodies."""
        return self.model.decode(request["file"].file.read())

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Return the inputs unchanged."""
        return inputs

    def predict(self, x: list[Any]) -> list[Any]:
        """Return the answers to one batch."""
        return self.model.predict(x)

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return the answers unchanged."""
        return output

    def encode_response(self, output: Any) -> Any:
        """Wrap an answer in an object."""
        return {"predictions": output}


if __name__ == "__main__":
    api = Api(max_batch_size=model.BATCH, batch_timeout=model.WAIT_MS / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
