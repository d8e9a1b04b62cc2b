"""Odd images at every route that takes images, in each kind of body: the answer is never a 5xx."""

import base64
from itertools import product
from typing import Any

import pytest

from tests.gateway.conftest import Running
from tests.odd_images import CORPUS, manifest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.stress,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/data/odd-images is not here"),
]

URLS = [
    "/v1/classify?top_k=3",
    "/v1/segment?mask=png&overlay=png",
    "/v1/segment?mask=rle&overlay=webp&confidence=true",
    "/v1/segment?mask=polygons&tolerance=3&classes=cat",
    "/v1/embed",
    "/v1/explain?overlay=webp",
    "/v1/detect?overlay=webp&min_score=0",
    "/v1/detect?mask=polygons&tolerance=2&min_score=0",
]
LONG_DEADLINE = {"Request-Timeout": "60"}  # on a busy machine a large image would be late, which is a 504


def shapes(content: bytes) -> list[dict[str, Any]]:
    """Return the arguments of a request with that image: raw, as a form, and in JSON."""
    encoded = base64.b64encode(content).decode()
    return [{"content": content}, {"files": {"file": content}}, {"json": {"images": [{"content": encoded}]}}]


@pytest.mark.parametrize("url", URLS)
async def test_no_odd_picture_is_our_failure(url: str, running: Running) -> None:
    failures = []
    async with running() as client:
        for row, shape in product(manifest(), range(3)):
            content = (CORPUS / row["path"]).read_bytes()
            response = await client.post(url, headers=LONG_DEADLINE, **shapes(content)[shape])
            if response.status_code >= 500:
                failures.append((row["path"], shape, response.json()))

    assert failures == []
