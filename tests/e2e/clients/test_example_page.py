"""The worked example of the JavaScript client: a page of another origin uploads a photo and draws its mask."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.running import Running

pytestmark = pytest.mark.e2e

PIXELS = """() => {
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size];
}"""


def segmented(page: Page, address: str, photo: Path) -> None:
    page.goto(address)
    page.get_by_label("Photo", exact=True).set_input_files(photo)
    page.get_by_role("button", name="Segment").click()


def test_the_mask_of_an_upload_is_drawn_over_it(page: Page, origin: str, asked: Running, photos: Path) -> None:
    segmented(page, f"{origin}/example/?service={asked.client.base_url}", photos / "photo.jpg")

    expect(page.get_by_role("status")).to_contain_text("tiny-segmenter answered in")
    response = asked.client.post("/v1/segment?mask=none", content=(photos / "photo.jpg").read_bytes()).json()
    rows = [f"{each['label']}: {100 * each['share']:.1f} %" for each in response["results"][0]["segments"]]
    expect(page.get_by_role("listitem")).to_have_text(rows)
    width, height, colours = page.evaluate(PIXELS)
    assert (width, height) == (240, 180)
    assert colours > 10


def test_a_problem_is_shown_with_its_code(page: Page, origin: str, asked: Running, photos: Path) -> None:
    segmented(page, f"{origin}/example/?service={asked.client.base_url}", photos / "photos" / "b.png")

    expect(page.get_by_role("status")).to_contain_text("unsupported_media_type")


def test_a_service_that_is_not_there_is_said(page: Page, origin: str, photos: Path) -> None:
    segmented(page, f"{origin}/example/?service=http://127.0.0.1:1", photos / "photo.jpg")

    status = page.get_by_role("status")
    expect(status).to_contain_text("no answer of the service at http://127.0.0.1:1: ")
    expect(status).to_contain_text(f"it does not allow the origin {origin} (RESNEST_CORS_ORIGINS)")
    expect(status).to_contain_text("add ?service=URL")


def test_an_address_without_http_is_said(page: Page, origin: str, photos: Path) -> None:
    segmented(page, f"{origin}/example/?service=127.0.0.1:1", photos / "photo.jpg")

    expect(page.get_by_role("status")).to_contain_text("the URL of a service has http:// or https://")


def test_a_photo_that_the_browser_cannot_show_is_said(page: Page, origin: str, asked: Running, photos: Path) -> None:
    Image.linear_gradient("L").convert("RGB").save(photos / "scan.tiff")
    segmented(page, f"{origin}/example/?service={asked.client.base_url}", photos / "scan.tiff")

    expect(page.get_by_role("status")).to_contain_text("could not be decoded")
