"""A program of a user of Triton's gRPC client. It runs in a process of its own: its messages have the names of ours.

The address and a model are arguments, and the image is standard input. It prints what the client returns, as JSON.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def talk(address: str, model: str, content: bytes) -> dict[str, object]:
    """Return readiness, the model's tensors, the scores and best class of an image, and the error of a bad one."""
    with triton.InferenceServerClient(address) as client:
        image = triton.InferInput("image", [1], "BYTES")
        image.set_data_from_numpy(np.array([content], dtype=np.object_))
        scores = client.infer(model, [image], request_id="7", client_timeout=60)
        best = client.infer(model, [image], outputs=[triton.InferRequestedOutput("scores", class_count=1)])
        image.set_data_from_numpy(np.array([b"not an image"], dtype=np.object_))
        try:
            client.infer(model, [image])
        except InferenceServerException as error:
            status, message = error.status(), error.message()
        return {
            "states": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)],
            "outputs": [each.name for each in client.get_model_metadata(model).outputs],
            "id": scores.get_response().id,
            "scores": scores.as_numpy("scores").tolist(),
            "best": best.as_numpy("scores")[0, 0].decode(),
            "status": status,
            "message": message,
        }


if __name__ == "__main__":
    json.dump(talk(sys.argv[1], sys.argv[2], sys.stdin.buffer.read()), sys.stdout)
