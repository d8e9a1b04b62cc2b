"""A program of a user of KServe's clients. The Python that has them runs it, so it imports nothing of `service`.

The URL, the address for gRPC and a model are arguments, and the image is standard input. It prints what the clients
return, as JSON.
"""

import asyncio
import base64
import json
import sys

import httpx
import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)


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


async def talk_grpc(address: str, model: str, content: bytes) -> dict[str, object]:
    """Return readiness, and the scores of an image."""
    async with InferenceGRPCClient(address, retries=0) as client:
        states = [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready(model)]
        answer = await client.infer(InferRequest(model, [tensor(content, binary=True)], request_id="8"))
        return {
            "states": states,
            "scores": answer.outputs[0].as_numpy().tolist(),
            "model": [answer.model_name, answer.id],
        }


async def main(url: str, address: str, model: str) -> None:
    """Print what both clients return."""
    content = sys.stdin.buffer.read()
    found = {"rest": await talk(url, model, content), "grpc": await talk_grpc(address, model, content)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
