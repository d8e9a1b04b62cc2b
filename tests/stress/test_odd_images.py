"""The corpus of odd images at both routes of the real service, and the memory of its gateway meanwhile."""

import pytest

from tests.e2e.running import Running
from tests.e2e.test_answers import ROUTES, odd_files, send_all
from tests.odd_images import CORPUS

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the odd images are missing"),
]

GROWTH = 32 << 20  # bytes, over 400 odd images, after all of them were sent once


def test_no_odd_image_is_the_services_fault_and_none_makes_the_gateway_grow(service: Running) -> None:
    files = odd_files()
    (gateway,) = service.members("-m service gateway")

    answered = send_all(service, [(route, file) for file in files for route in ROUTES])
    sizes = []
    for _ in range(3):
        send_all(service, [("/v1/classify", file) for file in files[::4]])
        sizes.append(sum(each.memory_info().rss for each in (gateway, *gateway.children(recursive=True))))

    assert answered > len(files), "most of the corpus can be read"
    assert sizes[-1] - sizes[0] < GROWTH, sizes
    assert service.client.get("/readyz").status_code == 200
