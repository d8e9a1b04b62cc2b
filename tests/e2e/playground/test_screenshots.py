"""The screenshots of the documentation can be drawn again, and those that it shows are small."""

import io

import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.e2e.playground.screenshots import FOLDER, SHOTS, Shot, take
from tests.e2e.running import Running

MOST_BYTES = 200_000


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_a_screenshot_of_the_documentation_is_small_and_of_its_size(shot: Shot) -> None:
    path = FOLDER / f"playground-{shot.name}.png"

    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as image:
        assert image.size == (shot.width, shot.height)


@pytest.mark.e2e
@pytest.mark.parametrize("shot", [shot for shot in SHOTS if shot.endpoint != "Classify"], ids=lambda shot: shot.name)
def test_a_screenshot_is_drawn(shot: Shot, browser: Browser, playground: Running) -> None:
    content = take(browser, str(playground.client.base_url), shot)

    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (shot.width, shot.height))
