"""Ask the service at an address for one prediction of every model, and exit with 1 at the first failure."""

import io
import sys

import httpx
from PIL import Image

ROUTES = {"classification": "/v1/classify", "segmentation": "/v1/segment"}


def main(address: str) -> None:
    """Send one image to every model. Raise `httpx.HTTPError` or `KeyError` if that fails."""
    image = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(image, "JPEG")
    with httpx.Client(base_url=address, timeout=30) as client:
        client.get("/readyz").raise_for_status()
        for model in client.get("/v1/models").raise_for_status().json()["models"]:
            parameters = {"model": model["name"]}
            headers = {"Content-Type": "image/jpeg"}
            route = ROUTES[model["task"]]
            response = client.post(route, params=parameters, content=image.getvalue(), headers=headers)
            (result,) = response.raise_for_status().json()["results"]
            answer = result["predictions"][0]["label"] if "predictions" in result else result["mask"]["width"]
            print(f"{model['name']}: {answer}")  # noqa: T201 - the output of the check


if __name__ == "__main__":
    main(*sys.argv[1:])
