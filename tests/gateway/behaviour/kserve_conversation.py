"""A program of a user of KServe's client. The Python that has the client runs it, so it imports nothing of `service`.

The URL and a model are arguments, and the image is standard input. It prints what the client returns, as JSON.
"""

import asyncio
import base64
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # type: ignore[import-not-found]


def tensor(content: bytes, *, binary: bool) -> InferInput:
    """Return the input tensor of one image, as bytes or in base64."""
    image = InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(
        np.array([content if binary else base64.b64encode(content)], dtype=np.object_), binary_data=binary
    )
    return image


async def talk(url: str, model: str, content: bytes) -> dict[str, object]:
    """Return readiness, the scores of an image as bytes and in base64, and the status of an unknown model."""
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        states = [await client.is_server_live(url), await client.is_server_ready(url)]
        states += [await client.is_model_ready(url, model), await client.is_model_ready(url, "unknown")]
        scores = []
        for binary in (True, False):
            request = InferRequest(model, [tensor(content, binary=binary)], request_id="7")
            answer = await client.infer(url, request, model_name=model)
            scores.append(answer.outputs[0].as_numpy().tolist())
        try:
            await client.infer(url, request, model_name="unknown")
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
        return {
            "states": states,
            "scores": scores,
            "model": [answer.model_name, answer.id],
            "missing": status,
        }


if __name__ == "__main__":
    json.dump(asyncio.run(talk(sys.argv[1], sys.argv[2], sys.stdin.buffer.read())), sys.stdout)
