"""Ask the service at an address for one prediction of every model, and exit with 1 at the first failure."""

import io
import sys

import httpx
from PIL import Image

from service.tasks import TASKS


def main(address: str) -> None:
    """Send one image to every model. Raise `httpx.HTTPError`, `ValidationError` or `KeyError` if that fails."""
    image = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(image, "JPEG")
    with httpx.Client(base_url=address, timeout=30) as client:
        client.get("/readyz").raise_for_status()
        for model in client.get("/v1/models").raise_for_status().json()["models"]:
            parameters = {"model": model["name"]}
            headers = {"Content-Type": "image/jpeg"}
            endpoint = TASKS[model["task"]].endpoints[0]
            response = client.post(endpoint.path, params=parameters, content=image.getvalue(), headers=headers)
            document = response.raise_for_status().json()
            endpoint.responses[0].model_validate(document)
            (result,) = document["results"]
            # `image` is missing if the image was rejected.
            print(f"{model['name']}: {result['image']['format']}, {', '.join(result)}")  # noqa: T201 - the output


if __name__ == "__main__":
    main(*sys.argv[1:])
